"""What waits for one model, within bounds, and how much of it one predict should get. Pure: no clock, no loop."""

import asyncio

from mlserver.engine.isolate import Outcome
from mlserver.engine.runner import ModelCard
from mlserver.engine.window import Job, Piece, Window
from mlserver.errors import Overloaded
from mlserver.settings import ModelSettings

Waiter = asyncio.Future[list[Outcome]]
"""What the owner of a job waits on: outcomes that together speak of all its members, in order."""

# While somebody waits for answers, a backlog's predict is cut to this: it is what such a request waits at most for a
# worker that has just begun on the backlog, and 5 ms still stacks enough to cost the backlog little (the digits SVC:
# 140 rows, at 33 us a row instead of 31).
BACKLOG_SLICE_SECONDS = 0.005
# How much the newest predict counts in the running figure of seconds per row: forgets a cold start within ten.
_NEWEST = 0.25


class Limits:
    """What the settings allow one model."""

    __slots__ = ("bytes", "concurrency", "idempotent", "predict_timeout_seconds", "requests", "workers")

    def __init__(self, model: ModelSettings, *, requests: int, bytes: int) -> None:
        self.requests = requests
        self.bytes = bytes
        self.concurrency = model.max_concurrency
        self.workers = model.max_workers
        self.predict_timeout_seconds = model.predict_timeout_seconds
        self.idempotent = model.idempotent


class ModelQueue:
    """The jobs of one loaded model, interactive ones and a backlog's, and what its predicts have taught.

    `handle` is its number at the workers, `under_way` counts its calls there, `awaits` says that its `async def
    predict` has been seen to wait for something, so that other calls may run beside it on one event loop.
    """

    def __init__(self, handle: int, settings: ModelSettings, card: ModelCard, limits: Limits) -> None:
        self.handle = handle
        self.settings = settings
        self.card = card
        self.limits = limits
        self.awaits = False
        self.under_way = 0
        self.seconds_per_row = 0.0
        self._interactive: Window[Waiter] = Window()
        self._backlog: Window[Waiter] = Window()
        self._requests = self._bytes = 0

    def add(self, job: Job[Waiter]) -> None:
        """Let a request wait. Raises Overloaded where as many as may wait do so already."""
        limits = self.limits
        if self._requests >= limits.requests:
            raise Overloaded(f"{self.named} has {self._requests} requests waiting; max_queue_requests is reached")
        if self._bytes + job.bytes > limits.bytes and self._requests:
            raise Overloaded(f"{self.named} has {self._bytes} bytes waiting; max_queue_bytes would be passed")
        self._interactive.add(job)
        self._requests += 1
        self._bytes += job.bytes

    def add_backlog(self, job: Job[Waiter]) -> None:
        """Let a backlog's stack wait: whoever reads the backlog bounds what it has under way."""
        self._backlog.add(job)

    def withdraw(self, job: Job[Waiter]) -> bool:
        """Take out a job whose caller has gone; False where all of it is being predicted."""
        if self._interactive.withdraw(job):
            self._requests -= 1
            self._bytes -= job.bytes
            return True
        return self._backlog.withdraw(job)

    def take(self, *, backlog: bool, sliced: bool) -> list[Piece[Waiter]]:
        """What one predict gets next; `sliced`: at most what a request may wait for."""
        max_rows = self.card.max_rows
        if not backlog:
            pieces = self._interactive.take(max_rows)
            for piece in pieces:
                self._requests -= 1
                self._bytes -= piece.job.bytes
            return pieces
        if sliced and self.seconds_per_row:
            max_rows = max(1, min(max_rows, int(BACKLOG_SLICE_SECONDS / self.seconds_per_row)))
        return self._backlog.take(max_rows)

    def waiting(self, *, backlog: bool) -> bool:
        """Whether there is anything to take."""
        return bool(self._backlog if backlog else self._interactive)

    def clear(self) -> list[Job[Waiter]]:
        """Everything that waits, taken out."""
        self._requests = self._bytes = 0
        return self._interactive.clear() + self._backlog.clear()

    def learn(self, rows: int, seconds: float) -> None:
        """A predict of `rows` rows took `seconds`."""
        found = seconds / max(1, rows)
        known = self.seconds_per_row
        self.seconds_per_row = found if not known else known + _NEWEST * (found - known)

    @property
    def requests(self) -> int:
        """How many interactive requests wait."""
        return self._requests

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not (self._interactive or self._backlog or self.under_way)

    @property
    def named(self) -> str:
        """The model, as messages name it."""
        version = self.settings.version
        return f"model {self.settings.name!r}" + (f" version {version!r}" if version else "")

    def __repr__(self) -> str:
        return f"ModelQueue({self.named}, {self._requests} waiting, {self.under_way} under way)"
