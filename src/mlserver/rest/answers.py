"""From a handler's answer, or its error, to a response: what every route but infer has in common."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from mlserver.errors import Kind, MLServerError
from mlserver.events import HttpDone, HttpStarted, Tell
from mlserver.rest.asgi import App, Message, Receive, Send
from mlserver.rest.body import decoded_body
from mlserver.rest.errors import NO_ANSWER, STATUS, status_of
from mlserver.rest.spans import begin, end
from mlserver.tracing import Tracer
from mlserver.wire.json import encoded, error_bytes

Handler = Callable[[Request], Awaitable[App]]
"""Answers a request, with a response or anything else that can be run as an ASGI application."""

RETRY_SECONDS = 1
"""When a caller who was refused for overload may come again."""


def json_answer(body: Any, status: int = 200) -> Response:
    """Any JSON value."""
    return Response(encoded(body), status, media_type="application/json")


def error_answer(status: int, message: str) -> Response:
    """The protocol's error."""
    response = Response(error_bytes(message), status, media_type="application/json")
    if status == STATUS[Kind.OVERLOADED]:
        response.headers["retry-after"] = str(RETRY_SECONDS)
    return response


async def body_of(request: Request, limit_bytes: int) -> bytes:
    """The body without its Content-Encoding. Raises PayloadTooLarge, UnsupportedEncoding, InferenceError."""
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    body = await request.body()
    return decoded_body(body, encoding.encode("latin-1"), limit_bytes) if encoding else body


def model_of(request: Request) -> tuple[str, str | None]:
    """The model's name and version, as asked for in the path or, for the version, in the query."""
    version = request.path_params.get("model_version") or request.query_params.get("model_version")
    return request.path_params["model_name"], version


class Endpoint:
    """A handler as an ASGI application. Its errors leave as the protocol's.

    Requests are told of under `template`, the route's path as it was written; None for those that are not counted.
    """

    def __init__(self, handler: Handler, template: str | None, tell: Tell, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._handler = handler
        self._template = template
        self._tell = tell

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._template is None:
            await self._answer(scope, receive, send)
            return
        self._tell(HttpStarted(scope["method"], self._template))
        begun = time.perf_counter()
        trace = None
        if self._tracer is not None:
            trace = begin(self._tracer, scope["method"], self._template, scope["headers"])
        status = NO_ANSWER

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, noting)
        except Exception:
            status = STATUS[Kind.MODEL]
            raise
        finally:
            self._tell(HttpDone(scope["method"], self._template, status, time.perf_counter() - begun))
            if trace is not None:
                end(trace, status)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            answer = await self._handler(Request(scope, receive))
        except MLServerError as error:
            answer = error_answer(status_of(error), str(error))
        await answer(scope, receive, send)
