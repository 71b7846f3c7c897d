"""The first code of a worker in an environment of its own; run as a script: `bootstrap.py PATHS MODULE ARGUMENTS...`.

The environment's packages come first. The server's own code is not the environment's business: scheduler and worker
speak the same words only where both run the same `mlserver`, so that one is the server's, whatever else is installed.
What the environment lacks - a runtime, `msgspec` - is found behind it, among the server's packages, where these are
built for the same Python.
"""

import json
import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

# What every worker needs before it can say anything.
_NEEDED = "mlserver.model"


class ServerPackages:
    """Finds top-level packages whose names start with `prefix` in the folder that the server's code is in."""

    def __init__(self, folder: str, prefix: str, *, exact: bool) -> None:
        self._folder = folder
        self._prefix = prefix
        self._exact = exact

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a package that is the server's, None for all others."""
        mine = name == self._prefix if self._exact else name.startswith(self._prefix)
        return PathFinder.find_spec(name, [self._folder], target) if mine and path is None else None


def extend_path(first: Sequence[str], behind: Sequence[str], server: str) -> None:
    """Put the environment's folders first, the server's packages last, and the server's own code before both."""
    sys.path[:] = dict.fromkeys([*first, *sys.path, *behind])
    sys.meta_path.insert(0, ServerPackages(server, "mlserver", exact=True))
    sys.meta_path.append(ServerPackages(server, "mlserver_", exact=False))


def main() -> None:
    """Become `MODULE`, as `python -m MODULE ARGUMENTS...` would."""
    extend_path(**json.loads(sys.argv[1]))
    try:
        __import__(_NEEDED)
    except ImportError as error:
        sys.exit(f"error: no worker can run in the environment {sys.prefix}: {error}; install mlserver there")
    module = sys.argv[2]
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
