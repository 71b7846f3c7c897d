"""Worker processes that host the same models: started, loaded one after the other, watched, replaced, drained."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.pooled import PooledRunner
from mlserver.engine.process import Launch, Spec, WorkerProcess
from mlserver.engine.queue import Limits, ModelQueue
from mlserver.engine.scheduler import Scheduler
from mlserver.errors import ConfigurationError, MLServerError, Overloaded, WorkerDied
from mlserver.events import Tell, WorkerEnded, nobody
from mlserver.settings import ModelSettings, Settings
from mlserver.types.tensors import TensorRequest, TensorResponse

logger = logging.getLogger("mlserver.parallel")

# A worker that ended is replaced at once; one that ends again soon, after a pause that doubles. After a calm minute
# all is forgotten. One that never gets to work, time after time, is tried once a minute.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _CALM_SECONDS = 0.1, 5.0, 60.0
_MAX_FUTILE_STARTS, _FUTILE_PAUSE_SECONDS = 5, 60.0
# A model that its file's state keeps from loading into a new worker is tried again this often.
_RELOAD_SECONDS = 10.0

# Numbers of loaded models: unique in this process, so that a late word never speaks of another one.
_handles = itertools.count(1)


class _Model:
    """A model of the pool. `queue` is None until it has been loaded once."""

    __slots__ = ("queue", "settings", "spec")

    def __init__(self, spec: Spec, settings: ModelSettings) -> None:
        self.spec = spec
        self.settings = settings
        self.queue: ModelQueue | None = None


class WorkerPool:
    """`size` workers, each of which has every model of the pool."""

    def __init__(self, settings: Settings, launch: Launch, size: int, tell: Tell = nobody) -> None:
        self.scheduler = Scheduler(tell)
        self._settings = settings
        self._launch = launch
        self._size = size
        self._tell = tell
        self._models: dict[int, _Model] = {}
        self._workers: list[WorkerProcess] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._watcher: asyncio.Task[None] | None = None
        # Loads are staggered: one at a time, so that their peaks of memory do not add up.
        self._loading = asyncio.Lock()
        self._closing = asyncio.Event()
        # Every process that was started and has not ended; `_workers` are those at work.
        self._processes: set[WorkerProcess] = set()
        self._change: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        # Places whose first process has neither come to work nor failed to.
        self._beginning = set(range(size))

    def start(self) -> None:
        """Begin to start the workers."""
        self._keepers = [asyncio.create_task(self._keep_alive(number)) for number in range(self._size)]
        self._watcher = asyncio.create_task(self._watch())

    @property
    def empty(self) -> bool:
        """Whether no model is here."""
        return not self._models

    async def load(
        self,
        settings: ModelSettings,
        warmup: TensorRequest | None = None,
        released: Callable[[], Awaitable[None]] | None = None,
    ) -> PooledRunner:
        """Load a model into every worker. Raises MLServerError with one line that says why it could not be."""
        handle = next(_handles)
        spec = Spec(handle, settings.model_dump_json(by_alias=True), settings._source, warmup)
        model = _Model(spec, settings)
        await self._someone()
        async with self._loading:
            self._models[handle] = model
            try:
                for worker in tuple(self._workers):
                    await self._load_or_end(worker, model)
                if model.queue is None:
                    raise MLServerError("no worker lives that it could be loaded into")
            except BaseException:
                del self._models[handle]
                await asyncio.gather(*(worker.unload(handle) for worker in self._workers))
                raise
        return PooledRunner(self, model.queue, released)

    async def unload(self, queue: ModelQueue) -> None:
        """Take a model that nothing is under way for from every worker."""
        async with self._loading:
            try:
                await asyncio.gather(*(worker.unload(queue.handle) for worker in self._workers))
            finally:
                # Last, so that what the model has recorded to its end is still known to be its own.
                self._models.pop(queue.handle, None)

    async def stream(self, queue: ModelQueue, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Run `predict_stream` on the least busy of the workers. Raises MLServerError."""
        worker = self._least_busy(queue)
        with self.scheduler.streaming(queue):
            async with contextlib.aclosing(worker.stream(queue, requests)) as responses:
                async for response in responses:
                    yield response

    async def call(self, queue: ModelQueue, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes on the least busy of the workers. Raises MLServerError."""
        worker = self._least_busy(queue)
        with self.scheduler.streaming(queue):
            return await worker.call(queue, request)

    async def close(self) -> None:
        """End the workers; those that do not within `parallel_workers_timeout` are killed. Nothing may be under way."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.cancel()
        timeout = self._settings.parallel_workers_timeout
        for worker in tuple(self._processes):
            if worker in self._workers:
                worker.drain(timeout)
            else:
                worker.kill()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=timeout)
        for worker in tuple(self._processes):
            logger.warning("worker %d did not end within parallel_workers_timeout: killed", worker.pid)
            worker.kill()
        await asyncio.gather(*self._keepers)

    def _least_busy(self, queue: ModelQueue) -> WorkerProcess:
        """A worker for what is not queued. Raises WorkerDied where there is none, Overloaded where all are busy."""
        worker = min(self._workers_of(queue), key=lambda worker: worker.desk.total, default=None)
        if worker is None:
            raise WorkerDied(queue.settings.name, queue.settings.version)
        if worker.desk.total >= queue.limits.concurrency:
            raise Overloaded(f"{queue.named} has max_concurrency = {queue.limits.concurrency} calls in every worker")
        return worker

    def _workers_of(self, queue: ModelQueue) -> list[WorkerProcess]:
        return [worker for worker in self._workers if worker.serves(queue)]

    def _keys(self) -> set[tuple[str, str]]:
        """Names and versions of the models that are here, those that are being loaded or unloaded too."""
        return {(model.settings.name, model.settings.version or "") for model in self._models.values()}

    # Keeping workers alive.

    async def _keep_alive(self, number: int) -> None:
        """Run one worker after the other in one place of the pool."""
        pause, futile = _FIRST_PAUSE_SECONDS, 0
        while not self._closing.is_set():
            begun = time.monotonic()
            worked, reason = await self._one_life(number)
            if self._closing.is_set():
                return
            futile = 0 if worked else futile + 1
            if time.monotonic() - begun > _CALM_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            wait = _FUTILE_PAUSE_SECONDS if futile >= _MAX_FUTILE_STARTS else pause
            self._tell(WorkerEnded(number, reason))
            logger.error("worker %d of %d ended: %s; started anew in %.1f s", number + 1, self._size, reason, wait)
            self._settle(number, reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _one_life(self, number: int) -> tuple[bool, str]:
        """From the start of a process to its end; whether it came to work, and how it ended."""
        worker = WorkerProcess(self.scheduler, self._keys)
        self._processes.add(worker)
        retrying: asyncio.Task[None] | None = None
        worked = False
        try:
            await worker.launch(self._launch)
            async with self._loading:
                missing = await self._load_all(worker)
                worked = not (worker.gone.done() or self._closing.is_set())
                if worked:
                    self._workers.append(worker)
                    self.scheduler.join(worker)
                    self._settle(number, None)
            logger.debug("worker %d of %d is process %d", number + 1, self._size, worker.pid)
            retrying = asyncio.create_task(self._retry(worker, missing)) if missing and worked else None
            return worked, await worker.exited() if worked else "it ended before it was at work"
        except (OSError, MLServerError) as error:
            return False, str(error)
        finally:
            if worker in self._workers:
                self._workers.remove(worker)
            if retrying is not None:
                retrying.cancel()
            worker.kill()
            await worker.exited()
            self._processes.discard(worker)

    async def _load_all(self, worker: WorkerProcess) -> list[_Model]:
        """Load what the pool has into a new worker; those that failed."""
        missing = []
        for model in tuple(self._models.values()):
            try:
                await self._load_into(worker, model)
            except (ConfigurationError, MLServerError) as error:
                if worker.gone.done():
                    break
                logger.error("model %r could not be loaded into a new worker: %s", model.settings.name, error)
                missing.append(model)
        return missing

    async def _retry(self, worker: WorkerProcess, missing: list[_Model]) -> None:
        """Whatever kept models from loading - a file that is being replaced - may pass."""
        while missing:
            await asyncio.sleep(_RELOAD_SECONDS)
            async with self._loading:
                for model in [model for model in missing if model.spec.handle in self._models]:
                    with contextlib.suppress(ConfigurationError, MLServerError):
                        await self._load_into(worker, model)
                        missing.remove(model)
                missing = [model for model in missing if model.spec.handle in self._models]

    async def _load_or_end(self, worker: WorkerProcess, model: _Model) -> None:
        """Load; if nobody waits for that any more, the worker ends: nothing else stops a load."""
        try:
            await self._load_into(worker, model)
        except asyncio.CancelledError:
            worker.kill()
            raise

    async def _load_into(self, worker: WorkerProcess, model: _Model) -> None:
        card = await worker.load(model.spec)
        if model.queue is None:
            settings = self._settings
            limits = Limits(model.settings, requests=settings.max_queue_requests, bytes=settings.max_queue_bytes)
            model.queue = ModelQueue(model.spec.handle, model.settings, card, limits)
        worker.serve(model.queue)
        self.scheduler.look()

    async def _watch(self) -> None:
        """Replace a worker that is silent and has no reason to be."""
        limit = self._settings.worker_heartbeat_seconds
        while True:
            await asyncio.sleep(limit / 4)
            now = time.monotonic()
            for worker in tuple(self._workers):
                if worker.expected_silent:
                    worker.heard = now
                elif now - worker.heard > limit:
                    logger.error("worker %d was silent for %.1f s while idle", worker.pid, now - worker.heard)
                    worker.kill()
                else:
                    worker.ask()

    # Waiting for a worker.

    async def _someone(self) -> None:
        """Wait until every place has begun, and a worker lives. Raises MLServerError where the next did not start."""
        while not self._workers or self._beginning:
            reason = await asyncio.shield(self._change)
            if reason is not None and not (self._workers or self._beginning):
                raise MLServerError(reason)

    def _settle(self, number: int, reason: str | None) -> None:
        """The worker of a place has come to work, or has ended for `reason`."""
        self._beginning.discard(number)
        change, self._change = self._change, asyncio.get_running_loop().create_future()
        change.set_result(reason)
