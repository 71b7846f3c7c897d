"""Cross-origin requests: which web pages may read what is answered here. Starlette's rules, for every route."""

import contextlib
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from mlserver.rest.answers import error_answer
from mlserver.rest.asgi import App, Message
from mlserver.rest.heads import header_line
from mlserver.settings.server import CORSSettings

# Origins that an answer's lines are kept for: there are few, but whoever calls may name any.
_KEPT_ORIGINS = 256


class Cors(CORSMiddleware):
    """An ASGI application around another; `lines` is the same for answers that no application makes."""

    def __init__(self, app: App, settings: CORSSettings) -> None:
        super().__init__(
            app,
            allow_origins=settings.allow_origins,
            allow_methods=settings.allow_methods,
            allow_headers=settings.allow_headers,
            allow_credentials=settings.allow_credentials,
            allow_origin_regex=settings.allow_origin_regex,
            expose_headers=settings.expose_headers,
            max_age=settings.max_age,
        )
        self._lines = lru_cache(_KEPT_ORIGINS)(self._made)

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a preflight; where it is refused, as the protocol's error."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        refused = error_answer(response.status_code, bytes(response.body).decode())
        refused.headers.update({name: value for name, value in response.headers.items() if name not in refused.headers})
        return refused

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Header lines for the answer to a request with these headers."""
        origin, cookie = None, False
        for name, value in headers:
            if name == b"origin":
                origin = value
            elif name == b"cookie":
                cookie = True
        return self._lines(origin, cookie)

    def _made(self, origin: bytes | None, cookie: bool) -> bytes:
        """What `send` adds to an answer: it only waits for where the answer goes, and here that is nowhere."""
        asked = [] if origin is None else [(b"origin", origin)]
        if cookie:
            asked.append((b"cookie", b""))
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        with contextlib.suppress(StopIteration):
            self.send(start, _nowhere, Headers(raw=asked)).send(None)
        return b"".join(header_line(name, value) for name, value in start["headers"])


async def _nowhere(message: Message) -> None:
    pass
