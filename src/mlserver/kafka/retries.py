"""Records that are tried again: when, how often, and which of them alone. Pure: times are the caller's.

A record that was with a worker when that died is a suspect. While a model has suspects it is asked for one of them at
a time and for nothing else, so that the next death names the one that did it; the model's other records wait.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from mlserver.errors import MLServerError
from mlserver.kafka.failures import DeadlinePassed, PoisonCrash, Skipped, Verdict
from mlserver.kafka.records import Record

_LONGEST_SECONDS = 10.0
# Waiting for a model that is loading costs little, and whoever waits should not wait much longer than the loading.
_LONGEST_WAIT_SECONDS = 1.0
# Each death costs whoever shares the worker: three are enough to tell poison from bad luck.
_MAX_CRASHES = 3


class Retries:
    """Owned by one thread. Models are known by name."""

    active: int
    """How many records are kept here or were given out alone."""
    retried: int
    """How often a record was kept to be tried again."""

    def __init__(self, max_attempts: int, backoff_seconds: float) -> None:
        self._max_attempts = max_attempts
        self._backoff_seconds = backoff_seconds
        self._waiting: list[tuple[float, Record]] = []
        self._suspects: dict[str, deque[tuple[float, Record]]] = {}
        self._alone: dict[str, Record] = {}
        self._held: dict[str, list[Record]] = {}
        self.active = 0
        self.retried = 0

    def failed(self, record: Record, error: MLServerError, verdict: Verdict, now: float) -> MLServerError | None:
        """What `record` ends with; None where it is kept, to be tried again. Counts the attempt."""
        alone = self.ended(record)
        if verdict is Verdict.SKIP:
            return Skipped(str(error))
        if verdict is not Verdict.WAIT:
            record.attempts += 1
        if verdict is not Verdict.FINAL and record.deadline is not None and record.deadline <= now:
            return DeadlinePassed()
        if verdict is Verdict.FINAL or self._exhausted(record, verdict, alone=alone):
            return _given_up(record, error, verdict)
        record.failures += 1
        self.retried += 1
        due = now + self._pause(record.failures, verdict)
        if record.deadline is not None:
            due = min(due, record.deadline)
        if verdict is Verdict.ALONE or alone:
            self._suspects.setdefault(record.model, deque()).append((due, record))
        else:
            self._waiting.append((due, record))
        self.active += 1
        return None

    def _exhausted(self, record: Record, verdict: Verdict, *, alone: bool) -> bool:
        if verdict is Verdict.ALONE:
            return alone and record.attempts >= min(self._max_attempts, _MAX_CRASHES)
        return verdict is Verdict.AGAIN and record.attempts >= self._max_attempts

    def _pause(self, failures: int, verdict: Verdict) -> float:
        longest = _LONGEST_WAIT_SECONDS if verdict is Verdict.WAIT else _LONGEST_SECONDS
        return float(min(longest, self._backoff_seconds * 2 ** min(failures - 1, 30)))

    def ended(self, record: Record) -> bool:
        """Whether `record`, which has been answered, was out alone; no longer, in any case."""
        if self._alone.get(record.model) is not record:
            return False
        del self._alone[record.model]
        self.active -= 1
        return True

    def quarantined(self, model: str) -> bool:
        """Whether `model` must not be asked for anything but suspects."""
        return model in self._suspects or model in self._alone

    def hold(self, records: Sequence[Record]) -> None:
        """Keep records of one model until its quarantine is over."""
        self._held.setdefault(records[0].model, []).extend(records)
        self.active += len(records)

    def wake(self) -> None:
        """Whatever waits is due: what is served has changed."""
        self._waiting = [(0.0, record) for _, record in self._waiting]

    def due(self, now: float) -> list[Record]:
        """Those to be tried again now, together or not; they are not kept any more."""
        found = [record for when, record in self._waiting if when <= now]
        if found:
            self._waiting = [(when, record) for when, record in self._waiting if when > now]
        for model in [model for model in self._held if not self.quarantined(model)]:
            found += self._held.pop(model)
        self.active -= len(found)
        return found

    def due_alone(self, now: float, busy: Callable[[str], bool]) -> Iterable[Record]:
        """Suspects to be tried now, each as the only one that its model, which must not be busy, is asked for."""
        found = []
        for model, suspects in list(self._suspects.items()):
            if model in self._alone or busy(model) or suspects[0][0] > now:
                continue
            record = suspects.popleft()[1]
            if not suspects:
                del self._suspects[model]
            self._alone[model] = record
            found.append(record)
        return found


def _given_up(record: Record, error: MLServerError, verdict: Verdict) -> MLServerError:
    if verdict is Verdict.ALONE:
        return PoisonCrash(f"{error}; given up after {record.attempts} attempts")
    return error
