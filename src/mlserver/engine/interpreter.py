"""The Python of an environment: what it is, and how a worker is started with it."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlserver
from mlserver.errors import EnvironmentNotFound
from mlserver.logging import escaped
from mlserver.settings.shown import shown_path
from mlserver.version import __version__

WORKER = "mlserver.engine.worker"
_BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
# A first start reads the whole standard library from a cold disk.
_ANSWER_SECONDS = 60
# `-I`: what it says is true of the environment, whatever variables this process was given.
_ASK = """
import importlib.metadata, json, sys, sysconfig
try:
    installed = importlib.metadata.version("mlserver")
except importlib.metadata.PackageNotFoundError:
    installed = None
version = "%d.%d" % sys.version_info[:2]
abi = sysconfig.get_config_var("SOABI")
print(json.dumps({"version": version, "abi": abi, "sys_path": sys.path, "mlserver": installed}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A Python environment that workers run in. `key` names it, in every process and after a restart.

    `python` is its interpreter; `sys_path` are the folders of its standard library and packages; `abi` is what
    extension modules must be built for.
    """

    key: str
    folder: Path
    python: Path
    sys_path: tuple[str, ...]
    abi: str | None


def inspect(key: str, folder: Path) -> Environment:
    """The environment in `folder`. Raises EnvironmentNotFound where no worker can run in it."""
    python = folder / "bin" / "python"
    if not os.access(python, os.X_OK):
        raise EnvironmentNotFound(f"environment {shown_path(folder)}: there is no Python in it: expected bin/python")
    answer = _ask(folder, python)
    if answer["abi"] != _abi() and answer["mlserver"] != __version__:
        theirs, ours = answer["version"], "{}.{}".format(*sys.version_info[:2])
        why = f"its Python {theirs} cannot use what is installed for the server's {ours}"
        raise EnvironmentNotFound(f"environment {shown_path(folder)}: {why}: install mlserver=={__version__} in it")
    return Environment(key, folder, python, tuple(filter(os.path.exists, answer["sys_path"])), answer["abi"])


def worker_command(
    environment: Environment | None, module: str = WORKER, environ: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """How a worker is started: the arguments that come before its own, and the variables to add to `environ`.

    Without an environment it runs on the server's Python. Scripts of an environment, such as conda's `activate`, are
    not run.
    """
    if environment is None:
        return [sys.executable, "-P", "-m", module], {}
    given = os.environ if environ is None else environ
    behind = _packages() if environment.abi == _abi() else []
    server = str(Path(mlserver.__file__).parents[1])
    paths = json.dumps({"first": environment.sys_path, "behind": behind, "server": server})
    added = {"PATH": os.pathsep.join(filter(None, (str(environment.python.parent), given.get("PATH"))))}
    if given.get("PYTHONHOME"):
        # It would be the standard library of another Python. Empty is unset.
        added["PYTHONHOME"] = ""
    return [str(environment.python), "-P", str(_BOOTSTRAP), paths, module], added


def _ask(folder: Path, python: Path) -> dict[str, Any]:
    """What the interpreter says of itself."""
    try:
        ended = subprocess.run(  # noqa: S603 - its path, and no shell
            [python, "-I", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        last = escaped(said.decode(errors="replace").strip().rpartition("\n")[2])
        raise EnvironmentNotFound(f"environment {shown_path(folder)}: its Python does not start: {last}") from error
    return answer


def _packages() -> list[str]:
    """The folders that the server's packages are in."""
    return [entry for entry in sys.path if os.path.basename(entry) in ("site-packages", "dist-packages")]


def _abi() -> str | None:
    abi: str | None = sysconfig.get_config_var("SOABI")
    return abi
