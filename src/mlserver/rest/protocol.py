"""HTTP/1.1 on one connection: requests in, answers out, in order, each within its time."""

import asyncio
import contextvars
from typing import cast

from mlserver.rest.asgi import Exchange, http_scope
from mlserver.rest.infer import Answer, InferRoute, Target
from mlserver.rest.requests import Refusal, Request, RequestReader
from mlserver.rest.site import Connections, Site
from mlserver.rest.sockets import bytes_wait
from mlserver.rest.watch import LAST_REQUEST_SECONDS, Phase, Watch
from mlserver.wire.json import error_bytes

# After a refusal the caller may still be sending. To close at once would reset the connection, and many clients then
# report the reset and not the answer; to read on would be to read what was refused. So: what is in flight, briefly.
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 64 * 1024

# A caller who closed its socket and one who only has nothing more to say look alike until something is sent to them. An
# interim answer does that: HTTP has clients skip any number of these, and a socket that is closed answers with a reset,
# which the write after it meets. Soon, and then now and again.
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_PROBE_SECONDS = 0.1
_LATER_PROBE_SECONDS = 1.0

# Up to here a body is copied behind its head, so that both leave in one system call; copying more costs more than that.
_ONE_WRITE_BYTES = 64 * 1024


class HttpProtocol(asyncio.Protocol):
    """One connection. At most one of its requests is under way; those that were sent ahead wait unread."""

    __slots__ = (
        "_busy", "_connections", "_context", "_exchange", "_inferring", "_interim", "_linger_bytes", "_loop", "_probed",
        "_read_paused", "_reader", "_said_all", "_site", "_stopping", "_task", "_transport", "_watch", "_write_paused",
    )  # fmt: skip

    def __init__(self, site: Site, connections: Connections) -> None:
        self._site = site
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        # Each request starts from this, not from what another request of the connection left behind.
        self._context = contextvars.copy_context()
        self._reader = RequestReader(site.limits.max_body_bytes, site.limits.max_header_bytes)
        self._watch = Watch(self._loop, site.limits, self._too_late)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._busy = False  # a request is under way
        self._read_paused = self._write_paused = False
        self._stopping = False  # no further request than those that have begun
        self._said_all = False  # the caller sends no more, and may have gone
        self._probed = False
        self._inferring = False  # what is under way is inference
        self._interim = False  # and its caller may get interim answers
        self._linger_bytes = _LINGER_BYTES

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit from it
        self._connections.add(self)
        self._watch.expect(Phase.REQUEST, self._site.limits.idle_timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left, or was seen off. Inference for it ends; other applications hear that it has gone."""
        self._connections.discard(self)
        self._watch.end()
        self._reader.close()
        self._caller_left()
        if self._exchange is not None:
            self._exchange.writable.set()
        if self._task is not None and self._inferring:
            self._connections.tasks.discard(self._task)  # here, for a task that never began has no end of its own
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, unless a request is under way: then the next ones wait in the socket."""
        if self._watch.phase >= Phase.LINGER:
            self._discard(len(data))
            return
        held = self._busy or self._write_paused
        self._reader.feed(data)
        if not held:
            self._advance()
        elif not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The caller sends no more; whether it still reads, nobody knows. What it asked for is answered."""
        self._stopping = self._said_all = self._reader.ended = True
        self._reader.receiving = False
        self._caller_left()
        # Only a plain socket can stay open in one direction.
        if not (self._busy or self._reader.ready) or not self._transport.can_write_eof():
            return False
        if self._watch.phase == Phase.WORK:
            self._await_probe()
        return True

    def pause_writing(self) -> None:
        """The caller does not read: make no further answers for it."""
        self._write_paused = True
        if self._watch.phase < Phase.LINGER:
            self._watch.expect(Phase.READER, self._site.limits.body_timeout_seconds)
        if self._exchange is not None:
            self._exchange.writable.clear()

    def resume_writing(self) -> None:
        """The caller has read."""
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.writable.set()
        if self._watch.phase == Phase.READER:
            self._watch.work()
            self._advance()

    # What the server calls.

    def shutdown(self) -> None:
        """Answer what has begun or comes within a moment, then close."""
        self._stopping = True
        if self._watch.phase == Phase.LINGER:
            self._close()
        elif self._watch.phase == Phase.REQUEST:
            self._watch.expect(Phase.REQUEST, LAST_REQUEST_SECONDS)

    def abort(self) -> None:
        """Close now, whatever is lost by it."""
        self._transport.abort()

    # What the watch calls.

    def _too_late(self) -> None:
        """What was expected has not come in time."""
        phase = self._watch.phase
        if phase == Phase.REQUEST and bytes_wait(self._transport):
            self._watch.expect(Phase.HEAD, self._site.limits.header_timeout_seconds)
        elif phase in (Phase.REQUEST, Phase.LINGER):
            self._close()
        elif phase in (Phase.HEAD, Phase.BODY):
            awaited = "line and headers were" if phase == Phase.HEAD else "body was"
            self._reader.give_up(f"the request's {awaited} not complete in time")
            self._advance()
        elif phase == Phase.PROBE:
            self._probe()
        elif phase != Phase.WORK:
            self._transport.abort()

    def _await_probe(self, seconds: float = _PROBE_SECONDS) -> None:
        """See to it that a caller who has gone is noticed, where that can be found out."""
        if self._interim and self._inferring:
            self._watch.expect(Phase.PROBE, seconds)

    def _probe(self) -> None:
        # Twice, for it is the second write that fails.
        self.write(_INTERIM)
        soon, self._probed = not self._probed, True
        self._await_probe(_PROBE_SECONDS if soon else _LATER_PROBE_SECONDS)

    # From one request to the next.

    def _advance(self) -> None:
        """Start the next request, if nothing stands in its way; without one, read on or close."""
        reader = self._reader
        if self._busy or self._write_paused or self._transport.is_closing():
            return
        if reader.ready:
            self._start(reader.ready.popleft())
        elif reader.ended:
            self._close()
        else:
            self._read_on()
            self._watch.expect_more(reader, stopping=self._stopping)
            if reader.wants_continue:
                reader.wants_continue = False
                self._transport.write(_INTERIM)

    def _start(self, request: Request | Refusal) -> None:
        if isinstance(request, Refusal):
            self._refuse(request)
            return
        infer = self._site.infer
        target = infer.find(request.method, request.target) if infer is not None else None
        if infer is not None and target is not None:
            work = self._infer(infer, request, target)
            self._inferring = True
        else:
            work = self._exchanged(request)
            self._inferring = False
        self._busy = True
        self._interim = not request.http10
        self._watch.work()
        if self._said_all:
            self._await_probe()
        # Not `loop.create_task`, which is three layers around this; and a name, since making one up costs as much.
        # Not begun at once: it would be queued, and predicted, before the other connections were read.
        self._task = asyncio.Task(work, loop=self._loop, name="request", context=self._context.copy())
        self._connections.tasks.add(self._task)

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
        if self._task is not None:
            self._connections.tasks.discard(self._task)
        self._task = None
        self._busy = False
        if not whole or (self._reader.ended and not self._reader.ready):
            self._close()
        else:
            self._advance()

    def _close(self) -> None:
        """Close when what was written has left; a caller that does not read it cannot keep the connection for that."""
        self._watch.expect(Phase.CLOSE, self._site.limits.body_timeout_seconds)
        self._transport.close()

    # Answers.

    def begin_answer(self, request: Request, status: int) -> bool:
        """Log the request, if that is wanted; returns whether the connection stays open after its answer."""
        self._site.log(self._transport, request, status)
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
        status, body, extra = answer.status, answer.body, answer.lines
        heads = self._site.heads
        head = heads.binary(status) if answer.binary else heads.json(status)
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
        self._site.log(self._transport, refusal, refusal.status)
        body = error_bytes(refusal.message)
        head = self._site.heads.json(refusal.status)
        self.write(b"%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        if self._said_all or not self._transport.can_write_eof():
            self._close()
            return
        self._transport.write_eof()
        self._watch.expect(Phase.LINGER, _LINGER_SECONDS)
        self._read_on()

    def _read_on(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def _discard(self, size: int) -> None:
        self._linger_bytes -= size
        if self._linger_bytes < 0:
            self._close()

    def _caller_left(self) -> None:
        if self._exchange is not None:
            self._exchange.gone.set()
