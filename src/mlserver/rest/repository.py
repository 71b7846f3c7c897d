"""Triton's repository routes: what is there, load it, unload it."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mlserver.errors import InferenceError
from mlserver.rest.answers import body_of, json_answer
from mlserver.rest.asgi import App
from mlserver.rest.backing import Backing

# What Triton's clients may send along that says nothing of where a model is from.
_HARMLESS = "unload_dependents"


class _Index(msgspec.Struct, gc=False):
    ready: bool | None = None


class _Change(msgspec.Struct, gc=False):
    parameters: dict[str, Any] | None = None


_INDEX = msgspec.json.Decoder(_Index)
_CHANGE = msgspec.json.Decoder(_Change)


class RepositoryRoutes:
    """Handlers of the repository's routes. Who may use them is decided at the door."""

    def __init__(self, backing: Backing) -> None:
        self._dataplane = backing.dataplane
        self._limit = backing.settings.max_body_bytes

    async def index(self, request: Request) -> App:
        """Every model of the repository with its state; with `ready`, those that are ready."""
        asked = await self._read(request, _INDEX)
        index = await self._dataplane.repository_index(asked.ready)
        return json_answer([item.model_dump() for item in index])

    async def load(self, request: Request) -> App:
        """Load or reload every version of a model, as its folder says."""
        asked = await self._read(request, _CHANGE)
        for name in asked.parameters or {}:
            if name != _HARMLESS:
                raise InferenceError(
                    f"parameter {name[:64]!r}: a model is loaded as the repository has it, and not from a request; "
                    "change its folder, then load it"
                )
        await self._dataplane.load(request.path_params["model_name"])
        return Response()

    async def unload(self, request: Request) -> App:
        """Unload every version of a model. No model here depends on another, so `unload_dependents` adds none."""
        await self._read(request, _CHANGE)
        await self._dataplane.unload(request.path_params["model_name"])
        return Response()

    async def _read(self, request: Request, decoder: Any) -> Any:
        """The body, which may be empty. Raises InferenceError."""
        body = await body_of(request, self._limit)
        try:
            return decoder.decode(body.strip() or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InferenceError(f"invalid request: {error}") from None
