"""Walks through a page as a reader would: writes its files, runs its blocks, compares what it says is printed."""

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.docs.pages import Block
from tests.docs.session import Session
from tests.seed.serving import Served

PATIENCE_SECONDS = 120.0

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class Walk:
    """One reader in `folder`. `instead` says what stands for a printed text, such as a port that may be taken."""

    def __init__(self, folder: Path, env: Mapping[str, str], instead: Mapping[str, str], **server_env: str) -> None:
        self._server_env = server_env
        self._folder = folder
        self._env = env
        self._instead = dict(instead)
        self._stack = ExitStack()
        self._session: Session | None = None
        self._printed = ""
        self.served: Served | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def all(self, blocks: Iterable[Block]) -> None:
        """Walk through them in order."""
        for block in blocks:
            self.step(block)

    def step(self, block: Block) -> None:
        """Do what one block says."""
        text = self._real(block.text)
        if block.note == "illustration":
            return
        if block.file:
            path = self._folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif block.note == "output":
            assert same(self._printed) == same(self._as_printed(block.text)), f"{block.place}:\n{self._printed}"
        elif block.language == "python":
            self._printed = self._as_printed(self.python(text))
        elif text.startswith("mlserver start "):
            self._serve(shlex.split(text)[2])
        else:
            assert block.language == "shell", f"{block.place}: nothing is known about {block.language!r} here"
            self._printed = self._as_printed(self._shell(text, block.place))

    def python(self, code: str) -> str:
        """Run `code` in the page's Python session; what it printed."""
        if self._session is None:
            self._session = self._stack.enter_context(Session(self._folder, self._env))
        return self._session.run(code)

    def _serve(self, folder: str) -> None:
        self.served = self._stack.enter_context(Served(folder, cwd=self._folder, env={**self._env, **self._server_env}))
        self._instead["localhost:8080"] = f"127.0.0.1:{self.served.port}"

    def _shell(self, text: str, place: str) -> str:
        run = subprocess.run(
            ["/bin/sh", "-ec", text],
            cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert run.returncode == 0, f"{place}: exit code {run.returncode}:\n{run.stdout}{run.stderr}"
        return run.stdout

    def _real(self, text: str) -> str:
        for printed, real in self._instead.items():
            text = text.replace(printed, real)
        return text

    def _as_printed(self, text: str) -> str:
        for printed, real in self._instead.items():
            text = text.replace(real, printed)
        return text


def same(text: str) -> str:
    """`text` without what differs from run to run."""
    return _UUID.sub("an id", text).strip()
