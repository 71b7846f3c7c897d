"""The socket to the scheduler, from the door's side: blocking, one thread."""

import socket
from collections.abc import Sequence

from mlserver.engine.frames import Assembler, Buffer, Parsed

# One read takes what a batch's answers need; larger frames take several.
_READ_BYTES = 1 << 20
# Linux takes at most 1,024 buffers in one call.
_MAX_BUFFERS = 1_000


class SchedulerGone(Exception):
    """The scheduler closed the socket: it has ended, and so must the door."""


class Link:
    """Frames to and from the scheduler."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._assembler = Assembler()

    def fileno(self) -> int:
        """For `select`: readable when `receive` has something."""
        return self._socket.fileno()

    def send(self, parts: Sequence[Buffer]) -> None:
        """Write the parts of a frame whole. Raises SchedulerGone."""
        data = b"".join(parts) if len(parts) > _MAX_BUFFERS else None
        try:
            if data is not None:
                self._socket.sendall(data)
                return
            sent = self._socket.sendmsg(parts)
            if sent < sum(len(part) for part in parts):
                self._socket.sendall(memoryview(b"".join(parts))[sent:])
        except OSError as error:
            raise SchedulerGone from error

    def receive(self) -> list[Parsed]:
        """The frames that one read completes, perhaps none; waits for the first byte. Raises SchedulerGone."""
        try:
            piece = self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise SchedulerGone from error
        if not piece:
            raise SchedulerGone
        return [Parsed(payload) for payload in self._assembler.feed(piece)]
