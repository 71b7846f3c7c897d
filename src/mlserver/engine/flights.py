"""Calls under way: what a worker is doing, and how the outcomes of one call come back to everyone it was made for."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from mlserver.engine.isolate import Outcome
from mlserver.engine.queue import ModelQueue, Waiter
from mlserver.engine.rows import merge, rows_of, split
from mlserver.engine.window import Piece
from mlserver.errors import MLServerError
from mlserver.types.tensors import TensorRequest


class Flight:
    """One call at a worker: the pieces whose rows it holds, in order.

    `blocking`: as far as is known its `predict` holds the worker's event loop until it ends.
    """

    __slots__ = ("begun", "blocking", "pieces", "queue", "request", "rows", "timer", "under_way", "worker")

    def __init__(self, worker: "Worker", queue: ModelQueue, pieces: Sequence[Piece[Waiter]], begun: float) -> None:
        self.worker = worker
        self.queue = queue
        self.pieces = pieces
        self.begun = begun
        self.rows: list[int] = [count for piece in pieces for count in piece.rows]
        self.request = _together(pieces)
        self.blocking = not (queue.card.plain or queue.awaits)
        self.timer: asyncio.TimerHandle | None = None
        self.under_way = 1
        """Calls at all workers when it was given out, itself too."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return all(piece.job.waiter.done() for piece in self.pieces)

    @property
    def members(self) -> int:
        """How many requests it speaks for."""
        return len(self.rows)

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Give everyone their own of `outcomes`, which together speak of all members."""
        if len(self.pieces) == 1:
            deliver(self.pieces[0], outcomes)
            return
        response = outcomes[0].response
        if response is not None and outcomes[0].members == len(self.pieces) == self.members:
            # Nearly always: one answer for pieces of one member each.
            for piece, part in zip(self.pieces, split(response, self.rows), strict=True):
                deliver(piece, [Outcome(1, part)])
            return
        for piece, mine in _shared_out(self.pieces, outcomes):
            deliver(piece, mine)

    def fail(self, error: MLServerError) -> None:
        """Give everyone the same error."""
        self.finish([Outcome(len(self.rows), None, error)])

    def __repr__(self) -> str:
        return f"Flight({self.queue.named}, {len(self.pieces)} pieces)"


class Desk:
    """What one worker is doing, as far as a decision needs it.

    A worker runs one plain `predict`, and one `async def predict` that was never seen to await, at a time; of those
    that await up to the model's `max_concurrency`, but none beside one that holds the event loop.
    """

    __slots__ = ("blocking", "of", "plain", "total")

    def __init__(self) -> None:
        self.plain = self.blocking = self.total = 0
        self.of: dict[ModelQueue, int] = {}
        """Calls under way by model; none is no entry."""

    def room(self, queue: ModelQueue) -> bool:
        """Whether a call of the model would run at once."""
        if queue.card.plain:
            return not self.plain
        return not self.blocking and (not queue.awaits or self.of.get(queue, 0) < queue.limits.concurrency)

    def begin(self, flight: Flight) -> None:
        """A call has begun."""
        self.total += 1
        self.of[flight.queue] = self.of.get(flight.queue, 0) + 1
        flight.queue.under_way += 1
        self.plain += flight.queue.card.plain
        self.blocking += flight.blocking

    def end(self, flight: Flight) -> None:
        """A call has ended."""
        self.total -= 1
        left = self.of.pop(flight.queue) - 1
        if left:
            self.of[flight.queue] = left
        flight.queue.under_way -= 1
        self.plain -= flight.queue.card.plain
        self.unblock(flight)

    def unblock(self, flight: Flight) -> None:
        """A call does not hold the event loop any more."""
        self.blocking -= flight.blocking
        flight.blocking = False


class Worker(Protocol):
    """Who runs models: a process, or this one."""

    @property
    def desk(self) -> Desk:
        """What it is doing."""
        ...

    @property
    def flights(self) -> Iterable[Flight]:
        """The calls under way."""
        ...

    def serves(self, queue: ModelQueue) -> bool:
        """Whether it has loaded the model, and lives."""
        ...

    def start(self, flight: Flight) -> None:
        """Run the call. Its outcomes go to `Scheduler.finish`; nothing is awaited here."""
        ...

    def cancel(self, flight: Flight) -> None:
        """Nobody waits for the call any more: stop it, if that is possible."""
        ...

    def overdue(self, flight: Flight) -> None:
        """The call took longer than its model may: stop it, at the cost of the worker if need be."""
        ...


def own(error: MLServerError) -> MLServerError:
    """A copy: one exception raised to several callers would gather all their tracebacks."""
    mine = MLServerError(str(error), error.status_code)
    mine.kind = error.kind
    mine.__cause__ = error
    return mine


def _together(pieces: Sequence[Piece[Waiter]]) -> TensorRequest:
    """The rows of all pieces as one request; one that is alone and whole is passed as it came."""
    requests = []
    for piece in pieces:
        job = piece.job
        if piece.stop - piece.start == len(job.rows):
            requests.append(job.request)
        else:
            start = sum(job.rows[: piece.start])
            requests.append(rows_of(job.request, start, start + sum(piece.rows)))
    return merge(requests)


def deliver(piece: Piece[Waiter], outcomes: Sequence[Outcome]) -> None:
    """The outcomes of a piece to its job; the job's owner has them when all of its members have."""
    job = piece.job
    waiter = job.waiter
    if waiter.done():
        return
    if piece.stop - piece.start == len(job.rows):
        waiter.set_result(list(outcomes))
        return
    if job.outcomes is None:
        job.outcomes = []
    start = piece.start
    for outcome in outcomes:
        job.outcomes.append((start, outcome))
        start += outcome.members
    job.unanswered -= piece.stop - piece.start
    if not job.unanswered:
        job.outcomes.sort(key=_first)
        waiter.set_result([outcome for _, outcome in job.outcomes])


