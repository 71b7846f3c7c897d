"""Where the time of requests goes, how many are under way, and what became of those without an answer."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests

from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import raw_request
from tests.observe.serving import ask, body, grpc_port, until, value_of
from tests.rest.raw import Raw, inference, post
from tests.rest.test_metrics import INFER, Series, risen, scraped
from tests.seed.serving import Served

STAGES = ("decode", "queue", "predict", "encode")
ROWS = 4_000
GRPC = {"grpc_type": "UNARY", "grpc_service": "inference.GRPCInferenceService", "grpc_method": "ModelInfer"}


def rest(served: Served) -> None:
    url = f"{served.url}/v2/models/slow/infer"
    assert requests.post(url, json=body(*range(ROWS)), timeout=30).status_code == 200


def over_grpc(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(served)}") as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(raw_request("slow", np.ones((ROWS, 1))), timeout=30)


@pytest.mark.parametrize(
    ("request_it", "total", "labels"),
    [
        (rest, "rest_server_request_duration_seconds_sum", INFER | {"status_code": "200"}),
        (over_grpc, "grpc_server_handling_seconds_sum", GRPC),
    ],
)
def test_the_stages_add_up(
    served: Served, metrics_port: int, request_it: Callable[[Served], None], total: str, labels: dict[str, str]
) -> None:
    before = scraped(metrics_port)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: request_it(served), range(20)))
    after = scraped(metrics_port)
    model = {"model": "slow", "version": ""}
    stages = {name: risen(before, after, f"model_{name}_seconds_sum", **model) for name in STAGES}
    whole = risen(before, after, total, **labels)
    assert sum(stages.values()) == pytest.approx(whole, rel=0.05), stages
    assert all(risen(before, after, f"model_{name}_seconds_count", **model) == 20 for name in STAGES)
    assert stages["predict"] > 20 * 0.02
    assert stages["queue"] > stages["predict"], "of four callers three wait"
    assert min(stages.values()) > 0


def test_requests_of_a_batch_wait_for_each_other(served: Served, metrics_port: int) -> None:
    before = scraped(metrics_port)
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda n: ask(served, "together", n), range(40))) == {200}
    after = scraped(metrics_port)
    model = {"model": "together", "version": ""}
    waited = risen(before, after, "model_batch_wait_seconds_sum", **model)
    assert 0 < waited < risen(before, after, "model_queue_seconds_sum", **model)
    calls = risen(before, after, "batch_request_queue_count", model_name="together", model_version="")
    assert calls < 40
    assert risen(before, after, "parallel_request_queue_count") == calls


def test_under_way_and_refused(served: Served, metrics_port: int) -> None:
    before = scraped(metrics_port)
    model = {"model": "slow", "version": ""}
    refused = {**model, "kind": "overloaded"}
    stop = threading.Event()

    def ask_on() -> list[int]:
        statuses = []
        while not stop.is_set():
            statuses.append(ask(served, "slow", 1))
        return statuses

    def busy(found: Series) -> bool:
        in_flight = value_of(found, "model_requests_in_flight", **model)
        return in_flight > 1 and value_of(found, "model_requests_failed_total", **refused) > 0

    with ThreadPoolExecutor(12) as threads:
        asking = [threads.submit(ask_on) for _ in range(12)]
        try:
            until(metrics_port, busy)
        finally:
            stop.set()
        statuses = [status for one in asking for status in one.result()]
    assert set(statuses) == {200, 429}
    assert ask(served, "slow", 1, headers={"X-Request-Timeout-Ms": "1"}) == 504
    after = scraped(metrics_port)
    assert value_of(after, "model_requests_in_flight", **model) == 0
    assert risen(before, after, "model_requests_failed_total", **refused) == statuses.count(429)
    assert risen(before, after, "model_requests_failed_total", kind="timeout", **model) == 1
    assert risen(before, after, "model_infer_request_failure_total", **model) == statuses.count(429) + 1


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_unknown_names_add_no_series(served: Served, metrics_port: int, door: str) -> None:
    def ask_for(names: range) -> None:
        if door == "rest":
            with Raw(served.port) as raw:
                raw.send(b"".join(post(f"/v2/models/none-{name}/infer", inference(1)) for name in names))
                assert {raw.answer().status for _ in names} == {404}
            return
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port(served)}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            calls = [stub.ModelInfer.future(raw_request(f"none-{name}"), timeout=60) for name in names]
            assert {call.code() for call in calls} == {grpc.StatusCode.NOT_FOUND}

    ask_for(range(1))
    before = scraped(metrics_port).keys()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask_for, [range(start, start + 250) for start in range(0, 1_000, 250)]))
    assert scraped(metrics_port).keys() == before
    assert not [key for key in before if "none" in str(key)]


NASTY = "a\r\nFORGED [31m\x1b[31m"


def test_names_cannot_forge_lines_of_the_log(served: Served) -> None:
    quoted = requests.utils.quote(NASTY)  # type: ignore[attr-defined]
    assert requests.post(f"{served.url}/v2/models/{quoted}/infer", json=body(1), timeout=30).status_code == 404
    requests.post(f"{served.url}/v2/repository/models/{quoted}/load", timeout=30)
    ask(served, "talker", -1, id=NASTY)
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(served)}") as channel:
        for model in (NASTY, "talker"):
            with pytest.raises(grpc.RpcError):
                GRPCInferenceServiceStub(channel).ModelInfer(raw_request(model, -np.ones(1), id=NASTY), timeout=30)
    ask(served, "talker", 77)
    served.wait_for("asked 77")
    assert any("FORGED" in line for line in served.lines), "the id is in the log"
    assert all(line.startswith("{") and "\x1b" not in line for line in served.lines)
