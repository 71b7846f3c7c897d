"""Routes that models bring themselves: found where no route of the protocol is, answered by the model."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.runner import Runner
from mlserver.rest.answers import Endpoint, body_of
from mlserver.rest.asgi import App, Message, Receive, Send
from mlserver.rest.backing import Backing

# Headers about the connection, or about a body's form on it, which are this server's to say.
_CONNECTION = frozenset({b"connection", b"content-length", b"date", b"keep-alive", b"transfer-encoding"})


class CustomRoutes:
    """An ASGI application for requests that no other route takes; unknown paths get 404, and wrong verbs 405."""

    def __init__(self, backing: Backing) -> None:
        self._dataplane = backing.dataplane
        self._limit = backing.settings.max_body_bytes
        self._tell = backing.tell
        self._tracer = backing.tracer

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Find the route anew for each request: models come and go."""
        found = {match.method: match for match in self._matching(scope["path"])}
        if not found:
            raise HTTPException(404)
        asked = scope["method"]
        method = "GET" if asked == "HEAD" and "HEAD" not in found else asked
        if method not in found:
            raise HTTPException(405, headers={"Allow": ", ".join(_allowed(found))})
        match = found[method]
        handler = partial(self._answer, match)
        await Endpoint(handler, match.template, self._tell, self._tracer)(scope, receive, send)

    def _matching(self, path: str) -> Iterator["_Match"]:
        """Routes whose path is this one, with a slash at its end or without; last those that win."""
        spellings = dict.fromkeys((path, path.rstrip("/")))
        for runner, method, template in reversed(list(self._dataplane.custom_routes())):
            spelled = next((text for text in spellings if _pattern(template).match(text)), None)
            if spelled is not None:
                yield _Match(runner, method, template, spelled)

    async def _answer(self, match: "_Match", request: Request) -> App:
        body = await body_of(request, self._limit)
        scope = request.scope
        headers = [pair for pair in scope["headers"] if pair[0] != b"content-encoding"]
        asked = CustomRequest(match.method, match.path, scope["query_string"], headers, body, scope["client"])
        return _response(await match.runner.call(asked))


class _Match(NamedTuple):
    """A route of a model that a request's path fits; `path` is spelled as the route has it."""

    runner: Runner
    method: str
    template: str
    path: str


def _response(answer: CustomResponse) -> Response:
    response = Response(answer.body, answer.status)
    response.raw_headers = [
        *((name, value) for name, value in answer.headers if name.lower() not in _CONNECTION),
        (b"content-length", b"%d" % len(answer.body)),
    ]
    return response


def _allowed(methods: Iterable[str]) -> list[str]:
    named = set(methods)
    return sorted(named | {"HEAD"} if "GET" in named else named)


@lru_cache(1024)
def _pattern(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]