def _first(part: tuple[int, Outcome]) -> int:
    return part[0]


def _shared_out(
    pieces: Sequence[Piece[Waiter]], outcomes: Sequence[Outcome]
) -> Iterator[tuple[Piece[Waiter], list[Outcome]]]:
    """Each piece with its outcomes. An outcome knows nothing of pieces: it is cut where one ends within it."""
    parts = _cut(pieces, outcomes)
    for piece in pieces:
        mine = []
        left = piece.stop - piece.start
        while left:
            part = next(parts)
            mine.append(part)
            left -= part.members
        yield piece, mine


def _cut(pieces: Sequence[Piece[Waiter]], outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    members = [piece.stop - piece.start for piece in pieces]
    rows = [count for piece in pieces for count in piece.rows]
    number = start = 0  # the piece, and the member, that the next part begins with
    left = members[0]
    for outcome in outcomes:
        sizes = []
        covered = 0
        while covered < outcome.members:
            size = min(left, outcome.members - covered)
            sizes.append(size)
            covered += size
            left -= size
            if not left and number + 1 < len(members):
                number += 1
                left = members[number]
        yield from _parts(outcome, sizes, rows[start : start + covered])
        start += covered


def _parts(outcome: Outcome, sizes: Sequence[int], rows: Sequence[int]) -> Iterator[Outcome]:
    """The outcome of `sizes` members each, whose counts of rows are `rows`."""
    if len(sizes) == 1:
        yield outcome
        return
    if outcome.response is None:
        for size in sizes:
            yield Outcome(size, None, own(outcome.error) if outcome.error is not None else None)
        return
    counts = list(rows)
    if len(sizes) < len(rows):
        counts, first = [], 0
        for size in sizes:
            counts.append(sum(rows[first : first + size]))
            first += size
    for size, response in zip(sizes, split(outcome.response, counts), strict=True):
        yield Outcome(size, response)
