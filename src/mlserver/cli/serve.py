"""What `mlserver start` reads before it starts."""

import asyncio
import logging
import os
import sys
from typing import NamedTuple

from mlserver.repository import build_repository
from mlserver.settings import ModelSettings, Settings, load_settings_env, load_settings_file

logger = logging.getLogger("mlserver")

DEFAULT_SETTINGS_FILENAME = "settings.json"


class Found(NamedTuple):
    """What a folder holds. `complete` is False where some model's settings cannot be used and the rest goes on."""

    settings: Settings
    models: list[ModelSettings]
    complete: bool


async def load_settings(folder: str | None = None) -> tuple[Settings, list[ModelSettings]]:
    """The server's settings and those of its models; see `read`."""
    found = await read(folder)
    return found.settings, found.models


async def read(folder: str | None = None) -> Found:
    """The settings of the server and its models, from `folder`, the environment and `.env`.

    `folder` becomes the repository's root whatever the settings say, and it and the working directory go to the front
    of `sys.path`, where classes named in settings are looked for. Raises ConfigurationError.
    """
    settings = await asyncio.to_thread(_server_settings, folder)
    if not settings.load_models_at_startup:
        return Found(settings, [], complete=True)
    repository = build_repository(settings)
    if settings.on_load_failure == "exit":
        return Found(settings, await repository.list(), complete=True)
    scan = await repository.scan()
    for problem in scan.problems:
        logger.error("%s", problem.error)
    return Found(settings, list(scan.found), complete=not scan.problems)


def _server_settings(folder: str | None) -> Settings:
    _put_on_path(".")
    if not folder:
        return load_settings_env()
    _put_on_path(os.path.abspath(folder))
    file = os.path.join(folder, DEFAULT_SETTINGS_FILENAME)
    settings = load_settings_file(file) if os.path.lexists(file) else load_settings_env()
    settings.model_repository_root = folder
    return settings


def _put_on_path(entry: str) -> None:
    sys.path[:] = [entry, *(other for other in sys.path if other != entry)]
