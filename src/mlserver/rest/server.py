"""HTTP servers on sockets that are already bound. Uvicorn accepts connections and ends them; what is said on them is
`HttpProtocol`'s.
"""

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn

from mlserver.errors import ConfigurationError
from mlserver.rest.app import RestApp
from mlserver.rest.asgi import App
from mlserver.rest.protocol import HttpProtocol, Site

# Applications besides REST - the metrics - answer GET. Nobody sends them a body on purpose.
_OTHER_BODY_BYTES = 64 * 1024


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises ConfigurationError naming the port and its setting.

    Listening at once, not only bound: two processes may bind one port, but only one may listen on it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror or error}"
        raise ConfigurationError(f"{setting}: port {port} on {host} {why}") from None
    sock.setblocking(False)
    return sock


class HttpServer:
    """One application on one socket, on the running loop: `RestApp`, or any ASGI application that only answers GET.

    `access_log`: one INFO line per request on the logger `mlserver.rest`. `grace_seconds` is how long `stop` waits for
    requests under way.
    """

    def __init__(self, app: RestApp | App, sock: socket.socket, *, access_log: bool, grace_seconds: float) -> None:
        protocol = functools.partial(HttpProtocol, _site(app, access_log))
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", protocol),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, int(grace_seconds)),
        )
        self._server = _Server(config)
        self._socket = sock
        self.port: int = sock.getsockname()[1]
        """The port that callers use."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """Take no new connections, answer what is under way, close."""
        self._server.should_exit = True
        if self._task is None:
            self._socket.close()
        else:
            await self._task


def _site(app: RestApp | App, access_log: bool) -> Site:
    if isinstance(app, RestApp):
        return Site(app, app.infer, max_body_bytes=app.max_body_bytes, access_log=access_log)
    return Site(app, None, max_body_bytes=_OTHER_BODY_BYTES, access_log=access_log)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the composition root's: it drains all doors in order."""
        yield
