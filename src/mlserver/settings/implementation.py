"""From an import path to a class: what `implementation` in a model's settings means."""

import importlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from mlserver.errors import ConfigurationError
from mlserver.settings.shown import shown_path

# Runtimes that are part of the distribution, and the extra that brings what they need.
EXTRAS = {"mlserver_lightgbm": "lightgbm", "mlserver_sklearn": "sklearn", "mlserver_xgboost": "xgboost"}

# `sys.path` and `sys.modules` belong to the whole process.
_lock = threading.RLock()

# Names of top-level modules that came from a model's folder. A folder with one of the same name gets its own.
_from_folders: set[str] = set()


def import_path_of(implementation: type[Any]) -> str:
    """The import path of a class: `module.Name`."""
    return f"{implementation.__module__}.{implementation.__qualname__}"


def import_implementation(path: str, source: str | None, model: str = "") -> type[Any]:
    """The class at the import path `path`, for the model whose settings are in the file `source`.

    Raises ConfigurationError with one line that says what is missing, and where it was asked for.
    """
    where = shown_path(source) if source else f"model {model!r}"
    try:
        with _lock, _folder_first(source, path.partition(".")[0]):
            found = _resolve(path)
    except _UnresolvedError as error:
        raise ConfigurationError(f"{where}: implementation: {path!r} cannot be imported: {error}") from error.__cause__
    if not isinstance(found, type):
        raise ConfigurationError(
            f"{where}: implementation: {path!r} is no class (found: {type(found).__name__}); "
            "expected a class that extends mlserver.MLModel"
        )
    return found


class _UnresolvedError(Exception):
    """Why an import path leads nowhere."""


def _resolve(path: str) -> Any:
    """The object at `path`: a module as long as modules go, then attributes, so that nested classes work."""
    parts = path.split(".")
    if len(parts) < 2 or not all(parts):
        raise _UnresolvedError("expected an import path such as 'models.MyModel'")
    module, names = _longest_module(parts)
    found: Any = module
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            if found is module and len(names) > 1 and hasattr(module, "__path__"):
                raise _UnresolvedError(f"there is no module {module.__name__ + '.' + name!r}") from None
            what = f"module {module.__name__!r}" if found is module else f"class {found.__qualname__!r}"
            raise _UnresolvedError(f"{what} has no attribute {name!r}") from None
    return found


def _longest_module(parts: list[str]) -> tuple[ModuleType, list[str]]:
    """The module that most of `parts`, but not the last, leads to, and the names that are left."""
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        module = _import(name)
        if module is not None:
            return module, parts[length:]
    raise _UnresolvedError(f"there is no module {parts[0]!r}")


def _import(name: str) -> ModuleType | None:
    """The module `name`; None where there is no such module. Whatever its own code raises becomes one line."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            return None
        extra = EXTRAS.get(name.partition(".")[0])
        hint = f'; pip install "mlserver[{extra}]"' if extra else ""
        raise _UnresolvedError(f"it needs the module {error.name!r}, which is not installed{hint}") from error
    except (Exception, SystemExit) as error:
        raise _UnresolvedError(f"{_one_line(error)}{_last_place(error)}") from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _last_place(error: BaseException) -> str:
    """Where `error` was raised, as ` (file:line)`; a SyntaxError says so itself."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) or not frames:
        return ""
    return f" ({shown_path(frames[-1].filename)}:{frames[-1].lineno})"


@contextmanager
def _folder_first(source: str | None, wanted: str) -> Iterator[None]:
    """Within: imports look into the folder of `source` first, and modules that it has are loaded anew from there."""
    if source is None:
        yield
        return
    folder = Path(source).absolute().parent
    importlib.invalidate_caches()
    replaced = _forget(folder, wanted)
    sys.path.insert(0, str(folder))
    try:
        yield
    except BaseException:
        # A failed load leaves the modules of the version that still serves where they were.
        sys.modules.update(replaced)
        raise
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        _from_folders.update(_names_in(folder))


def _forget(folder: Path, wanted: str) -> dict[str, ModuleType]:
    """Take the modules that `folder` has, and their submodules, out of `sys.modules`; returns them.

    Those are modules that were loaded from it, that came from another model's folder under the same name, and `wanted`
    itself wherever it came from. Whoever uses the old ones keeps them. This package is never reloaded.
    """
    names = (_from_folders | _names_in(folder) | {wanted}) - {"mlserver", "__main__"}
    specs = {name: PathFinder.find_spec(name, [str(folder)]) for name in names}
    # A spec without a loader is a mere folder of that name: a package only for who asks for it.
    stale = {name for name, spec in specs.items() if spec and (spec.loader or name == wanted)}
    return {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] in stale}


def _names_in(folder: Path) -> set[str]:
    """The names of loaded top-level modules and packages that lie directly in `folder`."""
    start = str(folder) + os.sep
    found = set()
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        top = name.partition(".")[0]
        if isinstance(file, str) and file.startswith((start + top + os.sep, start + top + ".")):
            found.add(top)
    return found
