"""A worker's end of its socket: frames out from any thread, frames in for one."""

import select
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from mlserver.engine.frames import Assembler, Buffer, Parsed

# What one read takes: a small batch whole; large frames take several.
_READ_BYTES = 1 << 18
# Linux takes at most 1,024 buffers in one call.
_MAX_BUFFERS = 1_000
# Reads per turn of the loop, so that a server that sends without end cannot keep everything else out.
_MAX_READS = 64


class Pipe:
    """Frames to and from the server. Sending blocks while the server does not read, which it always does."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._assembler = Assembler()
        self._sending = threading.Lock()
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)
        self._put_back: list[Parsed] = []
        # One for all reads: `recv` would ask the system for new memory each time.
        self._buffer = memoryview(bytearray(_READ_BYTES))
        sock.setblocking(True)

    def fileno(self) -> int:
        """For an event loop: readable when `receive` has something."""
        return self._socket.fileno()

    def close(self) -> None:
        """Nothing is sent or received any more."""
        self._socket.close()

    def send(self, parts: Sequence[Buffer]) -> None:
        """Write the parts of a frame, whole and not mixed with another's. A server that is gone is no error here."""
        if len(parts) > _MAX_BUFFERS:
            parts = [b"".join(parts)]
        size = sum(map(len, parts))
        try:
            with self._sending:
                sent = self._tried(partial(self._socket.sendmsg, parts))
                rest = memoryview(b"".join(parts))[sent:] if sent < size else memoryview(b"")
                while rest:
                    rest = rest[self._tried(partial(self._socket.send, rest)) :]
        except OSError:
            return  # whoever reads sees the end

    def _tried(self, send: Callable[[], int]) -> int:
        """How much `send` has sent, which is something. An event loop that watches the socket may have made it one
        that does not block.
        """
        while True:
            try:
                return send()
            except BlockingIOError:
                self._writable.poll()

    def put_back(self, frames: Sequence[Parsed]) -> None:
        """Have the next `receive` give these again, which somebody else should read."""
        self._put_back = list(frames)

    def receive(self, *, wait: bool = False) -> list[Parsed]:
        """The frames that have come. Raises EOFError, OSError, ProtocolError."""
        found, self._put_back = self._put_back, []
        if found:
            return found
        for _ in range(_MAX_READS):
            try:
                size = self._socket.recv_into(self._buffer, 0, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not size:
                raise EOFError
            found += map(Parsed, self._assembler.feed(self._buffer[:size]))
            if wait or size < _READ_BYTES:
                break
        return found
