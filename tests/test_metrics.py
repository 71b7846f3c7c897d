"""Metrics that models record: in one process, between processes, and as Prometheus reads them."""

import json
import logging
import math
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import mlserver
from mlserver import metrics
from mlserver.context import model_context
from mlserver.errors import InvalidModelContext, Kind, MetricNotFound
from mlserver.metrics import DEFAULT_BUCKETS, MetricsRegistry
from mlserver.model import MLModel
from mlserver.observe.custom import CustomMetrics, OneFamilyPerName
from mlserver.observe.prometheus import PrometheusListener
from mlserver.settings import ModelParameters, ModelSettings

LABELS = ("model_name", "model_version", "le")


def model(name: str = "m", version: str | None = None) -> model_context:
    parameters = ModelParameters(version=version)
    return model_context(ModelSettings(name=name, implementation=MLModel, parameters=parameters))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> MetricsRegistry:
    """The process's own, empty for each test."""
    monkeypatch.setattr(metrics.REGISTRY, "_histograms", {})
    return metrics.REGISTRY


def samples(registry: MetricsRegistry) -> dict[str, float]:
    """What Prometheus reads, by name and labels."""
    exposed = OneFamilyPerName()
    exposed.register(CustomMetrics(registry))
    families = text_string_to_metric_families(generate_latest(exposed).decode())
    return {
        " ".join([sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)]): sample.value
        for family in families
        for sample in family.samples
    }


def test_values_by_model(registry: MetricsRegistry) -> None:
    histogram = mlserver.register("rows", "Rows per request")
    assert mlserver.register("rows", "another") is histogram
    assert registry["rows"] is histogram
    with model("a", "v1"):
        mlserver.log(rows=3, seconds=0.02)
        histogram.observe(700)
    with model("b"):
        histogram.labels(model_name="ignored").observe(0.005, exemplar={"x" * 200: "y"})
    found = samples(registry)
    assert (found["rows_count a v1"], found["rows_sum a v1"]) == (2, 703)
    assert [found[f"rows_bucket a v1 {bound}"] for bound in ("2.5", "5.0", "10.0", "+Inf")] == [0, 1, 1, 2]
    assert (found["rows_bucket b  0.005"], found["rows_count b "]) == (1, 1)
    assert found["seconds_sum a v1"] == 0.02
    assert histogram.description == "Rows per request"


def test_outside_of_a_model(registry: MetricsRegistry) -> None:
    histogram = mlserver.register("rows", "Rows per request")
    with pytest.raises(InvalidModelContext, match="no model is at work here") as caught:
        mlserver.log(rows=1, other=2)
    with pytest.raises(InvalidModelContext):
        histogram.observe(1)
    assert caught.value.kind is Kind.MODEL
    with pytest.raises(MetricNotFound, match="metric 'other' is not registered"):
        registry["other"]
    assert samples(registry) == {}


@pytest.mark.parametrize("value", ["x", None, [1]])
def test_what_is_no_number(value: Any) -> None:
    with model(), pytest.raises((TypeError, ValueError)):
        mlserver.log(rows=value)


def test_odd_numbers(registry: MetricsRegistry) -> None:
    with model():
        mlserver.log(rows=math.nan)
        mlserver.log(rows=-5)
        mlserver.log(rows=True)
    assert (samples(registry)["rows_count m "], samples(registry)["rows_sum m "]) == (2, -4)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "é", "a b", "a\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="expected a metric's name"):
        mlserver.register(name, "")


def test_buckets(registry: MetricsRegistry) -> None:
    with model():
        mlserver.register("rows", "", buckets=[1, 10]).observe(10)
        mlserver.register("more", "", buckets=[1, math.inf]).observe(10)
    found = samples(registry)
    assert [found[f"rows_bucket m  {bound}"] for bound in ("1.0", "10.0", "+Inf")] == [0, 1, 1]
    assert [found[f"more_bucket m  {bound}"] for bound in ("1.0", "+Inf")] == [0, 1]
    for wrong in ([], [2, 1], [1, 1], [math.nan], [math.inf]):
        with pytest.raises(ValueError, match="expected ascending upper bounds"):
            mlserver.register("wrong", "", buckets=wrong)


RECORDS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y"]), st.integers(-5, 50), st.booleans()), max_size=20
)


@settings(deadline=None)
@given(RECORDS)
def test_what_workers_record_adds_up(records: list[tuple[str, str, int, bool]]) -> None:
    """Handed on at any moments, by two workers, it is what one process would have recorded."""
    whole, parent, workers = MetricsRegistry(), MetricsRegistry(), [MetricsRegistry(), MetricsRegistry()]
    for number, (name, metric, value, hand_on) in enumerate(records):
        worker = workers[number % 2]
        for registry in (whole, worker):
            registry.register(metric, f"about {metric}", [1, 5, 10])
            with model(name, "v1"):
                registry.log(**{metric: value})
        if hand_on:
            parent.merge(json.loads(json.dumps(worker.take_deltas())))
    for worker in workers:
        parent.merge(json.loads(json.dumps(worker.take_deltas())))
        assert worker.take_deltas() == []
    assert samples(parent) == samples(whole)


def test_a_delta_is_plain(registry: MetricsRegistry) -> None:
    with model("m", "v1"):
        mlserver.register("rows", "Rows").observe(0.3)
    counts = [0] * len(DEFAULT_BUCKETS)
    counts[7] = 1
    assert metrics.take_deltas() == [["rows", "Rows", "m", "v1", list(DEFAULT_BUCKETS[:-1]), counts, 0.3]]
    assert metrics.take_deltas() == []
    metrics.merge([["rows", "Rows", "m", "v1", [1.0], [2, 1], 5.0]])
    metrics.merge([["rows", "Rows", "m", "v1", [2.0], [1, 0], 1.0]])
    assert samples(registry)["rows_count m v1"] == 1, "other bounds begin anew"


def test_threads(registry: MetricsRegistry) -> None:
    parent, done = MetricsRegistry(), threading.Event()

    def record() -> None:
        for _ in range(2000):
            with model():
                registry.log(rows=1)

    def hand_on() -> None:
        while not done.is_set():
            parent.merge(registry.take_deltas())

    recorders = [threading.Thread(target=record) for _ in range(3)]
    sender = threading.Thread(target=hand_on)
    for thread in (*recorders, sender):
        thread.start()
    for thread in recorders:
        thread.join()
    done.set()
    sender.join()
    parent.merge(registry.take_deltas())
    assert samples(parent)["rows_sum m "] == 6000


def test_beside_the_servers_own(registry: MetricsRegistry, caplog: pytest.LogCaptureFixture) -> None:
    listener = PrometheusListener("rest_server")
    with model():
        mlserver.log(rows=1, model_infer_request_duration=5)
    with caplog.at_level(logging.WARNING, "mlserver"):
        for _ in range(2):
            page = generate_latest(listener.registry).decode()
    assert 'rows_count{model_name="m",model_version=""} 1.0' in page
    assert page.count("# TYPE model_infer_request_duration ") == 1
    assert "# TYPE model_infer_request_duration summary" in page
    assert [record.getMessage() for record in caplog.records] == [
        "metric 'model_infer_request_duration' of a model has the name of one of the server's: it is not shown"
    ]
