"""Calls of models' own routes between the server and a worker: the server's end, and words from and to values."""

import asyncio
from collections.abc import Callable

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.frames import ProtocolError, error_of
from mlserver.engine.queue import ModelQueue
from mlserver.engine.words import Cancel, CustomAnswer, CustomCall, Failure, Word
from mlserver.errors import WorkerDied


class CustomCalls:
    """The calls of one worker that are under way. `say` sends it a word."""

    def __init__(self, say: Callable[[Word], None]) -> None:
        self._say = say
        self._asked: dict[int, tuple[ModelQueue, asyncio.Future[CustomResponse]]] = {}

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for an answer."""
        return any(not answer.done() for _, answer in self._asked.values())

    def __contains__(self, number: int) -> bool:
        return number in self._asked

    async def call(self, number: int, queue: ModelQueue, request: CustomRequest) -> CustomResponse:
        """Ask, under a number that is not in use. Raises MLServerError. Who is cancelled has the worker told."""
        answer: asyncio.Future[CustomResponse] = asyncio.get_running_loop().create_future()
        self._asked[number] = queue, answer
        try:
            self._say(call_of(number, queue.handle, request))
            return await answer
        except asyncio.CancelledError:
            self._say(Cancel(number))  # it answers all the same
            raise

    def take(self, word: CustomAnswer | Failure) -> None:
        """An answer. Raises ProtocolError where nothing was asked."""
        _, answer = self._asked.pop(word.number, (None, None))
        if answer is None:
            raise ProtocolError("an answer to a call that was not made")
        if answer.done():
            return
        if isinstance(word, Failure):
            answer.set_exception(error_of(word))
        else:
            answer.set_result(CustomResponse(word.status, word.headers, word.body))

    def end(self) -> None:
        """The worker has ended: nobody may be left waiting."""
        for queue, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(WorkerDied(queue.settings.name, queue.settings.version))
        self._asked.clear()


def call_of(number: int, handle: int, request: CustomRequest) -> CustomCall:
    """A request as a word."""
    return CustomCall(
        number, handle, request.method, request.path, request.query, request.headers, request.body, request.client
    )


def request_of(word: CustomCall) -> CustomRequest:
    """The request of a word."""
    return CustomRequest(word.method, word.path, word.query, word.headers, word.body, word.client)
