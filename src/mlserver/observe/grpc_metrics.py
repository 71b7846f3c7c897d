"""Metrics of the gRPC door, under the names of the gRPC ecosystem's interceptors.

Labels are methods that the server has, so that no caller can add a series.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mlserver.events import GrpcDone, GrpcMessage, GrpcMethod, GrpcStarted

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
# The library's own, in seconds.
_BOUNDS = Histogram.DEFAULT_BUCKETS
_BOUND_NAMES = [*map(str, _BOUNDS[:-1]), "+Inf"]


class _Handling:
    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0


class GrpcCollector(Collector):
    """Calls, their codes and durations, and the messages of streams: plain numbers, told by one thread."""

    def __init__(self) -> None:
        self._started: Counter[GrpcMethod] = Counter()
        self._handled: Counter[tuple[GrpcMethod, str]] = Counter()
        self._messages: Counter[tuple[GrpcMethod, bool]] = Counter()
        self._handling: dict[GrpcMethod, _Handling] = {}

    def started(self, event: GrpcStarted) -> None:
        """A call began."""
        self._started[event.method] += 1

    def message(self, event: GrpcMessage) -> None:
        """A stream went on."""
        self._messages[event.method, event.sent] += 1

    def done(self, event: GrpcDone) -> None:
        """A call ended."""
        self._handled[event.method, event.code] += 1
        handling = self._handling.get(event.method)
        if handling is None:
            handling = self._handling[event.method] = _Handling()
        handling.buckets[bisect_left(_BOUNDS, event.seconds)] += 1
        handling.seconds += event.seconds

    def collect(self) -> Iterator[Metric]:
        """All figures."""
        started = CounterMetricFamily("grpc_server_started", "gRPC calls that began", labels=_LABELS)
        handled = CounterMetricFamily("grpc_server_handled", "gRPC calls that ended", labels=(*_LABELS, "grpc_code"))
        received = CounterMetricFamily("grpc_server_msg_received", "Messages received on streams", labels=_LABELS)
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent on streams", labels=_LABELS)
        for method, count in list(self._started.items()):
            started.add_metric(method, count)
        for (method, code), count in list(self._handled.items()):
            handled.add_metric((*method, code), count)
        for (method, outward), count in list(self._messages.items()):
            (sent if outward else received).add_metric(method, count)
        yield from (started, handled, received, sent, self._durations())

    def _durations(self) -> Metric:
        seconds = HistogramMetricFamily("grpc_server_handling_seconds", "Seconds from call to end", labels=_LABELS)
        for method, handling in list(self._handling.items()):
            below = zip(_BOUND_NAMES, accumulate(handling.buckets), strict=True)
            seconds.add_metric(method, list(below), handling.seconds)
        return seconds
