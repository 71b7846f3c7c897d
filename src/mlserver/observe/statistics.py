"""Counts per model, in the form of Triton's statistics extension."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from mlserver.events import BatchRun, Event, RequestDone

Key = tuple[str, str | None]

_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


class _Duration:
    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        self.count += count
        self.seconds += seconds

    def shown(self) -> dict[str, int]:
        return {"count": self.count, "ns": int(self.seconds * 1e9)}


class _Counts:
    """Of one model in one version."""

    def __init__(self) -> None:
        self.last_inference = 0  # milliseconds since the epoch
        self.inferences = 0  # rows
        self.executions = 0  # calls of predict
        self.stages = {name: _Duration() for name in _STAGES}
        self.batches: dict[int, _Duration] = {}  # by rows

    def shown(self, key: Key) -> dict[str, Any]:
        name, version = key
        return {
            "name": name,
            "version": version or "1",
            "last_inference": self.last_inference,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {name: stage.shown() for name, stage in self.stages.items()},
            "response_stats": {},
            "batch_stats": [_batch(rows, batch) for rows, batch in sorted(self.batches.items())],
            "memory_usage": [],
        }


class Statistics:
    """Listens, and tells. For one thread: that of the event loop."""

    def __init__(self) -> None:
        self._counts: dict[Key, _Counts] = {}
        self.takers: dict[type[Event], Callable[[Any], None]] = {RequestDone: self._done, BatchRun: self._run}

    def of(self, models: Iterable[Key]) -> list[dict[str, Any]]:
        """The `model_stats` of these models and versions; zeros where nothing was asked yet."""
        return [self._counts.get(key, _NOTHING).shown(key) for key in models]

    def _of(self, event: RequestDone | BatchRun) -> _Counts:
        key = (event.model, event.version or None)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = _Counts()
        return counts

    def _done(self, event: RequestDone) -> None:
        stage = "success" if event.failure is None else "fail"
        self._of(event).stages[stage].add(event.count, event.count * event.seconds)

    def _run(self, event: BatchRun) -> None:
        counts = self._of(event)
        counts.last_inference = int(time.time() * 1000)
        counts.inferences += event.rows
        counts.executions += 1
        counts.stages["queue"].add(event.requests, event.queue_seconds)
        # Each of the requests waited for the whole.
        counts.stages["compute_infer"].add(event.requests, event.requests * event.predict_seconds)
        counts.batches.setdefault(event.rows, _Duration()).add(1, event.predict_seconds)


def _batch(rows: int, batch: _Duration) -> dict[str, Any]:
    nothing = _Duration().shown()
    return {"batch_size": rows, "compute_input": nothing, "compute_infer": batch.shown(), "compute_output": nothing}


_NOTHING = _Counts()
