"""What the server says of itself and of its models: health, metadata, configuration, statistics, settings."""

from typing import Any

import msgspec
from starlette.requests import Request

from mlserver.errors import InferenceError, MLServerError
from mlserver.extensions import LOG_INSTEAD, TRACE_INSTEAD, TRACE_SETTINGS, log_settings, see_no_change
from mlserver.rest.answers import body_of, json_answer, model_of
from mlserver.rest.asgi import App
from mlserver.rest.backing import Backing

_CHANGES = msgspec.json.Decoder(dict[str, Any])


class Described:
    """Handlers of the routes that only tell."""

    def __init__(self, backing: Backing) -> None:
        self._dataplane = backing.dataplane
        self._statistics = backing.statistics
        self._limit = backing.settings.max_body_bytes

    async def live(self, request: Request) -> App:
        """Whether the process answers."""
        return json_answer({"live": self._dataplane.live()})

    async def ready(self, request: Request) -> App:
        """Whether every model is ready."""
        if self._dataplane.ready():
            return json_answer({"live": True, "ready": True})
        return json_answer({"live": True, "ready": False, "error": "the server is not ready"}, 503)

    async def server_metadata(self, request: Request) -> App:
        """Name, version and extensions."""
        return json_answer(self._dataplane.metadata().model_dump())

    async def models(self, request: Request) -> App:
        """The names of the models, each once."""
        return json_answer({"models": list(dict.fromkeys(name for name, _ in self._dataplane.models()))})

    async def model_metadata(self, request: Request) -> App:
        """Name, versions and tensors of a model."""
        return json_answer(self._dataplane.model_metadata(*model_of(request)).model_dump())

    async def model_ready(self, request: Request) -> App:
        """Whether a model is ready."""
        name, version = model_of(request)
        if self._dataplane.model_ready(name, version):
            return json_answer({"name": name, "ready": True})
        return json_answer({"name": name, "ready": False, "error": f"model {name!r} is not ready"}, 503)

    async def model_config(self, request: Request) -> App:
        """Triton's ModelConfig."""
        return json_answer(self._dataplane.model_config(*model_of(request)))

    async def all_statistics(self, request: Request) -> App:
        """Counts of every model."""
        return json_answer({"model_stats": self._statistics.of(self._dataplane.models())})

    async def model_statistics(self, request: Request) -> App:
        """Counts of one model, in every version or the one asked for."""
        return json_answer({"model_stats": self._statistics.of(self._dataplane.models(*model_of(request)))})

    async def trace_settings(self, request: Request) -> App:
        """Triton's trace settings; a request that changes one is refused."""
        if "model_name" in request.path_params:
            self._dataplane.model_ready(*model_of(request))  # raises where there is no such model
        return await self._settings(request, TRACE_SETTINGS, TRACE_INSTEAD)

    async def log_settings(self, request: Request) -> App:
        """Triton's log settings; a request that changes one is refused."""
        return await self._settings(request, log_settings(), LOG_INSTEAD)

    async def shared_memory(self, request: Request) -> App:
        """Refuses: a caller names memory of this machine, and whoever may do that may read other callers' tensors."""
        raise MLServerError("shared memory is not supported; send tensors in the request", status_code=501)

    async def _settings(self, request: Request, settings: dict[str, Any], instead: str) -> App:
        if request.method == "POST":
            _see_no_change(await body_of(request, self._limit), settings, instead)
        return json_answer(settings)


def _see_no_change(body: bytes, settings: dict[str, Any], instead: str) -> None:
    """Raises Forbidden for a change of a setting, InferenceError for what is none."""
    try:
        changes = _CHANGES.decode(body.strip() or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InferenceError(f"invalid request: {error}") from None
    see_no_change(changes, settings, instead)
