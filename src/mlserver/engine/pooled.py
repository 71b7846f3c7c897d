"""One model of a pool, as a Runner: what the registry holds and doors reach."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import Protocol

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import Outcome
from mlserver.engine.queue import ModelQueue
from mlserver.engine.rows import batch_key, row_count
from mlserver.engine.runner import ModelCard
from mlserver.engine.scheduler import Scheduler
from mlserver.engine.window import Job
from mlserver.errors import MLServerError, ModelError, ModelNotReady
from mlserver.types.tensors import TensorRequest, TensorResponse


class Pool(Protocol):
    """What a runner needs of the pool that its model is in."""

    @property
    def scheduler(self) -> Scheduler:
        """Who gives work out."""
        ...

    def stream(self, queue: ModelQueue, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Run the model's `predict_stream` on one of the workers."""
        ...

    async def call(self, queue: ModelQueue, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes on one of the workers. Raises MLServerError."""
        ...

    async def unload(self, queue: ModelQueue) -> None:
        """Take the model from all workers."""
        ...


class PooledRunner:
    """Queues requests for one model of a pool. `released` is called when the model has left the pool."""

    def __init__(self, pool: Pool, queue: ModelQueue, released: Callable[[], Awaitable[None]] | None = None) -> None:
        self._pool = pool
        self._released = released
        self._queue = queue
        self._scheduler = pool.scheduler

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self._queue.card

    @property
    def ready(self) -> bool:
        """Whether the model says so, and a worker lives that has it."""
        return self._queue.card.ready and self._scheduler.serves(self._queue)

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict, with whoever else waits and may be predicted together with this request."""
        key = self._key(request)
        waiter = asyncio.get_running_loop().create_future()
        rows = (row_count(request) or 1,)
        outcomes = await self._scheduler.run(
            self._queue, Job(request, rows, key, waiter, time.monotonic()), backlog=False
        )
        outcome = outcomes[0]
        if outcome.response is None:
            raise outcome.error or ModelError("no answer")
        return outcome.response

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        """Predict a backlog's stack, perhaps in several calls, perhaps with others of its kind."""
        key = self._key(request) if sum(rows) == row_count(request) else None
        waiter = asyncio.get_running_loop().create_future()
        job = Job(request, rows, key, waiter, time.monotonic())
        try:
            return await self._scheduler.run(self._queue, job, backlog=True)
        except MLServerError as error:
            return [Outcome(len(rows), None, error)]

    def _key(self, request: TensorRequest) -> Hashable | None:
        """With whom a request may be predicted; None: alone.

        Of a stack there is no text that a caller has sent, and its rows' arrays are all that the model finds. So it is
        where the request happens to be alone: nobody's numbers may hang on who else asked. And a worker is not sent
        every number twice.
        """
        if self._queue.card.max_rows == 1:
            return None
        key = batch_key(request.model, request.version, request)
        if key is not None:
            for tensor in request.inputs:
                tensor.source = None
        return key

    def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Run `predict_stream`; streams are never stacked."""
        if not self.ready:
            raise ModelNotReady(self._queue.settings.name, self._queue.settings.version)
        return self._pool.stream(self._queue, requests)

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes; nobody waits in a queue for that."""
        if not self.ready:
            raise ModelNotReady(self._queue.settings.name, self._queue.settings.version)
        return await self._pool.call(self._queue, request)

    async def close(self) -> None:
        """Answer everyone who waits, then unload the model."""
        await self._scheduler.drained(self._queue)
        await self._pool.unload(self._queue)
        if self._released is not None:
            await self._released()
