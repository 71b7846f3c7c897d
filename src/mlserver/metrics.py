"""A model's own metrics: histograms in memory, which the server exposes beside its own.

A worker process hands on what was recorded since it was asked last (`take_deltas`), as plain lists, and the process
that answers Prometheus adds it up (`merge`): no files. Nothing here knows Prometheus.
"""

import logging
import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from math import inf, isfinite, isnan
from typing import Any

from mlserver.context import model_name_var, model_version_var
from mlserver.errors import InvalidModelContext, MetricNotFound

# Upper bounds of the buckets that Prometheus' own clients begin with; the last is always infinity.
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, inf)

logger = logging.getLogger("mlserver.metrics")

# What is taken of other processes, whatever they say: some hundred kilobytes per model at most, nearly always few.
MAX_MERGED = 1_000
_MAX_NAME_CHARS, _MAX_DESCRIPTION_CHARS, _MAX_BUCKETS = 256, 1_024, 256

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")

# What one model recorded in one histogram since it was handed on last, as plain values:
# [name, description, model name, model version, bounds without infinity, count per bucket, sum].
Delta = list[Any]


class Series:
    """What one model recorded in one histogram. `counts` has a number per bucket, not added up."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        self.total = 0.0


class Histogram:
    """A metric of models: how often its values were below each of some bounds, and their sum."""

    def __init__(self, name: str, description: str, bounds: tuple[float, ...], lock: threading.Lock) -> None:
        self.name = name
        self.description = description
        self._bounds = bounds
        self._lock = lock
        self._series: dict[tuple[str, str], Series] = {}

    def observe(self, value: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Record a value for the model whose code is running; NaN is left out, exemplars are not kept.

        Raises InvalidModelContext outside of a model, TypeError or ValueError for what is no number.
        """
        key = current_model()
        number = float(value)
        if isnan(number):
            return
        with self._lock:
            series = self._series_of(key, self._bounds)
            series.counts[bisect_left(series.bounds, number)] += 1
            series.total += number

    def labels(self, *values: object, **named: object) -> "Histogram":
        """The histogram itself: a model's name and version are known, and there are no other labels."""
        return self

    def series(self) -> list[tuple[tuple[str, str], Series]]:
        """What was recorded here, by name and version of the model ("" for none), at this moment."""
        with self._lock:
            return [(key, _copied(series)) for key, series in self._series.items()]

    def take(self) -> list[Delta]:
        """What was recorded since this was called last, which is forgotten here."""
        if not self._series:
            return []
        with self._lock:
            taken, self._series = self._series, {}
        return [
            [self.name, self.description, *key, list(series.bounds[:-1]), series.counts, series.total]
            for key, series in taken.items()
        ]

    def add(self, key: tuple[str, str], given: Series) -> None:
        """Add what was recorded elsewhere. Other bounds than before begin anew: the model was changed."""
        with self._lock:
            series = self._series_of(key, given.bounds)
            series.counts = [one + other for one, other in zip(series.counts, given.counts, strict=True)]
            series.total += given.total

    def _series_of(self, key: tuple[str, str], bounds: tuple[float, ...]) -> Series:
        series = self._series.get(key)
        if series is None or series.bounds != bounds:
            series = self._series[key] = Series(bounds)
        return series


