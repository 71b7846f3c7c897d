"""What operators see of a group: plain numbers, counted by the threads that do the work, read by one that reports.

Every count has one thread that writes it; a reader may see one of them a moment before another, and no more.
"""

from collections.abc import Iterable
from typing import Any

from mlserver.errors import MLServerError
from mlserver.kafka.failures import DeadlinePassed, Skipped
from mlserver.kafka.tracker import Lane


class Durations:
    """How often something was done, and the seconds it took together."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Once more."""
        self.count += 1
        self.seconds += seconds


class Figures:
    """Of one group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.away = True
        """Whether the broker was not there when it was last asked or heard of."""
        self.held = False
        """Whether a topic does not take what must be written, for a reason that only time can help."""
        self.paused = False
        self.outcomes = {"ok": 0, "error": 0, "dead_letter": 0, "skipped": 0}
        self.commits = Durations()
        self.transactions = Durations()
        self.aborted = 0
        self.rebalances = 0
        self.refused = 0
        self.partitions: list[tuple[str, int, int | None, float]] = []

    def answered(self, records: int) -> None:
        """So many records are done, and have the answers of their models."""
        self.outcomes["ok"] += records

    def failed(self, error: MLServerError) -> None:
        """A record is done that has none; what ends with a dead letter has an error answer too."""
        outcomes = self.outcomes
        if isinstance(error, Skipped):
            outcomes["skipped"] += 1
        else:
            outcomes["error"] += 1
            if not isinstance(error, DeadlinePassed):
                outcomes["dead_letter"] += 1

    def report(self, in_flight: int) -> dict[str, Any]:
        """As it travels to the scheduler; see `mlserver.events.KafkaFigures`."""
        return {
            "group": self.group,
            "away": self.away,
            "held": self.held,
            "paused": self.paused,
            "in_flight": in_flight,
            "outcomes": dict(self.outcomes),
            "commits": (self.commits.count, self.commits.seconds),
            "transactions": (self.transactions.count, self.transactions.seconds),
            "aborted": self.aborted,
            "rebalances": self.rebalances,
            "refused": self.refused,
            "partitions": self.partitions,
        }


def ages(lanes: Iterable[Lane], now: float) -> dict[tuple[str, int], float]:
    """Seconds since the oldest unfinished record of each partition was read; 0 where all are done."""
    return {(lane.topic, lane.partition): 0.0 if lane.finished else max(0.0, now - lane.oldest) for lane in lanes}
