"""Streams of a worker, seen from the server."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from mlserver.engine.frames import Frame, ProtocolError
from mlserver.engine.link import Link
from mlserver.engine.queue import ModelQueue
from mlserver.engine.streams import Stream
from mlserver.engine.words import Cancel, Credit, Done, Open
from mlserver.errors import MLServerError, ModelError, WorkerDied
from mlserver.types.tensors import TensorRequest, TensorResponse


class RemoteStreams:
    """The streams under way on one link, by number."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open: dict[int, tuple[ModelQueue, Stream[TensorResponse]]] = {}
        self._wanted: set[int] = set()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for what a stream brings."""
        return bool(self._wanted)

    def __contains__(self, number: int) -> bool:
        return number in self._open

    async def run(
        self, number: int, queue: ModelQueue, requests: AsyncIterator[TensorRequest]
    ) -> AsyncGenerator[TensorResponse]:
        """Run a model's `predict_stream` as stream `number`. Raises MLServerError; closing it ends the generator."""
        stream: Stream[TensorResponse] = Stream(number, self._link.say)
        self._open[number] = queue, stream
        self._wanted.add(number)
        self._link.say(Open(number, queue.handle))
        stream.open()
        feeder = asyncio.create_task(self._send(number, stream, requests))
        try:
            async for response in stream.messages():
                yield response
        finally:
            feeder.cancel()
            self._wanted.discard(number)
            if number in self._open:
                self._link.say(Cancel(number))

    def feed(self, number: int, message: TensorResponse | MLServerError) -> None:
        """A response, or the error that ends a stream."""
        self._open[number][1].feed(message)

    def hear(self, word: Credit | Done) -> None:
        """The worker takes more requests, or has ended a stream. Raises ProtocolError for one that there is not."""
        found = self._open.pop(word.number, None) if isinstance(word, Done) else self._open.get(word.number)
        if found is not None:
            found[1].hear(word)
        elif isinstance(word, Done):
            raise ProtocolError("the end of a stream that was not begun")

    def end(self) -> None:
        """The worker has ended."""
        for queue, stream in self._open.values():
            stream.feed(WorkerDied(queue.settings.name, queue.settings.version))

    async def _send(self, number: int, stream: Stream[TensorResponse], requests: AsyncIterator[TensorRequest]) -> None:
        try:
            async for request in requests:
                await stream.may_send()
                frame = Frame()
                frame.call(number, request, [1])
                self._link.send(frame)
            self._link.say(Done(number))
        except MLServerError as error:
            stream.feed(error)
        except Exception as error:
            stream.feed(ModelError.of(error))
