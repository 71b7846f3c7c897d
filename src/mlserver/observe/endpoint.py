"""The metrics endpoint, on a port of its own."""

from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.routing import Route


def metrics_app(registry: CollectorRegistry, path: str) -> Any:
    """An ASGI application that answers `path` with `registry` in Prometheus' text format."""
    return Starlette(routes=[Route(path, endpoint=_Endpoint(registry))])


class _Endpoint:
    """An object, not a function: a route passes requests to it as ASGI."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._app: Any = make_asgi_app(registry)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
