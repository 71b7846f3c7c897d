"""The ASGI application. The infer route is matched before any framework; the others are few and seldom called."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from mlserver.dataplane import DataPlane
from mlserver.errors import Kind, MLServerError
from mlserver.events import HttpDone, HttpStarted, Listener, tell
from mlserver.rest.body import ClientGone, Message, RawHeaders, Receive, read_body
from mlserver.rest.errors import INTERNAL_ERROR, STATUS, status_of
from mlserver.rest.routes import make_routes
from mlserver.types.tensors import TensorRequest
from mlserver.wire.json import JsonReader, error_bytes, response_bytes

logger = logging.getLogger("mlserver.rest")

Scope = Any
Send = Callable[[Message], Awaitable[None]]

INFER = "/v2/models/{model_name}/infer"
INFER_VERSION = "/v2/models/{model_name}/versions/{model_version}/infer"


class RestApp:
    """Answers HTTP from a data plane."""

    def __init__(self, dataplane: DataPlane, max_body_bytes: int, listeners: Sequence[Listener] = ()) -> None:
        self._dataplane = dataplane
        self._limit = max_body_bytes
        self._listeners = listeners
        self._reader = JsonReader()
        self._routes = make_routes(dataplane, listeners)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        path: str = scope["path"]
        if path.endswith("/infer") and scope["method"] == "POST":
            parts = path.split("/")
            if len(parts) == 5 and path.startswith("/v2/models/"):
                version = _queried_version(scope["query_string"]) if scope["query_string"] else None
                await self._infer(scope, receive, send, (parts[3], version))
                return
            if len(parts) == 7 and path.startswith("/v2/models/") and parts[4] == "versions":
                await self._infer(scope, receive, send, (parts[3], parts[5]))
                return
        await self._routes(scope, receive, send)

    async def _infer(self, scope: Scope, receive: Receive, send: Send, model: tuple[str, str | None]) -> None:
        template = INFER_VERSION if model[1] else INFER
        tell(self._listeners, HttpStarted("POST", template))
        begun = time.perf_counter()
        status = 499  # nobody is there to see it: the caller has gone
        try:
            status, body, headers = await self._answer(scope["headers"], receive, model)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except ClientGone:
            logger.debug("the caller of %s went away before its request was complete", template)
        finally:
            tell(self._listeners, HttpDone("POST", template, status, time.perf_counter() - begun))

    async def _answer(
        self, headers: RawHeaders, receive: Receive, model: tuple[str, str | None]
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Status, body and headers of the response, whatever happens."""
        extra: Mapping[str, str] | None = None
        try:
            body = await read_body(headers, receive, self._limit)
            request = self._reader.request(body, *model, headers=lambda: _text(headers))
            status, (answer, extra) = 200, await self._predicted(request)
        except MLServerError as error:
            status, answer = status_of(error), error_bytes(str(error))
        except ClientGone:
            raise
        except Exception:
            logger.exception("unexpected failure while answering for model %r", model[0])
            status, answer = STATUS[Kind.MODEL], error_bytes(INTERNAL_ERROR)
        response = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        if extra:
            response += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in extra.items()]
        return status, answer, response

    async def _predicted(self, request: TensorRequest) -> tuple[bytes, Mapping[str, str] | None]:
        response = await self._dataplane.infer(request)
        return response_bytes(response), response.headers


def _queried_version(query: bytes) -> str | None:
    """`?model_version=` on the unversioned route."""
    return dict(parse_qsl(query.decode("latin-1"))).get("model_version")


def _text(headers: RawHeaders) -> dict[str, str]:
    """Header names are lower-cased by the server already; bytes are Latin-1, as HTTP has them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
