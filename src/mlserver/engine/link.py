"""The server's end of a worker's socket: frames out, words in, and the end of it."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from mlserver.engine.frames import Assembler, Frame, Parsed, ProtocolError
from mlserver.engine.words import Word

logger = logging.getLogger("mlserver.parallel")

# Why a link ends where a process has just ended.
CLOSED = "its socket closed"
# Up to here the parts of a frame are copied into one buffer, so that they leave in one system call; copying more costs
# more than the transport's own gathering.
_ONE_WRITE_BYTES = 64 * 1024


class Link(asyncio.Protocol):
    """`on_word` is called for every word, in order, with the frame that it came in; `on_end` once, with a reason.

    A frame that breaks the rules ends the link: whoever sent it is not a worker any more.
    """

    def __init__(self, on_word: Callable[[Word, Parsed], None], on_end: Callable[[str], None]) -> None:
        self._on_word = on_word
        self._on_end = on_end
        self._assembler = Assembler()
        self._transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(CLOSED)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._assembler.feed(data):
                parsed = Parsed(payload)
                for word in parsed.words:
                    self._on_word(word, parsed)
        except ProtocolError as error:
            self._end(f"it broke the protocol: {error}")
        except Exception:
            logger.exception("unexpected failure while reading from a worker")
            self._end("what it said could not be read")

    def say(self, word: Word) -> None:
        """Send one word without tensors."""
        frame = Frame()
        frame.add(word)
        self.send(frame)

    def send(self, frame: Frame) -> None:
        """Send a frame, if there is still somebody to send it to. Raises what `Frame.parts` raises."""
        parts = frame.parts()
        if self._transport is None or self._ended:
            return
        if sum(map(len, parts)) <= _ONE_WRITE_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def close(self, reason: str) -> None:
        """End the link."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self._transport is not None:
            self._transport.close()
        self._on_end(reason)
