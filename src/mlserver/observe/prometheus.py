"""Prometheus metrics, under the names that dashboards of MLServer 1.7 read.

Labels come only from models that are served and from route templates, so that no caller can add a series.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, SummaryMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mlserver.events import Event, HttpDone, HttpStarted, RequestDone

_APP = "mlserver"


class PrometheusListener:
    """Counts requests and their durations per model, and per REST route."""

    def __init__(self, rest_prefix: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._models = _Models()
        self.registry.register(self._models)
        self._http = _Http(rest_prefix, self.registry)

    def __call__(self, event: Event, /) -> None:
        """Take one event in."""
        if isinstance(event, RequestDone):
            self._models.done(event)
        elif isinstance(event, HttpDone):
            self._http.done(event)
        elif isinstance(event, HttpStarted):
            self._http.started(event)


class _Counts:
    __slots__ = ("answered", "failed", "seconds")

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.seconds = 0.0


class _Models(Collector):
    """Per-model figures as plain numbers: events come from one thread, and a stack of 1,000 records is one event,
    which the library's own Summary could only be told as 1,000.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], _Counts] = {}

    def done(self, event: RequestDone) -> None:
        key = (event.model, event.version or "")
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = _Counts()
        if event.failure is None:
            counts.answered += event.count
            counts.seconds += event.count * event.seconds
        else:
            counts.failed += event.count

    def collect(self) -> Iterator[Metric]:
        labels = ("model", "version")
        success = CounterMetricFamily("model_infer_request_success", "Inference requests answered", labels=labels)
        failure = CounterMetricFamily("model_infer_request_failure", "Inference requests that failed", labels=labels)
        duration = SummaryMetricFamily("model_infer_request_duration", "Seconds from door to answer", labels=labels)
        for key, counts in list(self._counts.items()):
            success.add_metric(key, counts.answered)
            failure.add_metric(key, counts.failed)
            duration.add_metric(key, count_value=counts.answered, sum_value=counts.seconds)
        yield from (success, failure, duration)


class _Http:
    """Per-route figures. Children are looked up once: `labels()` costs as much as counting does."""

    def __init__(self, prefix: str, registry: CollectorRegistry) -> None:
        labels = ("method", "path", "status_code", "app_name")
        self._requests = Counter(f"{prefix}_requests", "HTTP requests", labels, registry=registry)
        self._seconds = Histogram(f"{prefix}_request_duration_seconds", "HTTP requests", labels, registry=registry)
        self._open = Gauge(
            f"{prefix}_requests_in_progress", "HTTP requests open", ("method", "app_name"), registry=registry
        )
        self._gauges: dict[str, Gauge] = {}
        self._routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def started(self, event: HttpStarted) -> None:
        self._gauge(event.method).inc()

    def done(self, event: HttpDone) -> None:
        self._gauge(event.method).dec()
        key = (event.method, event.path, event.status)
        children = self._routes.get(key)
        if children is None:
            labels = (event.method, event.path, str(event.status), _APP)
            children = self._routes[key] = (self._requests.labels(*labels), self._seconds.labels(*labels))
        children[0].inc()
        children[1].observe(event.seconds)

    def _gauge(self, method: str) -> Gauge:
        gauge = self._gauges.get(method)
        if gauge is None:
            gauge = self._gauges[method] = self._open.labels(method, _APP)
        return gauge
