"""The metrics endpoint, on a port of its own."""

from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.routing import Mount


def metrics_app(registry: CollectorRegistry, path: str) -> Any:
    """An ASGI application that answers `path` with `registry` in Prometheus' text format."""
    return Starlette(routes=[Mount(path, app=make_asgi_app(registry))])
