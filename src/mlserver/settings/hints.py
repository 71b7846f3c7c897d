"""Warnings about keys that mean nothing, with the nearest one that does."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mlserver.settings.base import BaseSettings, names_of
from mlserver.settings.model import ModelParameters, ModelSettings
from mlserver.settings.server import CORSSettings, Settings

logger = logging.getLogger("mlserver")

# An unknown key is worth a guess when it is roughly like a known one. Where unknown keys are legal - `parameters`, and
# environment variables, which may be someone else's - only what looks like a slip of the finger is.
ALIKE = 0.6
NEARLY_EQUAL = 0.85

PREFIX = "mlserver_"

# Objects within settings that have a fixed set of keys.
NESTED: dict[str, type[BaseSettings]] = {"cors_settings": CORSSettings, "parameters": ModelParameters}


def nearest(key: str, known: Iterable[str], likeness: float = ALIKE) -> str | None:
    """The name in `known` that is most like `key`, if any is at least `likeness` (0 to 1) like it."""
    found = difflib.get_close_matches(key.lower(), sorted(known), 1, likeness)
    return found[0] if found else None


def warn_of_keys(file: str, given: Mapping[str, Any], settings_cls: type[BaseSettings], path: str = "") -> None:
    """Warn of every key of the JSON object `given`, and of the objects in it, that `settings_cls` does not know."""
    known = names_of(settings_cls)
    for key, value in given.items():
        own = known.get(key.lower())
        if own is None:
            _warn_of_key(f"{file}: {path}", key, settings_cls)
        elif own in NESTED and isinstance(value, dict):
            warn_of_keys(file, value, NESTED[own], f"{path}{own}.")


def _warn_of_key(where: str, key: str, settings_cls: type[BaseSettings]) -> None:
    kept = settings_cls.model_config.get("extra") == "allow"
    if settings_cls is ModelSettings and key.lower() in names_of(ModelParameters):
        guess: str | None = f"parameters.{key.lower()}"
    else:
        guess = nearest(key, names_of(settings_cls), NEARLY_EQUAL if kept else ALIKE)
    if kept and guess:
        logger.warning("%s%s: not a setting of the server, kept for the runtime; did you mean %r?", where, key, guess)
    elif not kept:
        logger.warning("%s%s: unknown key, ignored%s", where, key, f"; did you mean {guess!r}?" if guess else "")


def warn_of_variables(environment: Iterable[str]) -> None:
    """Warn of names that are nearly, but not quite, one of our environment variables."""
    known = {
        f"{cls.model_config.get('env_prefix', '')}{name}".lower()
        for cls in (Settings, CORSSettings, ModelSettings, ModelParameters)
        for name in names_of(cls)
    }
    # The prefix is left out of the comparison, or else all names would be alike.
    rests = [name.removeprefix(PREFIX) for name in known]
    for name in sorted(environment):
        if not name.lower().startswith(PREFIX) or name.lower() in known:
            continue
        guess = nearest(name.lower().removeprefix(PREFIX), rests, NEARLY_EQUAL)
        if guess:
            meant = f"{PREFIX}{guess}".upper()
            logger.warning("environment variable %s: unknown, ignored; did you mean %s?", name, meant)
