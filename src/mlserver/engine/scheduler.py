"""Brings what waits and who is free together: a free worker takes everything that is queued, and never waits.

One scheduler serves the models of one pool of workers. Requests that somebody waits for go before a backlog; models
take turns; of several free workers the least busy one is given the call.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from mlserver.engine.flights import Flight, Worker, deliver
from mlserver.engine.isolate import Outcome
from mlserver.engine.queue import ModelQueue, Waiter
from mlserver.engine.window import Job
from mlserver.errors import DeadlineExceeded, MLServerError, ModelNotReady, WorkerDied
from mlserver.events import BatchRun, RequestsDropped, Tell, nobody

# A backlog keeps its slices short for this long after a request that somebody waited for: the next one is near.
_INTERACTIVE_SECONDS = 1.0


class Scheduler:
    """Owned by one event loop; nothing here blocks."""

    def __init__(self, tell: Tell = nobody) -> None:
        self._tell = tell
        self._workers: list[Worker] = []
        # Queues with something to take, those whose turn is next first: requests somebody waits for, backlogs.
        self._waiting: tuple[OrderedDict[ModelQueue, None], ...] = (OrderedDict(), OrderedDict())
        self._scheduled = False
        self._under_way = 0
        self._interactive_at = -_INTERACTIVE_SECONDS
        self._drainers: list[asyncio.Future[None]] = []

    # Workers.

    def join(self, worker: Worker) -> None:
        """A worker that can run calls."""
        self._workers.append(worker)
        self._schedule()

    def leave(self, worker: Worker) -> None:
        """A worker has ended: its calls are answered, and what waits for a model that nobody else has."""
        if worker in self._workers:
            self._workers.remove(worker)
        for flight in list(worker.flights):
            self._end(flight)
            self._lost(flight)
        for waiting in self._waiting:
            for queue in [queue for queue in waiting if not self.serves(queue)]:
                self._refuse(queue)
        self._schedule()

    def serves(self, queue: ModelQueue) -> bool:
        """Whether a worker lives that has the model."""
        # A loop, since every request asks: `any` takes twice as long.
        for worker in self._workers:  # noqa: SIM110
            if worker.serves(queue):
                return True
        return False

    def look(self) -> None:
        """A worker has loaded another model."""
        self._schedule()

    # Jobs.

    async def run(self, queue: ModelQueue, job: Job[Waiter], *, backlog: bool) -> list[Outcome]:
        """Wait for a job's outcomes, in its members' order. Raises Overloaded, ModelNotReady, DeadlineExceeded."""
        if not self.serves(queue):
            raise ModelNotReady(queue.settings.name, queue.settings.version)
        deadline = job.request.deadline
        timer = None if deadline is None else self._deadline(queue, job, deadline)
        if backlog:
            queue.add_backlog(job)
        else:
            queue.add(job)
        self._waiting[backlog][queue] = None
        self._schedule()
        try:
            return await job.waiter
        except asyncio.CancelledError:
            self._abandon(queue, job)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _deadline(self, queue: ModelQueue, job: Job[Waiter], deadline: float) -> asyncio.TimerHandle:
        left = deadline - time.monotonic()
        if left <= 0:
            self._dropped(queue, job)
            raise DeadlineExceeded(f"the deadline of the request for {queue.named} had passed when it came")
        return asyncio.get_running_loop().call_later(left, self._expire, queue, job)

    def _expire(self, queue: ModelQueue, job: Job[Waiter]) -> None:
        if not job.waiter.done():
            when = "while it was predicted" if job.taken else "before it was predicted"
            job.waiter.set_exception(DeadlineExceeded(f"the deadline of the request for {queue.named} passed {when}"))
            self._abandon(queue, job)

    def _abandon(self, queue: ModelQueue, job: Job[Waiter]) -> None:
        """Nobody waits for `job` any more: what is left of it is not predicted, and what is under way stops."""
        if queue.withdraw(job):
            self._dropped(queue, job)
            self._tell_drainers()
        if job.taken:
            for worker in self._workers:
                for flight in self._flights_of(queue, worker):
                    if flight.abandoned:
                        worker.cancel(flight)

    def _flights_of(self, queue: ModelQueue, worker: Worker) -> list[Flight]:
        return [flight for flight in worker.flights if flight.queue is queue] if queue in worker.desk.of else []

    def _dropped(self, queue: ModelQueue, job: Job[Waiter]) -> None:
        settings = queue.settings
        self._tell(RequestsDropped(settings.name, settings.version, len(job.rows) - job.taken))

    def _refuse(self, queue: ModelQueue) -> None:
        """Answer everyone who waits: there is nobody left to predict."""
        for job in queue.clear():
            if not job.waiter.done():
                job.waiter.set_exception(WorkerDied(queue.settings.name, queue.settings.version))
        self._tell_drainers()

    async def drained(self, queue: ModelQueue) -> None:
        """Wait until nothing of the queue waits or is under way."""
        while not queue.idle:
            drainer = asyncio.get_running_loop().create_future()
            self._drainers.append(drainer)
            await drainer

    @contextlib.contextmanager
    def streaming(self, queue: ModelQueue) -> Iterator[None]:
        """Within: a stream of the model is under way, which `drained` waits for."""
        queue.under_way += 1
        try:
            yield
        finally:
            queue.under_way -= 1
            self._tell_drainers()

    def _tell_drainers(self) -> None:
        for drainer in self._drainers:
            if not drainer.done():
                drainer.set_result(None)
        self._drainers.clear()

    # Giving work out.

    def _schedule(self) -> None:
        """At the end of this turn of the loop, so that what comes in one turn is predicted together."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        self._scheduled = False
        now = time.monotonic()
        if self._waiting[False]:
            self._interactive_at = now
        sliced = now - self._interactive_at < _INTERACTIVE_SECONDS
        for backlog in (False, True):
            while self._waiting[backlog] and self._give_one_each(now, backlog=backlog, sliced=sliced):
                pass

    def _give_one_each(self, now: float, *, backlog: bool, sliced: bool) -> bool:
        """A call for every queue that has something and finds a free worker; whether there was any."""
        waiting = self._waiting[backlog]
        given = False
        for queue in tuple(waiting):
            worker = self._free(queue) if queue.waiting(backlog=backlog) else None
            if worker is not None:
                pieces = queue.take(backlog=backlog, sliced=sliced)
                self._start(Flight(worker, queue, pieces, now))
                waiting.move_to_end(queue)
                given = True
            if not queue.waiting(backlog=backlog):
                del waiting[queue]
        return given

    def _free(self, queue: ModelQueue) -> Worker | None:
        """The least busy worker that would run a call at once."""
        workers = self._workers
        if queue.limits.workers is not None:
            busy = [worker for worker in workers if queue in worker.desk.of]
            workers = busy if len(busy) >= queue.limits.workers else workers
        best: Worker | None = None
        for worker in workers:
            if (best is None or worker.desk.total < best.desk.total) and worker.desk.room(queue):
                best = worker if worker.serves(queue) else best
        return best

    def _start(self, flight: Flight) -> None:
        worker = flight.worker
        worker.desk.begin(flight)
        self._under_way += 1
        flight.under_way = self._under_way
        timeout = flight.queue.limits.predict_timeout_seconds
        if timeout is not None:
            flight.timer = asyncio.get_running_loop().call_later(timeout, self._overdue, flight)
        worker.start(flight)

    def _overdue(self, flight: Flight) -> None:
        limit = flight.queue.limits.predict_timeout_seconds
        flight.fail(DeadlineExceeded(f"{flight.queue.named} took longer than predict_timeout_seconds = {limit:g}"))
        flight.worker.overdue(flight)

    # Taking answers in.

    def awaiting(self, queue: ModelQueue) -> None:
        """The model's `predict` was seen to await: from now on its calls run side by side."""
        queue.awaits = True
        for worker in self._workers:
            for flight in self._flights_of(queue, worker):
                worker.desk.unblock(flight)
        self._schedule()

    def finish(self, flight: Flight, outcomes: Sequence[Outcome]) -> None:
        """A call has ended, with outcomes that together speak of all its members."""
        self._end(flight)
        settings = flight.queue.settings
        seconds = time.monotonic() - flight.begun
        rows = sum(flight.rows)
        flight.queue.learn(rows, seconds)
        waited = gathered = 0.0
        for piece in flight.pieces:
            waited += flight.begun - piece.job.since
            gathered += flight.pieces[-1].job.since - piece.job.since
            if piece.job.request.trace is not None:
                piece.job.request.trace.predicted(piece.job.since, flight.begun, flight.begun + seconds)
        self._tell(
            BatchRun(
                settings.name, settings.version, rows, len(flight.rows), waited, seconds, gathered, flight.under_way
            ),
        )
        flight.finish(outcomes)

    def _end(self, flight: Flight) -> None:
        flight.worker.desk.end(flight)
        self._under_way -= 1
        if flight.timer is not None:
            flight.timer.cancel()
        if self._drainers:
            self._tell_drainers()
        if self._waiting[False] or self._waiting[True]:
            self._schedule()

    def _lost(self, flight: Flight) -> None:
        """A call's worker died: who may be is tried once more, alone; the others are told."""
        queue = flight.queue
        for piece in flight.pieces:
            job = piece.job
            if queue.limits.idempotent and not job.retried and len(job.rows) == 1 and not job.waiter.done():
                self._again(queue, job)
            else:
                error = WorkerDied(queue.settings.name, queue.settings.version)
                deliver(piece, [Outcome(piece.stop - piece.start, None, error)])

    def _again(self, queue: ModelQueue, job: Job[Waiter]) -> None:
        job.retried, job.taken, job.key = True, 0, None
        try:
            queue.add(job)
        except MLServerError as error:
            job.waiter.set_exception(error)
        else:
            self._waiting[False][queue] = None
