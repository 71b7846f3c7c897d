"""A repository that is a folder: every `model-settings.json` in it, at any depth, is a model."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mlserver.errors import ConfigurationError
from mlserver.repository.repository import ModelRepository, Models, Problem, Scan, all_or_nothing, named
from mlserver.settings import (
    ModelParameters,
    ModelSettings,
    load_model_settings_env,
    load_model_settings_file,
)
from mlserver.settings.model import NAME_RULE, is_name
from mlserver.settings.shown import shown_path

logger = logging.getLogger("mlserver")

DEFAULT_MODEL_SETTINGS_FILENAME = "model-settings.json"


class SchemalessModelRepository(ModelRepository):
    """The models below the folder `root`, read anew at every call.

    Without any `model-settings.json` there, the one model that the environment describes, if it does.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(os.path.abspath(root))

    async def list(self) -> Models:
        """The settings of every model. Raises ConfigurationError where a file cannot be used."""
        return all_or_nothing(await self.scan())

    async def find(self, name: str) -> Models:
        """The settings of every version of the model `name`.

        Raises ModelNotFound, and ConfigurationError where a file that may be a version of it cannot be used.
        """
        return named(await self.scan(), name)

    async def scan(self) -> Scan:
        """Every model that can be used, and what is wrong with the others."""
        return await asyncio.to_thread(scan_folder, self._root)


def scan_folder(root: Path) -> Scan:
    """The models below `root`, in the order of their paths, or the one that the environment describes."""
    if not root.is_dir():
        raise ConfigurationError(f"model_repository_root: there is no folder {shown_path(root)}")
    files = [*settings_files(root)]
    if not files:
        return Scan(from_environment(root))
    found: dict[tuple[str, str | None], ModelSettings] = {}
    problems: list[Problem] = []
    for file in files:
        try:
            settings = read_model(file, root)
            _refuse_twin(settings, found.setdefault((settings.name, settings.version), settings))
        except ConfigurationError as error:
            problems.append(Problem(error, possible_names(file)))
    return Scan([*found.values()], problems)


def settings_files(root: Path) -> Iterator[Path]:
    """Every `model-settings.json` below `root`, those of each folder once.

    Hidden folders are not entered. Links are followed only where they lead to a place within `root`, and those to
    folders after all others, so that a folder is known by its own name.
    """
    inside = root.resolve()
    seen: set[Path] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop(0) if folders else links.pop(0)
        real = folder.resolve()
        if real in seen:
            continue
        if not real.is_relative_to(inside):
            logger.warning("%s: leads out of the repository, not followed", shown_path(folder))
            continue
        seen.add(real)
        below = subfolders(folder)
        folders += [child for child in below if not child.is_symlink()]
        links += [child for child in below if child.is_symlink()]
        file = folder / DEFAULT_MODEL_SETTINGS_FILENAME
        # A link that leads nowhere counts, so that reading it says so.
        if not os.path.lexists(file):
            continue
        if file.resolve().is_relative_to(inside):
            yield file
        else:
            logger.warning("%s: leads out of the repository, not followed", shown_path(file))


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` that are not hidden, by name. One that may not be read has none that are known of."""
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith(".") and child.is_dir())
    except OSError as error:
        logger.warning("%s: cannot be read: %s", shown_path(folder), error.strerror)
        return []


def read_model(file: Path, root: Path) -> ModelSettings:
    """The settings in `file`, with what they leave out taken from the folder. Raises ConfigurationError."""
    settings = load_model_settings_file(file)
    folder = file.parent
    if not settings.name:
        settings.name = _name_of(folder, shown_path(file))
    elif folder != root and folder.name not in (settings.name, settings.version):
        logger.warning("%s: name: the model is called %r, its folder %r", shown_path(file), settings.name, folder.name)
    _default_uri(settings, folder)
    return settings


def from_environment(root: Path) -> Models:
    """The one model that ``MLSERVER_MODEL_*`` describe, or none. Raises ConfigurationError."""
    settings = load_model_settings_env()
    if settings is None:
        return []
    settings.name = settings.name or _name_of(root, "environment variable MLSERVER_MODEL_NAME")
    _default_uri(settings, root)
    return [settings]


def possible_names(file: Path) -> frozenset[str]:
    """The names of the model whose settings in `file` cannot be used: of its folders, and in the text if it is JSON."""
    names = {file.parent.name, file.parent.parent.name}
    try:
        given = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        given = None
    if isinstance(given, dict):
        names |= {value for key, value in given.items() if key.lower() == "name" and isinstance(value, str)}
    return frozenset(names)


def _name_of(folder: Path, where: str) -> str:
    if is_name(folder.name):
        return folder.name
    found = f"the folder's name {folder.name!r} cannot be it"
    raise ConfigurationError(f"{where}: name: missing, and {found}; expected {NAME_RULE}")


def _default_uri(settings: ModelSettings, folder: Path) -> None:
    """The model is in `folder` unless the settings or the environment say otherwise."""
    settings.parameters = settings.parameters or ModelParameters()
    if not settings.parameters.uri:
        settings.parameters.uri = str(folder)


def _refuse_twin(settings: ModelSettings, first: ModelSettings) -> None:
    if first is settings:
        return
    which = (
        f"{settings.name!r}, version {settings.version!r}" if settings.version else f"{settings.name!r}, unversioned"
    )
    raise ConfigurationError(
        f"{shown_path(settings._source or '')}: the model {which}, is also in {shown_path(first._source or '')}"
    )
