"""What `mlserver start` reads before it starts."""

import asyncio
import logging
import os
import sys

from mlserver.repository import ModelRepository, build_repository
from mlserver.settings import ModelSettings, Settings, load_settings_env, load_settings_file

logger = logging.getLogger("mlserver")

DEFAULT_SETTINGS_FILENAME = "settings.json"


async def load_settings(folder: str | None = None) -> tuple[Settings, list[ModelSettings]]:
    """The server's settings and those of its models, from `folder`, the environment and `.env`.

    `folder` becomes the repository's root whatever the settings say, and it and the working directory go to the front
    of `sys.path`, where classes named in settings are looked for. Raises ConfigurationError.
    """
    settings = await asyncio.to_thread(_server_settings, folder)
    if not settings.load_models_at_startup:
        return settings, []
    return settings, await _model_settings(settings, build_repository(settings))


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


async def _model_settings(settings: Settings, repository: ModelRepository) -> list[ModelSettings]:
    """The models at start: all of them, or those that can be used where the settings say to go on without others."""
    if settings.on_load_failure == "exit":
        return await repository.list()
    scan = await repository.scan()
    for problem in scan.problems:
        logger.error("%s", problem.error)
    return list(scan.found)
