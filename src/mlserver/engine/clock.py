"""The time that callers give the answers of a stream."""

import asyncio
import time
from collections.abc import AsyncIterator

from mlserver.errors import DeadlineExceeded
from mlserver.types.tensors import TensorResponse


class StreamClock:
    """Ends the wait for the next answer of a stream when that is worth nothing any more.

    The newest request says when. In a `conversation`, whose caller may say nothing for long, its time is over with the
    first answer that follows it; else it is that of all answers.
    """

    def __init__(self, model: str, *, conversation: bool) -> None:
        self._model = model
        self._conversation = conversation
        self._due: float | None = None
        self._wait: asyncio.Timeout | None = None

    def asked(self, deadline: float | None) -> None:
        """There is a request, whose answers are worth something until `deadline` of the monotonic clock."""
        self._due = None
        if deadline is not None:
            self._due = asyncio.get_running_loop().time() + deadline - time.monotonic()
        if self._wait is not None:
            self._wait.reschedule(self._due)

    async def next(self, answers: AsyncIterator[TensorResponse]) -> TensorResponse | None:
        """The next answer; None after the last. Raises DeadlineExceeded, and what `answers` raises."""
        if self._due is not None and self._due <= asyncio.get_running_loop().time():
            raise self._late()
        try:
            async with asyncio.timeout_at(self._due) as self._wait:
                answer = await anext(answers, None)
        except TimeoutError:
            raise self._late() from None
        finally:
            self._wait = None
        if self._conversation:
            self._due = None
        return answer

    def _late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the deadline of the request for model {self._model!r} passed before its last answer")
