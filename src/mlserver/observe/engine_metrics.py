"""Between doors and models: predicts, what waited for them, what was dropped, workers that ended."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from mlserver.events import BatchRun, RequestsDropped, Translated, WorkerEnded

Key = tuple[str, str]

# Powers of two, up to twice what is predicted together where no setting says otherwise.
_COUNTS = tuple(2.0**n for n in range(10))
# From a call that a light model answers at once to one that somebody should look at.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class _Histogram:
    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        self.buckets[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def shown(self) -> list[tuple[str, int]]:
        names = [*map(str, self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.buckets), strict=True))


class _Model:
    __slots__ = ("decode", "dropped", "encode", "gathered", "predict", "requests", "rows", "waited")

    def __init__(self) -> None:
        self.requests = _Histogram(_COUNTS)
        self.rows = _Histogram(_COUNTS)
        self.waited = _Histogram(_SECONDS)
        self.gathered = _Histogram(_SECONDS)
        self.predict = _Histogram(_SECONDS)
        self.decode = _Histogram(_SECONDS)
        self.encode = _Histogram(_SECONDS)
        self.dropped = 0


class EngineMetrics(Collector):
    """Plain numbers, told by one thread: the library's own would cost a small request a tenth of its time."""

    def __init__(self) -> None:
        self._models: dict[Key, _Model] = {}
        self._under_way = _Histogram(_COUNTS)
        self._ended = 0

    def ran(self, event: BatchRun) -> None:
        """A predict has ended. Its requests waited as long as each other, near enough: the mean stands for each."""
        model = self._of(event.model, event.version)
        model.requests.add(event.requests)
        model.rows.add(event.rows)
        model.waited.add(max(0.0, event.queue_seconds) / max(1, event.requests), event.requests)
        model.gathered.add(max(0.0, event.batch_wait_seconds) / max(1, event.requests), event.requests)
        model.predict.add(event.predict_seconds)
        self._under_way.add(event.under_way)

    def translated(self, event: Translated) -> None:
        """A door has answered a request."""
        model = self._models.get(event.model) or self._of(*event.model)
        # Written out: every request comes by here.
        decode, encode = model.decode, model.encode
        decode.buckets[bisect_left(_SECONDS, event.decode_seconds)] += 1
        decode.total += event.decode_seconds
        encode.buckets[bisect_left(_SECONDS, event.encode_seconds)] += 1
        encode.total += event.encode_seconds

    def dropped(self, event: RequestsDropped) -> None:
        """Requests were never predicted."""
        self._of(event.model, event.version).dropped += event.count

    def ended(self, event: WorkerEnded) -> None:
        """A worker has to be replaced."""
        self._ended += 1

    def collect(self) -> Iterator[Metric]:
        """All families; a model's series are there from its first predict on."""
        families = {name: _family(*family) for name, family in _FAMILIES.items()}
        dropped = CounterMetricFamily(
            "model_requests_dropped",
            "Requests never predicted: deadline passed, or caller gone",
            labels=("model", "version"),
        )
        for key, model in list(self._models.items()):
            for name, family in families.items():
                histogram: _Histogram = getattr(model, name)
                family.add_metric(key, histogram.shown(), histogram.total)
            dropped.add_metric(key, model.dropped)
        yield from (*families.values(), dropped, self._calls())
        yield CounterMetricFamily("workers_ended", "Worker processes that ended unasked", value=self._ended)

    def _calls(self) -> Metric:
        under_way = self._under_way
        text = "Calls at the workers of a pool when one more was given out, that one included"
        return HistogramMetricFamily("parallel_request_queue", text, under_way.shown(), under_way.total)

    def _of(self, name: str, version: str | None) -> _Model:
        key = (name, version or "")
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = _Model()
        return model


# By the name of the figure: name, text, and labels where they are not the usual ones.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "requests": ("batch_request_queue", "Requests that one predict answered", "model_name", "model_version"),
    "rows": ("model_predict_rows", "Rows of one predict"),
    "decode": ("model_decode_seconds", "Seconds from a request's bytes to what the model is asked"),
    "waited": ("model_queue_seconds", "Seconds from a request's arrival in the queue to its predict"),
    "gathered": (
        "model_batch_wait_seconds", "The part of model_queue_seconds until the last request of its predict had come",
    ),
    "predict": ("model_predict_seconds", "Seconds of one predict, with the way to the worker and back"),
    "encode": ("model_encode_seconds", "Seconds from a model's answer to its bytes"),
}  # fmt: skip


def _family(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=labels or ("model", "version"))
