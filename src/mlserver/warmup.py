"""The request that a model answers before anybody else may ask it: `warmup_request` of its settings."""

import json
from pathlib import Path

from mlserver.errors import ConfigurationError, MLServerError
from mlserver.settings import ModelSettings
from mlserver.types.tensors import TensorRequest
from mlserver.utils import to_absolute_path
from mlserver.wire.json import JsonReader


def warmup_of(settings: ModelSettings) -> TensorRequest | None:
    """The request, read as REST reads one; None where there is none. Raises ConfigurationError."""
    given = settings.warmup_request
    if given is None:
        return None
    where = f"model {settings.name!r}: warmup_request"
    try:
        body = _read(settings, given)
        request = JsonReader().request(body, settings.name, settings.version)
    except OSError as error:
        raise ConfigurationError(f"{where}: {given} cannot be read: {error.strerror or error}") from error
    except MLServerError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    request.id = request.id or "warm-up"
    return request


def _read(settings: ModelSettings, given: dict[str, object] | str) -> bytes:
    if isinstance(given, str):
        return Path(to_absolute_path(settings, given)).read_bytes()
    return json.dumps(given).encode()
