"""One id, followed from a door through the queue to the worker, as a collector of OpenTelemetry's sees it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests

from mlserver.grpc.dataplane_pb2 import ModelReadyRequest, ServerReadyRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import raw_request
from tests.observe.collector import Collector, Span
from tests.observe.conftest import MODELS
from tests.observe.serving import ask, body, folder_of, grpc_port, serve
from tests.rest.conftest import free_port
from tests.seed.serving import Served, environment

PARENT = "00f067aa0ba902b7"
REST_INFER = "POST /v2/models/{model_name}/infer"
GRPC_INFER = "/inference.GRPCInferenceService/ModelInfer"
# Spans are sent soon, so that the tests need not wait.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@pytest.fixture(scope="module", params=[1, 0], ids=["worker", "in process"])
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[Served]:
    """A server that sends its spans to the collector."""
    settings = {"tracing_server": f"127.0.0.1:{collector.port}", "server_name": "shop", "server_version": "7"}
    folder = folder_of(tmp_path_factory.mktemp("traced"), MODELS, parallel_workers=request.param, **settings)
    with serve(folder, **SOON) as server:
        yield server
        server.stop()
        assert server.stderr == ""


def traceparent() -> tuple[str, dict[str, str]]:
    """A new trace's id, and the header that names it."""
    trace = secrets.token_hex(16)
    return trace, {"traceparent": f"00-{trace}-{PARENT}-01"}


def in_worker(traced: Served) -> bool:
    return bool(Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().strip())


def assert_followed(collector: Collector, trace: str, door: str, model: str, traced: Served) -> Span:
    """The trace has its spans, each within its parent; the door's own is returned."""
    worker = in_worker(traced)
    spans = collector.of(trace, 4 if worker else 3)
    assert set(spans) == {door, "queue", "predict", *(["predict in worker"] if worker else [])}
    whole, queue, predict = spans[door], spans["queue"], spans["predict"]
    assert whole.parent == PARENT
    assert queue.parent == predict.parent == whole.id
    assert whole.begun <= queue.begun <= queue.ended <= predict.ended <= whole.ended
    if worker:
        assert spans["predict in worker"].parent == predict.id
        assert predict.begun <= spans["predict in worker"].begun
        assert spans["predict in worker"].ended <= predict.ended
    assert whole.attributes["mlserver.model.name"] == model
    for span in spans.values():
        assert (span.service["service.name"], span.service["service.version"]) == ("shop", "7")
    return whole


