"""Every route but infer, from the table: called seldom enough for a framework, or streaming."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlserver.errors import Kind
from mlserver.rest.answers import Endpoint, Handler, error_answer
from mlserver.rest.asgi import App, Message, Receive, Send
from mlserver.rest.backing import Backing
from mlserver.rest.custom import CustomRoutes
from mlserver.rest.described import Described
from mlserver.rest.docs import Docs
from mlserver.rest.errors import INTERNAL_ERROR, STATUS
from mlserver.rest.inference import Inference
from mlserver.rest.repository import RepositoryRoutes
from mlserver.rest.table import OPERATIONS

_MODEL_PATHS = ("/v2/models/{model_name}", "/v2/models/{model_name}/versions/{model_version}")
_VERBS = ["GET", "POST", "PUT", "DELETE"]


def make_routes(backing: Backing) -> App:
    """An ASGI application with every route but infer; unknown routes get 404 and wrong verbs 405, as JSON."""
    app = Starlette(
        routes=[*_from_table(backing), *_docs(backing), *_shared_memory(backing)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False
    app.router.default = CustomRoutes(backing)
    return app


def _from_table(backing: Backing) -> list[Route]:
    """One route per path: a route that knows one verb would answer 405 for those that the next one knows."""
    handlers = _handlers(backing)
    paths: dict[str, dict[str, Endpoint]] = {}
    for operation in OPERATIONS:
        template = operation.path if operation.counted else None
        endpoint = Endpoint(handlers[operation.handler], template, backing.tell, backing.tracer)
        paths.setdefault(operation.path, {})[operation.method] = endpoint
    return [Route(path, _Verbs(verbs), methods=list(verbs)) for path, verbs in paths.items()]


class _Verbs:
    """An ASGI application that answers by verb; HEAD as GET. An object: a route passes requests to it as ASGI."""

    def __init__(self, verbs: Mapping[str, Endpoint]) -> None:
        self._verbs = verbs

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        verb = scope["method"]
        await self._verbs["GET" if verb == "HEAD" else verb](scope, receive, send)


def _handlers(backing: Backing) -> dict[str, Handler]:
    """The handlers by the names that the table gives them."""
    rooms = (Described(backing), Inference(backing), RepositoryRoutes(backing))
    named = {
        operation.handler: getattr(room, operation.handler)
        for operation in OPERATIONS
        for room in rooms
        if hasattr(room, operation.handler)
    }
    return named | {"infer": _not_reached}


def _docs(backing: Backing) -> list[Route]:
    docs = Docs(backing)
    routes = {
        "/v2/docs": docs.server_page,
        "/v2/docs/dataplane.json": docs.server_document,
        "/v2/docs/assets/{asset}": docs.asset,
        "/openapi.json": docs.server_document,
    }
    for path in _MODEL_PATHS:
        routes |= {f"{path}/docs": docs.model_page, f"{path}/docs/dataplane.json": docs.model_document}
    return [
        Route(path, Endpoint(handler, path, backing.tell, backing.tracer), methods=["GET"])
        for path, handler in routes.items()
    ]


def _shared_memory(backing: Backing) -> list[Route]:
    refuse = Endpoint(Described(backing).shared_memory, None, backing.tell)
    return [Route(f"/v2/{kind}sharedmemory/{{rest:path}}", refuse, methods=_VERBS) for kind in ("system", "cuda")]


async def _not_reached(request: Request) -> App:
    """Only a wrong verb gets as far as this route: POST is answered before any framework."""
    raise AssertionError("the infer route is matched before the router")


async def _refused(request: Request, error: Exception) -> Response:
    """An unknown route or a wrong verb."""
    if not isinstance(error, HTTPException):
        raise error
    response = error_answer(error.status_code, f"{error.detail}: {request.method} {request.url.path[:256]}")
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    """A defect of ours: the caller gets a word. Starlette raises the error again, and who ran it logs the traceback."""
    return error_answer(STATUS[Kind.MODEL], INTERNAL_ERROR)
