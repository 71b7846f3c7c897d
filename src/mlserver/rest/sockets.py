"""Listening sockets: taken with a clear error, given up without losing who is in their queue."""

import asyncio
import contextlib
import ctypes
import errno
import select
import socket
import struct
from collections.abc import Iterator

from mlserver.errors import ConfigurationError

BACKLOG = 2048

# Linux: a classic BPF program of one instruction, "keep 0 bytes of every packet". Python has no names for these.
_SO_ATTACH_FILTER = 26
_RETURN_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises ConfigurationError naming the port and its setting.

    Listening at once, not only bound: two processes may bind one port, but only one may listen on it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror or error}"
        raise ConfigurationError(f"{setting}: port {port} on {host} {why}") from None
    sock.setblocking(False)
    return sock


def begin_no_more(listener: socket.socket) -> None:
    """Let no new handshake reach `listener`; those that are complete stay in its queue.

    To close a listener resets what is in its queue: callers who are connected, and have perhaps sent their request.
    With handshakes going on, a queue that was found empty need not be empty when it is closed; so they are stopped
    first. Their packets are dropped and not refused: a caller who tries again soon finds the next server, or nobody.
    """
    instruction = ctypes.create_string_buffer(_RETURN_NOTHING, len(_RETURN_NOTHING))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    with contextlib.suppress(OSError):  # where the kernel will not, the rest of the stop is still right
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def queued(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections in the queue of a listener, until there are none."""
    while True:
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:
            continue
        except OSError:  # none is left, or no file descriptor for it
            return
        connection.setblocking(False)
        yield connection


def bytes_wait(transport: asyncio.Transport) -> bool:
    """Whether there is something to read that the loop has not come to yet."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))
