"""A model's own routes at work: one request in, one answer out, as values that can cross to another process.

FastAPI is imported only for models that have handlers.
"""

import asyncio
import logging
from typing import Any

from mlserver.context import model_context
from mlserver.errors import MLServerError, ModelError
from mlserver.handlers import custom_handlers
from mlserver.model import MLModel

logger = logging.getLogger("mlserver")

Headers = list[tuple[bytes, bytes]]


class CustomRequest:
    """An HTTP request to a model's own route. `path` is decoded, `query` and `headers` are as received.

    `body` is without its Content-Encoding; header names are lower-cased; `client` is the caller's address.
    """

    __slots__ = ("body", "client", "headers", "method", "path", "query")

    def __init__(
        self, method: str, path: str, query: bytes, headers: Headers, body: bytes, client: tuple[str, int] | None = None
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.client = client


class CustomResponse:
    """The answer: `headers` in order, without those about the connection; `body` whole."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class CustomApp:
    """The routes of one model, with FastAPI's rules for signatures and answers."""

    def __init__(self, model: MLModel) -> None:
        self._model = model
        self._handlers = custom_handlers(model)
        self._app = _application(self._handlers) if self._handlers else None

    def routes(self) -> list[tuple[str, str]]:
        """Methods and path templates, in the order in which they are matched; empty for most models."""
        return [(handler.rest_method, handler.rest_path) for handler, _ in self._handlers]

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Answer, in the model's context. Raises MLServerError, and nothing else, where a handler raises.

        FastAPI's HTTPException is an answer; a request that does not fit the signature raises with what is wrong.
        """
        exchange = _Exchange(request)
        try:
            with model_context(self._model.settings):
                await exchange.run(self._app)
        except MLServerError:
            raise
        except (Exception, SystemExit) as error:
            logger.exception("model %r failed on %s %s", self._model.name, request.method, request.path[:256])
            raise ModelError.of(error) from error
        return exchange.response


class _Exchange:
    """Runs an ASGI application for one request."""

    def __init__(self, request: CustomRequest) -> None:
        self._request = request
        self._taken = False
        self.response = CustomResponse(500, [], b"")
        self._body = bytearray()

    async def run(self, app: Any) -> None:
        await app(self._scope(), self._receive, self._send)
        self.response.body = bytes(self._body)

    def _scope(self) -> dict[str, Any]:
        request = self._request
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
            "client": request.client,
            "server": None,
            "state": {},
        }

    async def _receive(self) -> dict[str, Any]:
        if self._taken:
            await asyncio.Event().wait()  # the caller is waiting for the answer as long as this is asked
        self._taken = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.response.status = message["status"]
            self.response.headers = list(message.get("headers", ()))
        else:
            self._body += message.get("body", b"")


def _application(handlers: Any) -> Any:
    """The ASGI application. What handlers raise leaves it as it is, for `call` to translate."""
    from fastapi import APIRouter, FastAPI
    from fastapi.exceptions import RequestValidationError

    router = APIRouter(redirect_slashes=False)
    for handler, method in handlers:
        router.add_api_route(handler.rest_path, method, methods=[handler.rest_method])
    # The Content-Type is not judged here either: without one a body is JSON.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, strict_content_type=False)
    app.router.redirect_slashes = False
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _refuse)
    return app


def _refuse(request: Any, error: Any) -> Any:
    """Says where a request does not fit the signature, and what was expected."""
    told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:8])
    raise MLServerError(f"the request does not fit: {told}")
