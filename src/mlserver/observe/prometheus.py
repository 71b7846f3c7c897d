"""Prometheus metrics, under the names that dashboards of MLServer 1.7 read.

Labels come only from models that are served and from route templates, so that no caller can add a series.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mlserver.errors import Kind
from mlserver.events import (
    BatchRun,
    Event,
    GrpcDone,
    GrpcMessage,
    GrpcStarted,
    HttpDone,
    HttpStarted,
    KafkaFigures,
    RequestDone,
    RequestsDropped,
    Translated,
    WorkerEnded,
)
from mlserver.observe.custom import CustomMetrics, OneFamilyPerName
from mlserver.observe.engine_metrics import EngineMetrics
from mlserver.observe.grpc_metrics import GrpcCollector
from mlserver.observe.kafka_metrics import KafkaMetrics

_APP = "mlserver"
# The library's own, in seconds, which the dashboards' quantiles are made from.
_BOUNDS = Histogram.DEFAULT_BUCKETS
_BOUND_NAMES = [*map(str, _BOUNDS[:-1]), "+Inf"]


InFlight = Callable[[], Iterable[tuple[str, str, int]]]
"""Name, version and requests under way of each model that is here."""


class PrometheusListener:
    """Counts requests and their durations per model, per REST route and per gRPC method.

    `in_flight` is asked at each scrape.
    """

    def __init__(self, rest_prefix: str, in_flight: InFlight = lambda: ()) -> None:
        self.registry = OneFamilyPerName()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        models, engine, http = _Models(in_flight), EngineMetrics(), _Http(rest_prefix)
        grpc, kafka = GrpcCollector(), KafkaMetrics()
        for collector in (models, engine, http, grpc, kafka, CustomMetrics()):
            self.registry.register(collector)
        self.takers: dict[type[Event], Callable[[Any], None]] = {
            RequestDone: models.done,
            BatchRun: engine.ran,
            Translated: engine.translated,
            RequestsDropped: engine.dropped,
            WorkerEnded: engine.ended,
            HttpStarted: http.started,
            HttpDone: http.done,
            GrpcStarted: grpc.started,
            GrpcMessage: grpc.message,
            GrpcDone: grpc.done,
            KafkaFigures: kafka.reported,
        }


class _Counts:
    __slots__ = ("answered", "failed", "seconds")

    def __init__(self) -> None:
        self.answered = 0
        self.failed: dict[Kind, int] = {}
        self.seconds = 0.0


class _Models(Collector):
    """Per-model figures as plain numbers: events come from one thread, and a stack of 1,000 records is one event,
    which the library's own Summary could only be told as 1,000.
    """

    def __init__(self, in_flight: InFlight) -> None:
        self._counts: dict[tuple[str, str], _Counts] = {}
        self._in_flight = in_flight

    def done(self, event: RequestDone) -> None:
        key = (event.model, event.version or "")
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = _Counts()
        if event.failure is None:
            counts.answered += event.count
            counts.seconds += event.count * event.seconds
        else:
            counts.failed[event.failure] = counts.failed.get(event.failure, 0) + event.count

    def collect(self) -> Iterator[Metric]:
        labels = ("model", "version")
        success = CounterMetricFamily("model_infer_request_success", "Inference requests answered", labels=labels)
        failure = CounterMetricFamily("model_infer_request_failure", "Inference requests that failed", labels=labels)
        kinds = CounterMetricFamily(
            "model_requests_failed", "Inference requests that failed, by kind of error", labels=(*labels, "kind")
        )
        duration = SummaryMetricFamily("model_infer_request_duration", "Seconds from door to answer", labels=labels)
        for key, counts in list(self._counts.items()):
            success.add_metric(key, counts.answered)
            failure.add_metric(key, sum(counts.failed.values()))
            for kind, count in list(counts.failed.items()):
                kinds.add_metric((*key, kind.value), count)
            duration.add_metric(key, count_value=counts.answered, sum_value=counts.seconds)
        open_ = GaugeMetricFamily("model_requests_in_flight", "Inference requests under way", labels=labels)
        for name, version, count in self._in_flight():
            open_.add_metric((name, version), count)
        yield from (success, failure, kinds, duration, open_)


class _Route:
    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0


class _Http(Collector):
    """Per-route figures, as plain numbers too: the library's locks would be a tenth of a small request's cost."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._open: dict[str, int] = {}
        self._routes: dict[tuple[str, str, int], _Route] = {}

    def started(self, event: HttpStarted) -> None:
        self._open[event.method] = self._open.get(event.method, 0) + 1

    def done(self, event: HttpDone) -> None:
        self._open[event.method] -= 1
        key = (event.method, event.path, event.status)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = _Route()
        route.buckets[bisect_left(_BOUNDS, event.seconds)] += 1
        route.seconds += event.seconds

    def collect(self) -> Iterator[Metric]:
        labels = ("method", "path", "status_code", "app_name")
        requests = CounterMetricFamily(f"{self._prefix}_requests", "HTTP requests", labels=labels)
        seconds = HistogramMetricFamily(
            f"{self._prefix}_request_duration_seconds", "Seconds from request to response", labels=labels
        )
        for (method, path, status), route in list(self._routes.items()):
            values = (method, path, str(status), _APP)
            below = list(accumulate(route.buckets))
            requests.add_metric(values, below[-1])
            buckets = [(_BOUND_NAMES[number], count) for number, count in enumerate(below)]
            seconds.add_metric(values, buckets, route.seconds)
        in_progress = GaugeMetricFamily(
            f"{self._prefix}_requests_in_progress", "HTTP requests open", labels=("method", "app_name")
        )
        for method, count in list(self._open.items()):
            in_progress.add_metric((method, _APP), count)
        yield from (requests, seconds, in_progress)
