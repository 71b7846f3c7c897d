"""What is served on one socket, and who is connected to it."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Protocol

from mlserver.rest.asgi import App
from mlserver.rest.heads import Heads
from mlserver.rest.infer import InferRoute
from mlserver.rest.limits import Limits
from mlserver.rest.requests import Refusal, Request

logger = logging.getLogger("mlserver.rest")


class Site:
    """What is served on one socket: an ASGI application, before it perhaps the infer route, and how."""

    def __init__(self, app: App, infer: InferRoute | None, *, limits: Limits, access_log: bool) -> None:
        self.app = app
        self.infer = infer
        self.limits = limits
        self.access_log = access_log
        self.heads = Heads()

    def log(self, transport: asyncio.Transport, request: Request | Refusal, status: int) -> None:
        """The line of the access log, where there is one."""
        if self.access_log:
            client = transport.get_extra_info("peername") or ("unknown",)
            shown = request.target[:2048].decode("latin-1")
            asked = f"{request.method.decode('latin-1')} {shown}"
            logger.info('%s "%s" %d', ":".join(map(str, client[:2])), asked, status)


class Connection(Protocol):
    """What a server does with a connection."""

    def shutdown(self) -> None:
        """Answer what has begun or comes within a moment, then close."""

    def abort(self) -> None:
        """Close now, whatever is lost by it."""


class Connections:
    """The open connections of one server, and the requests that are under way on them."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()
        self._gone: asyncio.Event | None = None

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """One begins."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """One has ended."""
        self._open.discard(connection)
        if self._gone is not None and not self._open:
            self._gone.set()

    async def gone(self) -> None:
        """Wait until none is open."""
        if self._open:
            self._gone = asyncio.Event()
            await self._gone.wait()

    def abort(self) -> None:
        """End what is left, whatever is under way."""
        for task in self.tasks:
            task.cancel()
        for connection in self:
            connection.abort()
