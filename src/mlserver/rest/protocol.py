"""HTTP/1.1 on one connection: requests in, answers out, in order. Uvicorn's server makes one of these per connection.

Nothing here has a deadline yet: those for heads, bodies, idle connections and slow readers belong into `HttpProtocol`,
which sees every read, every beginning of a request and every answer.
"""

import asyncio
import contextvars
import logging
from typing import Any, cast

from mlserver.rest.asgi import App, Exchange, http_scope
from mlserver.rest.heads import Heads
from mlserver.rest.infer import Answer, InferRoute, Target
from mlserver.rest.requests import Refusal, Request, RequestReader
from mlserver.wire.json import error_bytes

logger = logging.getLogger("mlserver.rest")

# After a refusal the caller may still be sending. To close at once would reset the connection, and many clients then
# report the reset and not the answer; to read on would be to read what was refused. So: what is in flight, briefly.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 64 * 1024

# Up to here a body is copied behind its head, so that both leave in one system call; copying more costs more than that.
_ONE_WRITE_BYTES = 64 * 1024


class Site:
    """What is served on one socket: an ASGI application, before it perhaps the infer route, and how.

    `max_body_bytes` bounds the body of a request to either of them.
    """

    def __init__(self, app: App, infer: InferRoute | None, *, max_body_bytes: int, access_log: bool) -> None:
        self.app = app
        self.infer = infer
        self.max_body_bytes = max_body_bytes
        self.access_log = access_log
        self.heads = Heads()


class HttpProtocol(asyncio.Protocol):
    """One connection. At most one of its requests is under way; those that were sent ahead wait unread.

    Its arguments but `site` are what Uvicorn passes; of `server_state` it keeps `connections`, `tasks` and
    `total_requests` right, which is what Uvicorn waits for when it stops.
    """

    def __init__(
        self, site: Site, *, server_state: Any, _loop: asyncio.AbstractEventLoop | None = None, **_: Any
    ) -> None:
        self._site = site
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        # Each request starts from this, not from what another request of the connection left behind.
        self._context = contextvars.copy_context()
        self._reader = RequestReader(site.max_body_bytes)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._busy = False  # a request is under way
        self._read_paused = self._write_paused = False
        self._stopping = False  # no further request than those that have begun
        self._linger_bytes = _LINGER_BYTES
        self._linger: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit from it
        self._state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left, or was seen off. What is under way for it goes on, for nobody."""
        self._state.connections.discard(self)
        self._reader.close()
        self._caller_left()
        if self._exchange is not None:
            self._exchange.writable.set()
        if self._linger is not None:
            self._linger.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a request is under way: then the next ones wait in the socket."""
        if self._linger is not None:
            self._discard(len(data))
            return
        self._reader.feed(data)
        if not self._busy:
            self._advance()
        elif not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The caller sends no more; whether it still reads, nobody knows. What it asked for is answered."""
        self._stopping = self._reader.ended = True
        self._reader.receiving = False
        self._caller_left()
        # Only a plain socket can stay open in one direction.
        return (self._busy or bool(self._reader.ready)) and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """The caller does not read: make no further answers for it."""
        self._write_paused = True
        if self._exchange is not None:
            self._exchange.writable.clear()

    def resume_writing(self) -> None:
        """The caller has read."""
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.writable.set()
        self._advance()

    # What Uvicorn calls.

    def shutdown(self) -> None:
        """Answer what has begun, then close."""
        self._stopping = True
        if self._linger is not None:
            self._transport.close()
        else:
            self._advance()

    # From one request to the next.

    def _advance(self) -> None:
        """Start the next request, if nothing stands in its way; without one, read on or close."""
        reader = self._reader
        if self._busy or self._write_paused or self._transport.is_closing():
            return
        if reader.ready:
            self._start(reader.ready.popleft())
        elif self._stopping and not reader.receiving:
            self._transport.close()
        else:
            self._read_on()
            if reader.wants_continue:
                reader.wants_continue = False
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _start(self, request: Request | Refusal) -> None:
        if isinstance(request, Refusal):
            self._refuse(request)
            return
        infer = self._site.infer
        target = infer.find(request.method, request.target) if infer is not None else None
        if infer is not None and target is not None:
            work = self._infer(infer, request, target)
        else:
            work = self._exchanged(request)
        self._busy = True
        # Not `loop.create_task`, which is three layers around this; and a name, since making one up costs as much.
        self._task = asyncio.Task(work, loop=self._loop, name="request", context=self._context.copy())
        self._state.tasks.add(self._task)

    async def _infer(self, infer: InferRoute, request: Request, target: Target) -> None:
        whole = False
        try:
            answer = await infer.answer(request, target)
            self._answer(request, answer)
            whole = True
        finally:
            self._finish(whole)

    async def _exchanged(self, request: Request) -> None:
        self._exchange = exchange = Exchange(request, self, self._site.heads)
        whole = False
        try:
            whole = await exchange.run(self._site.app, http_scope(request, self._transport))
        finally:
            self._exchange = None
            self._finish(whole)

    def _finish(self, whole: bool) -> None:
        """Go on to the next request; after half an answer nothing can follow."""
        state = self._state
        state.total_requests += 1
        state.tasks.discard(self._task)
        self._task = None
        self._busy = False
        if not whole or (self._reader.ended and not self._reader.ready):
            self._transport.close()
        else:
            self._advance()

    # Answers.

    def begin_answer(self, request: Request, status: int) -> bool:
        """Log the request, if that is wanted; returns whether the connection stays open after its answer."""
        if self._site.access_log:
            self._log(request, status)
        reader = self._reader
        if not request.keep_alive or (self._stopping and not reader.ready and not reader.receiving):
            reader.ended = True
            return False
        return True

    def write(self, data: bytes) -> None:
        """Send bytes, if there is still somebody to send them to."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def _answer(self, request: Request, answer: Answer) -> None:
        status, body, extra = answer
        head = self._site.heads.json(status)
        if not self.begin_answer(request, status):
            extra += b"connection: close\r\n"
        elif request.http10:
            extra += b"connection: keep-alive\r\n"
        size = len(body)
        if size <= _ONE_WRITE_BYTES:
            self.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (head, extra, size, body))
        else:
            self.write(b"%b%bcontent-length: %d\r\n\r\n" % (head, extra, size))
            self.write(body)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, and let what is in flight run out."""
        if self._site.infer is not None:
            self._site.infer.refused(refusal)
        if self._site.access_log:
            self._log(refusal, refusal.status)
        body = error_bytes(refusal.message)
        head = self._site.heads.json(refusal.status)
        self.write(b"%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        if self._stopping or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._linger = self._loop.call_later(_LINGER_SECONDS, self._transport.close)
        self._read_on()

    def _read_on(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def _discard(self, size: int) -> None:
        self._linger_bytes -= size
        if self._linger_bytes < 0:
            self._transport.close()

    def _caller_left(self) -> None:
        if self._exchange is not None:
            self._exchange.gone.set()

    def _log(self, request: Request | Refusal, status: int) -> None:
        """The line of the access log."""
        client = self._transport.get_extra_info("peername") or ("unknown",)
        shown = request.target[:2048].decode("latin-1")
        asked = f"{request.method.decode('latin-1')} {shown}"
        logger.info('%s "%s" %d', ":".join(map(str, client[:2])), asked, status)
