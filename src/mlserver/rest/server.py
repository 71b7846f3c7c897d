"""HTTP servers on sockets that are already bound. What is said on a connection is `HttpProtocol`'s; here they begin and
end.
"""

import asyncio
import contextlib
import logging
import socket

from mlserver.rest.app import RestApp
from mlserver.rest.asgi import App
from mlserver.rest.limits import Limits
from mlserver.rest.protocol import HttpProtocol
from mlserver.rest.site import Connections, Site
from mlserver.rest.sockets import BACKLOG, begin_no_more, bind, queued

__all__ = ["HttpServer", "bind"]

logger = logging.getLogger("mlserver.rest")

# Applications besides REST - the metrics - answer GET. Nobody sends them a body on purpose.
_OTHERS = Limits(max_body_bytes=64 * 1024)


class HttpServer:
    """One application on one socket, on the running loop: `RestApp`, or any ASGI application that only answers GET.

    `access_log`: one INFO line per request on the logger `mlserver.rest`. `grace_seconds` is how long `stop` waits for
    requests under way.
    """

    def __init__(self, app: RestApp | App, sock: socket.socket, *, access_log: bool, grace_seconds: float) -> None:
        if isinstance(app, RestApp):
            self._site = Site(app, app.infer, limits=app.limits, access_log=access_log)
        else:
            self._site = Site(app, None, limits=_OTHERS, access_log=access_log)
        self._grace_seconds = grace_seconds
        self._socket = sock
        self._connections = Connections()
        self._listening: asyncio.Task[asyncio.Server] | None = None
        self.port: int = sock.getsockname()[1]
        """The port that callers use."""

    def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        listening = loop.create_server(self._protocol, sock=self._socket, backlog=BACKLOG)
        self._listening = asyncio.create_task(listening)

    async def stop(self) -> None:
        """Take no new connections, answer what is under way, close.

        Who was connected before is answered: those in the listener's queue, and those whose request is on its way
        through a connection that was idle.
        """
        if self._listening is None:
            self._socket.close()
            return
        try:
            async with asyncio.timeout(self._grace_seconds):
                await self._close_listener(await self._listening)
                for connection in self._connections:
                    connection.shutdown()
                await self._connections.gone()
        except TimeoutError:
            logger.error("requests under way after %s s are given up", self._grace_seconds)
        finally:
            self._connections.abort()

    async def _close_listener(self, server: asyncio.Server) -> None:
        begin_no_more(self._socket)
        loop = asyncio.get_running_loop()
        for connection in queued(self._socket):
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, connection)
        server.close()
        self._socket.close()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(self._site, self._connections)
