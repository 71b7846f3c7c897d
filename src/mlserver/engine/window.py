"""Who is predicted next, and with whom: requests that wait for one model, in the order in which they came.

Pure: nothing here waits, calls a model or reads a clock.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from mlserver.engine.isolate import Outcome
from mlserver.types.tensors import Elements, TensorRequest

W = TypeVar("W")


class Job(Generic[W]):
    """A request, or a stack of several members' rows, with whatever its owner waits on.

    `rows` are the members' counts of rows, which the leading dimension of the inputs holds in this order; `taken`
    members of them have left the window. Jobs of equal `key` may be predicted together; None means alone. `since` is
    when it came, in seconds of whatever clock its owner reads.
    """

    __slots__ = ("bytes", "key", "outcomes", "request", "retried", "rows", "since", "taken", "unanswered", "waiter")

    def __init__(
        self, request: TensorRequest, rows: Sequence[int], key: Hashable | None, waiter: W, since: float = 0.0
    ) -> None:
        self.request = request
        self.rows = rows
        self.key = key
        self.waiter = waiter
        self.taken = 0
        size = 0
        for tensor in request.inputs:
            data = tensor.data
            size += data.nbytes if isinstance(data, np.ndarray) else _text_bytes(data)
        self.bytes = size
        self.retried = False
        self.since = since
        self.outcomes: list[tuple[int, Outcome]] | None = None
        """What became of some members, each outcome with the number of its first; None while there is none."""
        self.unanswered = len(rows)

    def fitting(self, max_rows: int) -> int:
        """How many of the members that are left fit into `max_rows` rows."""
        if len(self.rows) == 1:
            return int(self.rows[0] <= max_rows)
        count = rows = 0
        for member in self.rows[self.taken :]:
            rows += member
            if rows > max_rows:
                break
            count += 1
        return count

    def __repr__(self) -> str:
        return f"Job({self.request!r}, {len(self.rows)} members, {self.taken} taken)"


class Piece(Generic[W]):
    """The members `start:stop` of a job, on their way through one predict."""

    __slots__ = ("job", "start", "stop")

    def __init__(self, job: Job[W], start: int, stop: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop

    @property
    def rows(self) -> Sequence[int]:
        """Each member's count of rows."""
        return self.job.rows[self.start : self.stop]

    def __repr__(self) -> str:
        return f"Piece({self.job!r}, {self.start}:{self.stop})"


class Window(Generic[W]):
    """Jobs that wait for a free worker.

    `take` gives the group whose first job has waited longest; what a bound leaves of it goes to the back, so that no
    key starves another. Adding, taking and withdrawing cost the same however many wait.
    """

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, OrderedDict[Job[W], None]] = OrderedDict()

    def add(self, job: Job[W]) -> None:
        """Let `job` wait with those of its key."""
        key = job if job.key is None else job.key
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = OrderedDict()
        group[job] = None

    def withdraw(self, job: Job[W]) -> bool:
        """Take `job` out, whose owner has gone; False where all of it has been taken."""
        key = job if job.key is None else job.key
        group = self._groups.get(key)
        if group is None or job not in group:
            return False
        del group[job]
        if not group:
            del self._groups[key]
        return True

    def take(self, max_rows: int) -> list[Piece[W]]:
        """What to predict next: at most `max_rows` rows, or one member that has more; nothing if none wait."""
        if not self._groups:
            return []
        key, group = self._groups.popitem(last=False)
        pieces: list[Piece[W]] = []
        room = max_rows
        while group:
            job = next(iter(group))
            start = job.taken
            count = job.fitting(room) or (0 if pieces else 1)
            if not count:
                break
            job.taken += count
            pieces.append(Piece(job, start, job.taken))
            room -= job.rows[start] if count == 1 else sum(job.rows[start : job.taken])
            if job.taken < len(job.rows):
                break
            del group[job]
        if group:
            self._groups[key] = group
        return pieces

    def clear(self) -> list[Job[W]]:
        """Everything that waits, taken out."""
        jobs = [job for group in self._groups.values() for job in group]
        self._groups.clear()
        return jobs

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))


def _text_bytes(data: Elements) -> int:
    return sum(len(item) for item in data if isinstance(item, str | bytes))
