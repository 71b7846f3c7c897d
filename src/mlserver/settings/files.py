"""Settings read for a start of the server: every mistake becomes one line that says where it is and what to change."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from mlserver.errors import ConfigurationError
from mlserver.settings.base import BaseSettings, names_of, public
from mlserver.settings.hints import NESTED, nearest, warn_of_keys, warn_of_variables
from mlserver.settings.invalid import Loc, dotted, line_of
from mlserver.settings.model import ModelSettings
from mlserver.settings.server import SECRETS, Settings
from mlserver.settings.shown import shown_path, shown_value

S = TypeVar("S", bound=BaseSettings)


def load_settings_file(path: str | Path) -> Settings:
    """The server's settings from a JSON file, the environment and `.env`.

    Unknown keys, and variables that look like a misspelt setting, are warned of. Raises ConfigurationError.
    """
    warn_of_variables(os.environ)
    return _load(Settings, read_object(path), shown_path(path))


def load_settings_env() -> Settings:
    """The server's settings from the environment and `.env` alone. Raises ConfigurationError."""
    warn_of_variables(os.environ)
    return _load(Settings, {}, "")


def load_model_settings_file(path: str | Path) -> ModelSettings:
    """A model's settings from a JSON file, the environment and `.env`; relative paths are relative to the file.

    Unknown keys are warned of. Raises ConfigurationError.
    """
    settings = _load(ModelSettings, _with_parameters(read_object(path)), shown_path(path))
    settings._source = str(path)
    return settings


def load_model_settings_env() -> ModelSettings | None:
    """A model's settings from the environment and `.env` alone; None where they name no implementation.

    Raises ConfigurationError.
    """
    if not _variable(ModelSettings, "implementation"):
        return None
    return _load(ModelSettings, _with_parameters({}), "")


def _with_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """`given` with an object of parameters, for the environment to fill where there is none."""
    some = {key: value for key, value in given.items() if key.lower() != "parameters" or value is not None}
    return some if gives(some, ModelSettings, "parameters") else {**some, "parameters": {}}


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in the file `path`. Raises ConfigurationError with file, line and column of what is wrong."""
    shown = shown_path(path)
    try:
        found = json.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{shown}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown}: not valid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{shown}: not valid JSON: nested too deeply") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{shown}: expected a JSON object, got {shown_value(found)}")
    return found


def _load(cls: type[S], given: dict[str, Any], file: str) -> S:
    warn_of_keys(file, given, cls)
    try:
        return cls(**public(given))
    except ValidationError as error:
        raise ConfigurationError(_line(cls, error, given, file)) from error


def _line(cls: type[BaseSettings], error: ValidationError, given: Mapping[str, Any], file: str) -> str:
    """The line for `error`: with a guess where a key is missing, for it may be there under a wrong name."""
    first = error.errors(include_url=False)[0]
    line = line_of(error, given, lambda loc: _origin(cls, loc, given, file), SECRETS)
    if first["type"] == "missing" and len(first["loc"]) == 1:
        guess = nearest(str(first["loc"][0]), [key for key in given if key.lower() not in names_of(cls)])
        return f"{line} (is {guess!r} meant to be it?)" if guess else line
    return line


def _origin(cls: type[BaseSettings], loc: Loc, given: Mapping[str, Any], file: str) -> str:
    """Where the value at `loc` came from: the file and the key, or the variable that it was read from."""
    inner = NESTED.get(str(loc[0])) if len(loc) > 1 else None
    if inner and not gives(given.get(str(loc[0])), inner, str(loc[1])):
        variable = _variable(inner, str(loc[1]))
    elif loc and not gives(given, cls, str(loc[0])):
        variable = _variable(cls, str(loc[0]))
    else:
        variable = None
    if not loc:
        return file or "settings"  # several settings that do not go together
    return variable or (f"{file}: {dotted(loc)}" if file else dotted(loc))


def gives(given: Any, cls: type[BaseSettings], key: str) -> bool:
    """Whether the JSON value `given` is an object that has the setting `key` of `cls`, under any of its names."""
    return isinstance(given, Mapping) and any(names_of(cls).get(name.lower()) == key for name in given)


def _variable(cls: type[BaseSettings], key: str) -> str | None:
    """The variable of the environment or of `.env` that gives `key`, as it is written there; None without one."""
    prefix = str(cls.model_config.get("env_prefix", "")).lower()
    wanted = [prefix + name for name, own in names_of(cls).items() if own == key]
    for name in os.environ:
        if name.lower() in wanted:
            return f"environment variable {name}"
    in_file = DotEnvSettingsSource(cls).env_vars
    return next((f".env: {name.upper()}" for name in wanted if in_file.get(name) is not None), None)
