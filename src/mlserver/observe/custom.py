"""Metrics that models record, exposed beside the server's own."""

import logging
from collections.abc import Iterable, Iterator
from itertools import accumulate
from math import isinf

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mlserver.metrics import REGISTRY, MetricsRegistry

logger = logging.getLogger("mlserver.metrics")


class CustomMetrics(Collector):
    """The histograms of `mlserver.register` and `mlserver.log`, with the labels `model_name` and `model_version`."""

    def __init__(self, registry: MetricsRegistry = REGISTRY) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """One family per histogram, also where no model has recorded a value yet."""
        for histogram in self._registry:
            labels = ("model_name", "model_version")
            family = HistogramMetricFamily(histogram.name, histogram.description, labels=labels)
            for model, series in histogram.series():
                below = accumulate(series.counts)
                buckets = [(_name_of(bound), count) for bound, count in zip(series.bounds, below, strict=True)]
                family.add_metric(model, buckets, series.total)
            yield family


class OneFamilyPerName(CollectorRegistry):
    """A registry in which the first family of a name is the only one: two would spoil the whole page.

    Register what models bring last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def collect(self) -> Iterable[Metric]:
        """All families, the second ones of a name left out with a warning, once."""
        seen: set[str] = set()
        for family in super().collect():
            if family.name not in seen:
                seen.add(family.name)
                yield family
            elif family.name not in self._told:
                self._told.add(family.name)
                logger.warning("metric %r of a model has the name of one of the server's: it is not shown", family.name)


def _name_of(bound: float) -> str:
    return "+Inf" if isinf(bound) else str(bound)
