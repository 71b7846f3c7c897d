"""Health and metadata: the routes that are called seldom enough for a framework."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlserver.dataplane import DataPlane
from mlserver.errors import Kind, MLServerError
from mlserver.events import HttpDone, HttpStarted, Listener, tell
from mlserver.rest.asgi import App
from mlserver.rest.errors import INTERNAL_ERROR, STATUS, status_of
from mlserver.wire.json import encoded, error_bytes

Handler = Callable[[Request], Awaitable[Response]]


def make_routes(dataplane: DataPlane, listeners: Sequence[Listener] = ()) -> App:
    """An ASGI application with every route but infer; unknown routes get 404 and wrong verbs 405, as JSON."""
    handlers = _Handlers(dataplane)
    routes = [
        Route("/v2/health/live", handlers.live),
        Route("/v2/health/ready", handlers.ready),
        Route("/v2", _counted(handlers.server_metadata, "/v2", listeners)),
    ]
    for prefix in ("/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}"):
        routes.append(Route(f"{prefix}/ready", _answering(handlers.model_ready)))
        routes.append(Route(prefix, _counted(_answering(handlers.model_metadata), prefix, listeners)))
        # Only a wrong verb comes here: POST is answered before any framework.
        routes.append(Route(f"{prefix}/infer", handlers.not_reached, methods=["POST"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})
    app.router.redirect_slashes = False
    return app


class _Handlers:
    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def live(self, request: Request) -> Response:
        return _json({"live": self._dataplane.live()})

    async def ready(self, request: Request) -> Response:
        if self._dataplane.ready():
            return _json({"live": True, "ready": True})
        return _json({"live": True, "ready": False, "error": "the server is not ready"}, 503)

    async def server_metadata(self, request: Request) -> Response:
        return _json(self._dataplane.metadata().model_dump())

    async def model_ready(self, request: Request) -> Response:
        name, version = _model(request)
        if self._dataplane.model_ready(name, version):
            return _json({"name": name, "ready": True})
        return _json({"name": name, "ready": False, "error": f"model {name!r} is not ready"}, 503)

    async def model_metadata(self, request: Request) -> Response:
        metadata = self._dataplane.model_metadata(*_model(request))
        return _json(metadata.model_dump())

    async def not_reached(self, request: Request) -> Response:
        raise AssertionError("the infer route is matched before the router")


def _model(request: Request) -> tuple[str, str | None]:
    version = request.path_params.get("model_version") or request.query_params.get("model_version")
    return request.path_params["model_name"], version


def _answering(handler: Handler) -> Handler:
    """Errors leave as the protocol's error body."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except MLServerError as error:
            return _error(status_of(error), str(error))

    return answer


def _counted(handler: Handler, template: str, listeners: Sequence[Listener]) -> Handler:
    """Health probes are not counted; everything else is, under its template."""

    async def counted(request: Request) -> Response:
        tell(listeners, HttpStarted(request.method, template))
        begun = time.perf_counter()
        response = await handler(request)
        tell(listeners, HttpDone(request.method, template, response.status_code, time.perf_counter() - begun))
        return response

    return counted


async def _refused(request: Request, error: Exception) -> Response:
    """An unknown route or a wrong verb."""
    if not isinstance(error, HTTPException):
        raise error
    response = _error(error.status_code, f"{error.detail}: {request.method} {request.url.path[:256]}")
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    """A defect of ours: the caller gets a word. Starlette raises the error again, and who ran it logs the traceback."""
    return _error(STATUS[Kind.MODEL], INTERNAL_ERROR)


def _json(body: Any, status: int = 200) -> Response:
    return Response(encoded(body), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    return Response(error_bytes(message), status, media_type="application/json")