class MetricsRegistry:
    """The histograms of one process by name. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histograms: dict[str, Histogram] = {}
        self._warned = False

    def __iter__(self) -> Iterator[Histogram]:
        return iter(list(self._histograms.values()))

    def __getitem__(self, name: str) -> Histogram:
        """The histogram `name`. Raises MetricNotFound."""
        found = self._histograms.get(name)
        if found is None:
            raise MetricNotFound(name)
        return found

    def register(self, name: str, description: str, buckets: Iterable[float] = DEFAULT_BUCKETS) -> Histogram:
        """The histogram `name`, made if there is none: a second description or other buckets change nothing.

        `buckets` are upper bounds, ascending. Raises ValueError for what is no name or no bounds.
        """
        found = self._histograms.get(name)
        if found is not None:
            return found
        _check_name(name)
        histogram = Histogram(name, description, _bounds(buckets), self._lock)
        return self._histograms.setdefault(name, histogram)

    def log(self, **metrics: float) -> None:
        """Record a value for each metric by name, which is registered first where it is not known."""
        current_model()
        for name, value in metrics.items():
            self.register(name, name).observe(value)

    def take_deltas(self) -> list[Delta]:
        """What was recorded since this was called last, as plain values; it is forgotten here."""
        # A worker asks with every answer, and most models record nothing.
        return [delta for histogram in self for delta in histogram.take()] if self._histograms else []

    def merge(self, deltas: Iterable[Delta]) -> None:
        """Add what another process's `take_deltas` gave, which `check` has seen.

        Names beyond the first `MAX_MERGED`, and histograms of extraordinary size, are left out with a warning, once.
        """
        for name, description, model, version, bounds, counts, total in deltas:
            if self._too_much(name, len(counts)):
                self._warn(name)
                continue
            series = Series((*bounds, inf))
            series.counts, series.total = list(counts), total
            histogram = self.register(name, description[:_MAX_DESCRIPTION_CHARS], series.bounds)
            histogram.add((model, version), series)

    def _too_much(self, name: str, buckets: int) -> bool:
        if len(name) > _MAX_NAME_CHARS or buckets > _MAX_BUCKETS:
            return True
        return name not in self._histograms and len(self._histograms) >= MAX_MERGED

    def _warn(self, name: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "metric %.80r, and perhaps others, is not shown: at most %d names of %d characters with %d buckets",
                name, MAX_MERGED, _MAX_NAME_CHARS, _MAX_BUCKETS,
            )  # fmt: skip


REGISTRY = MetricsRegistry()


def register(name: str, description: str, buckets: Iterable[float] = DEFAULT_BUCKETS) -> Histogram:
    """Make a metric known, or find it where it is: `register("batch_size", "Rows per request").observe(3)`."""
    return REGISTRY.register(name, description, buckets)


def log(**metrics: float) -> None:
    """Record values of metrics by name: `log(batch_size=3)`. Raises InvalidModelContext outside of a model."""
    REGISTRY.log(**metrics)


def take_deltas() -> list[Delta]:
    """What was recorded in this process since the last call, as plain values."""
    return REGISTRY.take_deltas()


def merge(deltas: Iterable[Delta]) -> None:
    """Add what `take_deltas` gave in another process."""
    REGISTRY.merge(deltas)


def check(deltas: Iterable[Delta]) -> None:
    """Raises ValueError for what no `take_deltas` gives, in values of the right types."""
    for name, _, _, _, bounds, counts, _ in deltas:
        _check_name(name)
        if len(_bounds(bounds)) != len(counts) or any(count < 0 for count in counts):
            raise ValueError(f"expected a count of 0 or more for each bucket of {name!r:.80}")


def current_model() -> tuple[str, str]:
    """Name and version ("" for none) of the model whose code is running. Raises InvalidModelContext."""
    try:
        return model_name_var.get(), model_version_var.get("")
    except LookupError:
        raise InvalidModelContext from None


def _copied(series: Series) -> Series:
    made = Series(series.bounds)
    made.counts, made.total = list(series.counts), series.total
    return made


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a metric's name of letters, digits, '_' and ':', found {name!r:.80}")


def _bounds(buckets: Iterable[float]) -> tuple[float, ...]:
    """`buckets` with infinity at their end. Raises ValueError where they do not ascend."""
    given = [float(bound) for bound in buckets]
    finite = given[:-1] if given and given[-1] == inf else given
    if not finite or finite != sorted(set(finite)) or not all(map(isfinite, finite)):
        raise ValueError(f"expected ascending upper bounds of buckets, found {given!s:.80}")
    return (*finite, inf)
