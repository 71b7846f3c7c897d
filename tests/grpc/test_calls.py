"""Calls as a whole: cancellation, deadlines, many at once, what they cost in metrics and log."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.grpc.client import PATIENCE_SECONDS, Door, refusal, typed_request
from tests.rest.test_metrics import risen, scraped
from tests.seed.serving import Served
from tests.waiting import wait_until

LABELS = {"grpc_type": "UNARY", "grpc_service": "inference.GRPCInferenceService", "grpc_method": "ModelInfer"}
STREAM = LABELS | {"grpc_type": "BIDI_STREAMING", "grpc_method": "ModelStreamInfer"}


@pytest.fixture
def gate(tmp_path: Path) -> dict[str, str]:
    """Parameters of a request that is held until `open` is there."""
    return {name: str(tmp_path / name) for name in ("begun", "open", "ended")}


def test_cancelling_a_call_cancels_the_model(stub: Any, gate: dict[str, str]) -> None:
    call = stub.ModelInfer.future(typed_request("gate", **gate))
    wait_until(Path(gate["begun"]).exists)
    call.cancel()
    wait_until(Path(gate["ended"]).exists)


def test_the_deadline_of_a_call_is_the_requests(door: Door, gate: dict[str, str], metrics_port: int) -> None:
    before = scraped(metrics_port)
    assert door.refused(typed_request("gate", **gate), timeout=1).code == "DEADLINE_EXCEEDED"
    wait_until(Path(gate["ended"]).exists)

    def counted() -> bool:
        after = scraped(metrics_port)
        return risen(before, after, "grpc_server_handled_total", **LABELS, grpc_code="DEADLINE_EXCEEDED") == 1

    wait_until(counted)


def test_more_calls_at_once_than_one_connection_takes(stub: Any, gate: dict[str, str], door: Door) -> None:
    calls = [stub.ModelInfer.future(typed_request("gate", **gate)) for _ in range(150)]
    wait_until(Path(gate["begun"]).exists)
    Path(gate["open"]).touch()
    assert all(call.result(PATIENCE_SECONDS).model_name == "gate" for call in calls)


def test_a_thousand_calls_begun_and_given_up(door: Door, stub: Any) -> None:
    for call in [stub.ModelInfer.future(typed_request("sum")) for _ in range(1000)]:
        call.cancel()
    assert door.infer(typed_request("sum", 1, 2)).outputs[0].contents.fp64_contents == [3.0]


def test_names_of_the_ecosystem(door: Door, stub: Any, metrics_port: int) -> None:
    before = scraped(metrics_port)
    for _ in range(2):
        door.infer(typed_request("sum"))
    door.refused(typed_request("none"))
    list(stub.ModelStreamInfer(iter([typed_request("count", 2), typed_request("count", 1)])))
    after = scraped(metrics_port)
    assert risen(before, after, "grpc_server_started_total", **LABELS) == 3
    assert risen(before, after, "grpc_server_handled_total", **LABELS, grpc_code="OK") == 2
    assert risen(before, after, "grpc_server_handled_total", **LABELS, grpc_code="NOT_FOUND") == 1
    assert risen(before, after, "grpc_server_handling_seconds_count", **LABELS) == 3
    assert risen(before, after, "grpc_server_msg_received_total", **STREAM) == 2
    assert risen(before, after, "grpc_server_msg_sent_total", **STREAM) == 3
    assert risen(before, after, "grpc_server_handled_total", **STREAM, grpc_code="OK") == 1


def test_no_caller_can_add_a_series(door: Door, channel: grpc.Channel, metrics_port: int) -> None:
    def unknown(number: int) -> None:
        door.refused(typed_request(f"none-{number}"))
        refusal(channel.unary_unary(f"/inference.GRPCInferenceService/None{number}"), b"")
        refusal(channel.unary_unary(f"/none.None{number}/ModelInfer"), b"")

    unknown(0)
    before = scraped(metrics_port)
    for number in range(1, 20):
        unknown(number)
    assert scraped(metrics_port).keys() == before.keys()
    assert not [key for key in before if "None" in str(key)]


def test_the_access_log_with_debug(door: Door, served: Served) -> None:
    door.refused(typed_request("none"))
    line = served.wait_for('"inference.GRPCInferenceService/ModelInfer" NOT_FOUND')
    assert "[mlserver.grpc] INFO - ipv4:127.0.0.1:" in line
