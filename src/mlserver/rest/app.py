"""What the REST port serves: the infer route, and an ASGI application with every other one."""

from collections.abc import Sequence

from mlserver.dataplane import DataPlane
from mlserver.events import Listener
from mlserver.rest.asgi import Message, Receive, Send
from mlserver.rest.infer import InferRoute
from mlserver.rest.limits import Limits
from mlserver.rest.routes import make_routes


class RestApp:
    """Answers HTTP from a data plane, within `limits`.

    Called, it is an ASGI application with every route but infer: that one is `infer`.
    """

    def __init__(self, dataplane: DataPlane, limits: Limits, listeners: Sequence[Listener] = ()) -> None:
        self.infer = InferRoute(dataplane, limits, listeners)
        self.limits = limits
        self._routes = make_routes(dataplane, listeners)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request. A slash at the end of a path of the protocol makes no difference: clients send both."""
        path: str = scope["path"]
        if path.endswith("/") and path.startswith("/v2"):
            scope["path"] = path.rstrip("/")
        await self._routes(scope, receive, send)
