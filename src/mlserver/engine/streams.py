"""One end of a stream on a socket: messages come in as they are asked for, and go out as they are allowed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from mlserver.engine.words import Credit, Done, Word
from mlserver.errors import MLServerError

M = TypeVar("M")

# Messages that one side may have sent and the other not yet taken: covers the way there and back at 1,000 messages a
# second, and bounds what a slow reader makes us hold.
WINDOW = 16


class Stream(Generic[M]):
    """What comes in is bounded by the credit that `say` gives the other side, what goes out by the credit it gave."""

    def __init__(self, number: int, say: Callable[[Word], None]) -> None:
        self._number = number
        self._say = say
        self._unread: asyncio.Queue[M | MLServerError | None] = asyncio.Queue()
        self._owed = 0
        self._allowed = asyncio.Semaphore(0)

    def open(self) -> None:
        """Let the other side begin."""
        self._say(Credit(self._number, WINDOW))

    def feed(self, message: M | MLServerError | None) -> None:
        """The next message; an error, or None, is the last."""
        self._unread.put_nowait(message)

    async def messages(self) -> AsyncIterator[M]:
        """All messages. Raises the error that came in place of one."""
        while True:
            message = await self._unread.get()
            if message is None:
                return
            if isinstance(message, MLServerError):
                raise message
            yield message
            self._owed += 1
            if self._owed >= WINDOW // 2:
                self._say(Credit(self._number, self._owed))
                self._owed = 0

    def hear(self, word: Credit | Done) -> None:
        """The other side allows more, or has nothing more to say."""
        if isinstance(word, Done):
            self.feed(None)
            return
        for _ in range(word.messages):
            self._allowed.release()

    async def may_send(self) -> None:
        """Wait for the right to send one message."""
        await self._allowed.acquire()