def test_rest(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    assert ask(traced, "recorder", 1, headers=headers, id="mine") == 200
    door = assert_followed(collector, trace, REST_INFER, "recorder", traced)
    assert not door.failed
    about = {
        "http.request.method": "POST", "http.route": "/v2/models/{model_name}/infer", "http.response.status_code": 200,
        "mlserver.model.name": "recorder", "mlserver.model.version": "v1", "mlserver.request.id": "mine",
    }  # fmt: skip
    assert door.attributes == about


def test_grpc(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(traced)}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        stub.ModelInfer(raw_request("slow", np.ones((1, 1))), metadata=tuple(headers.items()), timeout=30)
        door = assert_followed(collector, trace, GRPC_INFER, "slow", traced)
        assert door.attributes["rpc.grpc.status_code"] == 0
        trace, headers = traceparent()
        metadata = tuple(headers.items())
        assert stub.ServerReady(ServerReadyRequest(), metadata=metadata).ready
        assert stub.ModelReady(ModelReadyRequest(name="slow"), metadata=metadata).ready
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(raw_request("none"), metadata=metadata)
    assert set(collector.of(trace, 1)) == {GRPC_INFER}, "health has no spans"


def test_a_model_s_own_span(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    assert ask(traced, "spanner", 1, headers=headers) == 200
    if in_worker(traced):
        spans = collector.of(trace, 5)
        assert spans["of the model"].parent == spans["predict in worker"].id


def test_a_failure(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    assert ask(traced, "talker", -1, headers=headers) == 500
    door = assert_followed(collector, trace, REST_INFER, "talker", traced)
    assert door.failed
    assert door.attributes["http.response.status_code"] == 500
    trace, headers = traceparent()
    assert ask(traced, "none", 1, headers=headers) == 404
    assert not collector.of(trace, 1)[REST_INFER].failed, "that was the caller's"


def test_other_routes_and_health(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    for path in ("/v2/health/ready", "/v2/models/slow/ready", "/v2/models/slow"):
        assert requests.get(f"{traced.url}{path}", headers=headers, timeout=30).status_code == 200
    assert set(collector.of(trace, 1)) == {"GET /v2/models/{model_name}"}
    trace, headers = traceparent()
    url = f"{traced.url}/v2/models/recorder/generate"
    assert requests.post(url, json=body(1), headers=headers, timeout=30).status_code == 200
    assert_followed(collector, trace, "POST /v2/models/{model_name}/generate", "recorder", traced)


def test_a_stream(traced: Served, collector: Collector) -> None:
    trace, headers = traceparent()
    url = f"{traced.url}/v2/models/streamer/infer_stream"
    answer = requests.post(url, json=body(1), headers=headers, timeout=30)
    assert (answer.status_code, answer.text.count("data:")) == (200, 3)
    worker = in_worker(traced)
    spans = collector.of(trace, 2 if worker else 1)
    assert set(spans) == {"POST /v2/models/{model_name}/infer_stream", *(["predict"] if worker else [])}


def test_each_request_of_a_batch_has_its_own(traced: Served, collector: Collector) -> None:
    asked = [traceparent() for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        answers = threads.map(lambda one: ask(traced, "together", 1, headers=one[1]), asked)
        assert set(answers) == {200}
    for trace, _ in asked:
        collector.wait_for(trace, {REST_INFER, "queue", "predict"})


def test_a_request_without_a_trace_begins_one(traced: Served, collector: Collector) -> None:
    known = len([span for span in collector.spans if span.name == REST_INFER and not span.parent])
    for headers in ({}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"}):
        assert ask(traced, "recorder", 1, headers=headers) == 200
    with collector._changed:
        assert collector._changed.wait_for(
            lambda: len([one for one in collector.spans if one.name == REST_INFER and not one.parent]) == known + 3, 30
        )


def test_a_stop_sends_what_is_left(tmp_path: Path, collector: Collector) -> None:
    folder = folder_of(tmp_path, MODELS, parallel_workers=1, tracing_server=f"127.0.0.1:{collector.port}")
    trace, headers = traceparent()
    with serve(folder, OTEL_BSP_SCHEDULE_DELAY="600000") as server:
        assert ask(server, "recorder", 1, headers=headers) == 200
        server.stop()
    assert len(collector.of(trace, 4)) == 4


def test_a_collector_that_is_away_stops_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, MODELS, parallel_workers=1, tracing_server=f"127.0.0.1:{free_port()}")
    with serve(folder, **SOON) as server:
        assert ask(server, "recorder", 1) == 200
        server.wait_for("[opentelemetry.exporter.otlp.proto.grpc.exporter]")
        server.stop()
        assert "Traceback" not in server.log


def test_without_the_packages_the_start_says_so(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {}, tracing_server="localhost:4317")
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk'] = None\n")
    command = [sys.executable, "-m", "mlserver", "start", "."]
    env = environment() | {"PYTHONPATH": str(folder)}
    found = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    assert found.stderr.startswith("error: tracing_server: package opentelemetry.sdk")
    assert "pip install 'mlserver[tracing]'" in found.stderr
    assert os.linesep not in found.stderr.rstrip()


def test_nothing_is_imported_where_it_is_off() -> None:
    code = "import sys, mlserver.server, mlserver.engine.worker; print('opentelemetry.sdk' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "False\n"
