"""A Python session like a notebook's, in a process of its own: blocks share their names, a last expression is shown.

The other side is this very file, run as a script: a JSON line in is a block, a JSON line out is what it did.
"""

import ast
import contextlib
import io
import json
import os
import pprint
import select
import shutil
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

PATIENCE_SECONDS = 90.0


class Session:
    """Runs blocks, one after the other, in `folder`, with the Python that comes first on the path of `env`."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        python = shutil.which("python", path=env["PATH"]) or sys.executable
        self._process = subprocess.Popen(
            [python, __file__], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            process.kill()

    def run(self, code: str) -> str:
        """What the block printed, and its last expression. Fails where it raises, warns, or takes over 90 s."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        assert ready, f"not done after {PATIENCE_SECONDS:.0f} s:\n{code}"
        said: dict[str, str] = json.loads(self._process.stdout.readline())
        assert not said["stderr"], f"{said['stderr']}\nby:\n{code}"
        return said["stdout"]


def main(answers: TextIO) -> None:
    """Answer each line of standard input."""
    sys.path[0] = ""
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        printed, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            try:
                execute(json.loads(line), names)
            except BaseException:
                traceback.print_exc()
        print(json.dumps({"stdout": printed.getvalue(), "stderr": complained.getvalue()}), file=answers, flush=True)


def execute(code: str, names: dict[str, Any]) -> None:
    """Run `code`, and show the value of an expression at its end as a notebook does."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<block>", "exec"), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), "<block>", "eval"), names)
        if value is not None:
            sys.stdout.write(pprint.pformat(value, sort_dicts=False) + "\n")


if __name__ == "__main__":
    main(os.fdopen(os.dup(1), "w"))
