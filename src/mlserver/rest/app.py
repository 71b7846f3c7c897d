"""What the REST port serves: the infer route, and an ASGI application with every other one."""

import re
from collections.abc import Mapping
from urllib.parse import quote

from mlserver.errors import MLServerError
from mlserver.rest.answers import error_answer
from mlserver.rest.asgi import App, Message, Receive, Send
from mlserver.rest.backing import Backing
from mlserver.rest.cors import Cors
from mlserver.rest.errors import status_of
from mlserver.rest.infer import InferRoute
from mlserver.rest.routes import make_routes

_REPOSITORY = "/v2/repository"
# The one route below it that changes nothing.
_INDEX = re.compile(r"/v2/repository(/[^/]+)?/index").fullmatch


class RestApp:
    """Answers HTTP from a data plane, within `limits`.

    Called, it is an ASGI application with every route but infer: that one is `infer`.
    """

    def __init__(self, backing: Backing) -> None:
        self.limits = backing.limits
        self._admin = backing.admin
        self._root = backing.root_path
        self._routes = self._open = make_routes(backing)
        cors = None
        if backing.settings.cors_settings is not None:
            self._open = cors = Cors(self._routes, backing.settings.cors_settings)
        self.infer = InferRoute(backing, cors)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request. A slash at the end of a path of the protocol makes no difference: clients send both."""
        path: str = scope["path"]
        if self._root and path.startswith(f"{self._root}/"):
            path = path.removeprefix(self._root)
        if path.endswith("/") and path.startswith("/v2"):
            path = path.rstrip("/")
        if path != scope["path"]:
            scope["path"], scope["raw_path"] = path, quote(path).encode()
        await self._for(path)(scope, receive, send)

    def _for(self, path: str) -> App:
        """Who answers. Whatever is below the repository's path, but its index, is for those who may: whatever the verb,
        whether there is such a route or not, and never for a web page that CORS lets read the rest.
        """
        return self._guarded if path.startswith(_REPOSITORY) and not _INDEX(path) else self._open

    async def _guarded(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            self._admin.check(scope["client"][0] if scope["client"] else None, _text(scope["headers"]))
        except MLServerError as error:
            await error_answer(status_of(error), str(error))(scope, receive, send)
        else:
            await self._routes(scope, receive, send)


def _text(headers: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
