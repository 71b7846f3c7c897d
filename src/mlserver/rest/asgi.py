"""From a complete request to an ASGI application and back: for every route but infer, and for the metrics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from mlserver.rest.errors import INTERNAL_ERROR
from mlserver.rest.heads import Heads, header_line
from mlserver.rest.requests import Request, decoded, path_and_query
from mlserver.wire.json import error_bytes

logger = logging.getLogger("mlserver.rest")

REQUEST = "mlserver.request"
"""Where the scope of a request has the request itself."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

# Headers about the connection, which is this server's and not the application's.
_CONNECTION = frozenset({b"connection", b"date", b"keep-alive", b"transfer-encoding"})


class Connection(Protocol):
    """What an exchange needs of the connection it is on."""

    def write(self, data: bytes) -> None:
        """Send bytes, if there is still somebody to send them to."""

    def begin_answer(self, request: Request, status: int) -> bool:
        """Note that the answer begins; returns whether the connection stays open after it."""


def http_scope(request: Request, transport: asyncio.Transport) -> dict[str, Any]:
    """The ASGI scope of a request."""
    path, query = path_and_query(request.target)
    return {
        "type": "http",
        # 2.3, not 2.4: an application hears of a caller who left by `receive`, also while it has nothing to send.
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.0" if request.http10 else "1.1",
        "method": request.method.decode("ascii"),
        "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        "path": decoded(path),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": _address(transport.get_extra_info("peername")),
        "server": _address(transport.get_extra_info("sockname")),
        "state": {},
        REQUEST: request,
    }


class Exchange:
    """One request's `receive` and `send`, and the framing of its answer.

    The connection sets `gone` when the caller has left, and clears `writable` while it can take no more.
    """

    def __init__(self, request: Request, connection: Connection, heads: Heads) -> None:
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self._request = request
        self._connection = connection
        self._heads = heads
        self._body_taken = False
        self._start: Message | None = None  # held back, so that head and body leave in one write
        self._opened = self._ended = False
        self._chunked = self._bodiless = False
        self._left: int | None = None  # bytes still owed of a known Content-Length

    async def run(self, app: App, scope: dict[str, Any]) -> bool:
        """Run the application; returns whether its answer is whole, so that another may follow."""
        try:
            await app(scope, self._receive, self._send)
        except Exception:
            path = self._request.target[:256].decode("latin-1")
            logger.exception("unexpected failure while answering %s", path)
        if not self._opened:
            await self._fail()
        return self._ended and not self._left

    async def _receive(self) -> Message:
        if not self._body_taken:
            self._body_taken = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        """Write what there is. Once the caller has left, nothing happens any more."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None or self._ended or message["type"] != "http.response.body":
            raise RuntimeError(f"unexpected ASGI message {message['type']!r}")
        await self.writable.wait()
        body, more = message.get("body", b""), message.get("more_body", False)
        opening = b"" if self._opened else self._open(self._start, body, more)
        self._opened, self._ended = True, not more
        self._connection.write(opening + self._framed(body, more))
        if self._ended:
            self.gone.set()  # nothing more can happen to this request

    def _open(self, start: Message, body: bytes, more: bool) -> bytes:
        """The head, once it is known how the body will end: by its length, in chunks, or with the connection."""
        request, status = self._request, start["status"]
        lines = [header_line(name, value) for name, value in start["headers"] if name.lower() not in _CONNECTION]
        length = next((int(value) for name, value in start["headers"] if name.lower() == b"content-length"), None)
        self._bodiless = request.method == b"HEAD" or status in (204, 304)
        if length is None and not more and not self._bodiless:
            length = len(body)
            lines.append(b"content-length: %d\r\n" % length)
        if not self._bodiless:
            self._left = length
            self._chunked = length is None and not request.http10
        if length is None and request.http10:
            request.keep_alive = False
        if self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        keeps = self._connection.begin_answer(request, status)
        if not keeps:
            lines.append(b"connection: close\r\n")
        elif request.http10:
            lines.append(b"connection: keep-alive\r\n")
        return b"".join((self._heads.start(status), *lines, b"\r\n"))

    def _framed(self, body: bytes, more: bool) -> bytes:
        if self._bodiless:
            return b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if self._left is not None:
            if len(body) > self._left:
                raise RuntimeError("the application sent more than its Content-Length")
            self._left -= len(body)
        return body

    async def _fail(self) -> None:
        """An answer where the application made none."""
        body = error_bytes(INTERNAL_ERROR)
        headers = [(b"content-type", b"application/json")]
        self._ended = False
        await self._send({"type": "http.response.start", "status": 500, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _address(address: Any) -> tuple[str, int] | None:
    """Host and port of a TCP socket's name; None for other sockets."""
    return (address[0], address[1]) if isinstance(address, tuple) else None
