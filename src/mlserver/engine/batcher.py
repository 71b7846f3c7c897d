"""A Runner around a Runner: what is queued when a worker is free is predicted together.

It costs no waiting: requests that come in one turn of the loop are taken in the next, and while the model is busy the
others gather. Each member owns its future, so that a caller who has gone, or a row that fails, leaves the others
answered.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import infer_members
from mlserver.engine.runner import ModelCard, Runner
from mlserver.engine.window import Member, Window, batch_key, merge, split
from mlserver.errors import MLServerError, ModelError
from mlserver.settings import ModelSettings
from mlserver.types.tensors import TensorRequest, TensorResponse

# Rows of one predict where the settings name no bound: there a row-wise model's cost per row has long stopped
# falling (the digits SVC: 172 us for one row, 46 a row at 8, 32 at 64, 31 at 256), and 256 rows of it keep the loop for
# 8 ms, no longer.
DEFAULT_MAX_ROWS = 256
# Predicts under way at once, where `predict` is async.
_MAX_CONCURRENCY = 64

_Waiter = asyncio.Future[TensorResponse]


def max_rows_of(settings: ModelSettings, *, row_wise: bool) -> int:
    """How many rows one predict of a model may get; 1 where requests must not be stacked.

    Asking for batches by `max_batch_size` and `max_batch_time` declares a model row-wise.
    """
    asked = settings.max_batch_size
    if asked == 0:
        return DEFAULT_MAX_ROWS if row_wise else 1
    return asked if row_wise or settings.max_batch_time > 0 else 1


class Batcher:
    """Stacks requests of equal batch key; others pass through."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._window: Window[_Waiter] = Window()
        self._under_way: set[asyncio.Task[None]] = set()
        self._scheduled = False

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self._runner.card

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict, with whoever else is there."""
        key = batch_key(request.model, request.version, request)
        if key is None:
            return await self._runner.infer(request)
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        self._window.add(key, Member(request, waiter))
        self._schedule(loop)
        return await waiter

    def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Streams are never stacked."""
        return self._runner.stream(requests)

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Pass through."""
        return await self._runner.call(request)

    async def close(self) -> None:
        """Answer everyone who waits, then close the model."""
        while self._window or self._under_way:
            if self._under_way:
                await asyncio.wait(self._under_way)
            else:
                await asyncio.sleep(0)
        await self._runner.close()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)

    def _start(self) -> None:
        """Give what waits to free workers."""
        self._scheduled = False
        while len(self._under_way) < _MAX_CONCURRENCY:
            members = self._window.take(self.card.max_rows)
            if not members:
                return
            task = asyncio.create_task(self._predict(members))
            self._under_way.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if self._window:
            self._schedule(task.get_loop())

    async def _predict(self, members: Sequence[Member[_Waiter]]) -> None:
        waiting = [member for member in members if not member.waiter.done()]
        try:
            if len(waiting) == 1:
                _answer(waiting, [await self._runner.infer(waiting[0].request)])
            elif waiting:
                await self._together(waiting)
        except MLServerError as error:
            _refuse(waiting, error)
        except BaseException as error:
            # Nobody may be left waiting, whatever happens here.
            _refuse(waiting, ModelError.of(error))
            raise

    async def _together(self, members: Sequence[Member[_Waiter]]) -> None:
        stack = merge([member.request for member in members])
        outcomes = await infer_members(self._runner.infer, stack, [member.rows for member in members])
        start = 0
        for outcome in outcomes:
            mine = members[start : start + outcome.members]
            start += outcome.members
            if outcome.response is None:
                _refuse(mine, outcome.error or ModelError("no answer"))
            elif len(mine) == 1:
                _answer(mine, [outcome.response])
            else:
                _answer(mine, split(outcome.response, [member.rows for member in mine]))


def _answer(members: Sequence[Member[_Waiter]], responses: Sequence[TensorResponse]) -> None:
    for member, response in zip(members, responses, strict=True):
        if not member.waiter.done():
            member.waiter.set_result(response)


def _refuse(members: Sequence[Member[_Waiter]], error: MLServerError) -> None:
    for member in members:
        if not member.waiter.done():
            member.waiter.set_exception(error if len(members) == 1 else _own(error))


def _own(error: MLServerError) -> MLServerError:
    """One exception raised to several callers would gather all their tracebacks."""
    own = MLServerError(str(error), error.status_code)
    own.kind = error.kind
    own.__cause__ = error
    return own
