"""Models in this process: `parallel_workers: 0`."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.flights import Desk, Flight
from mlserver.engine.hosted import HostedModel
from mlserver.engine.isolate import Outcome, infer_members
from mlserver.engine.pooled import PooledRunner
from mlserver.engine.queue import Limits, ModelQueue
from mlserver.engine.scheduler import Scheduler
from mlserver.errors import ModelError
from mlserver.events import Tell, nobody
from mlserver.settings import ModelSettings, Settings
from mlserver.types.tensors import TensorRequest, TensorResponse


class LocalPool:
    """Loads models into this process and runs them on its event loop: what blocks in a model blocks everything."""

    def __init__(self, settings: Settings, tell: Tell = nobody) -> None:
        self._settings = settings
        self.scheduler = Scheduler(tell)
        self._worker = _LocalWorker(self.scheduler)
        self.scheduler.join(self._worker)
        self._handles = 0

    async def load(self, model: ModelSettings, warmup: TensorRequest | None = None) -> PooledRunner:
        """Load a model and send it its warm-up request. Raises what the runtime raises."""
        hosted = await HostedModel.load(model)
        if warmup is not None:
            await hosted.infer(warmup)
        self._handles += 1
        settings = self._settings
        limits = Limits(model, requests=settings.max_queue_requests, bytes=settings.max_queue_bytes)
        queue = ModelQueue(self._handles, model, hosted.card, limits)
        self._worker.add(queue, hosted)
        return PooledRunner(self, queue)

    async def stream(self, queue: ModelQueue, requests: AsyncIterator[TensorRequest]) -> AsyncGenerator[TensorResponse]:
        """Run `predict_stream` here."""
        with self.scheduler.streaming(queue):
            async with contextlib.aclosing(self._worker.models[queue].stream(requests)) as responses:
                async for response in responses:
                    yield response

    async def call(self, queue: ModelQueue, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes here."""
        with self.scheduler.streaming(queue):
            return await self._worker.models[queue].call(request)

    async def unload(self, queue: ModelQueue) -> None:
        """Unload the model."""
        hosted = self._worker.models.pop(queue, None)
        if hosted is not None:
            await hosted.unload()

    async def close(self) -> None:
        """Nothing outlives the models."""


class _LocalWorker:
    def __init__(self, scheduler: Scheduler) -> None:
        self.desk = Desk()
        self.models: dict[ModelQueue, HostedModel] = {}
        self._scheduler = scheduler
        self._tasks: dict[Flight, asyncio.Task[None]] = {}

    @property
    def flights(self) -> Iterable[Flight]:
        return self._tasks.keys()

    def add(self, queue: ModelQueue, hosted: HostedModel) -> None:
        hosted.on_wait = lambda: self._scheduler.awaiting(queue)
        self.models[queue] = hosted

    def serves(self, queue: ModelQueue) -> bool:
        return queue in self.models

    def start(self, flight: Flight) -> None:
        work = self._run(flight, self.models[flight.queue])
        # Not `create_task`, which makes up a name: that costs as much as all the rest here.
        self._tasks[flight] = asyncio.Task(work, loop=asyncio.get_running_loop(), name="predict")

    def cancel(self, flight: Flight) -> None:
        """After its first step, without which a task runs nothing of `_run`, and would keep its place for ever."""
        asyncio.get_running_loop().call_soon(self._tasks[flight].cancel)

    def overdue(self, flight: Flight) -> None:
        """Only what awaits can be stopped here."""
        self.cancel(flight)

    async def _run(self, flight: Flight, hosted: HostedModel) -> None:
        outcomes: Sequence[Outcome]
        try:
            outcomes = await infer_members(hosted.infer, flight.request, flight.rows)
        except asyncio.CancelledError:
            outcomes = [Outcome(flight.members, None, ModelError("cancelled: nobody waits for it"))]
        except Exception as error:
            # Nobody may be left waiting, whatever happens here.
            outcomes = [Outcome(flight.members, None, ModelError.of(error))]
        del self._tasks[flight]
        self._scheduler.finish(flight, outcomes)
