"""CloudEvents, request ids and traces, in headers."""

import json
import re

import pytest

from mlserver.rest.headers import InferenceHeaders, pairs
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.cloudevents import CloudEvents, of_id, printable
from tests.rest.raw import Raw, inference, post
from tests.rest.test_answers import UUID
from tests.seed.serving import Served


def test_an_answer_is_an_event(served: Served) -> None:
    with Raw(served.port) as raw:
        headers = raw.ask(post("/v2/models/sum/infer", inference(1, id="it"))).headers
    assert {name: value for name, value in headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "0.3",
        "ce-source": "io.seldon.serving.deployment.mlserver",
        "ce-type": "io.seldon.serving.inference.response",
        "ce-inferenceservicename": "mlserver",
        "ce-modelid": "sum",
        "ce-endpoint": "sum",
        "ce-id": "it",
        "ce-requestid": "it",
    }


def test_a_model_sees_the_request_as_an_event_and_its_trace(served: Served) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    data = post("/v2/models/headers/infer", inference(1), f"Traceparent: {trace}", "Ce-Id: of the caller")
    with Raw(served.port) as raw:
        answer = raw.ask(data)
    seen = json.loads(json.loads(answer.body)["outputs"][0]["data"][0])
    assert seen["traceparent"] == trace
    assert seen["ce-id"] == "of the caller"
    assert seen["Ce-Type"] == "io.seldon.serving.inference.request"
    assert seen["Ce-Id"] == seen["Ce-Requestid"] == answer.headers["ce-id"]
    assert re.fullmatch(UUID, seen["Ce-Id"])


def test_headers_that_a_model_sends_back_do_not_hide_the_answer_s(served: Served) -> None:
    body = inference(1, id="it", parameters={"look": True})
    with Raw(served.port) as raw:
        answer = raw.ask(post("/v2/models/echo/infer", body, "X-Mine: 1"))
    assert (answer.headers["x-mine"], answer.headers["ce-id"]) == ("1", "it")
    assert answer.headers["ce-type"] == "io.seldon.serving.inference.response"


@pytest.mark.parametrize("request_id", ["a\r\nx-evil: 1", "日本", "a\x00", "x" * 900 + "é", "tab\there"])
def test_an_id_that_no_header_carries_as_it_is(served: Served, request_id: str) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(post("/v2/models/sum/infer", inference(1, id=request_id)))
    assert json.loads(answer.body)["id"] == request_id
    assert "x-evil" not in answer.headers
    assert answer.headers["ce-id"].isascii()
    assert answer.headers["ce-id"] == printable(request_id) != request_id


def test_an_id_that_is_too_long_for_a_header(served: Served) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(post("/v2/models/sum/infer", inference(1, id="x" * 2000)))
    assert answer.status == 200
    assert "ce-id" not in answer.headers


def test_in_kubernetes() -> None:
    headers = CloudEvents("shop", "space").of_request("m", None)
    assert headers["Ce-Source"] == "io.seldon.serving.deployment.shop.space"
    assert headers["Ce-Namespace"] == "space"
    assert "Ce-Id" not in headers
    assert of_id("") == {}


def test_a_request_does_not_hold_itself() -> None:
    asked = TensorRequest("m", None, [])
    made = InferenceHeaders(CloudEvents("s"))
    made.put(asked, lambda: {"a": "b"})
    assert asked.id is not None
    assert asked.headers is not None
    assert asked not in getattr(asked.headers, "args", ())
    assert asked.headers()["Ce-Id"] == asked.id


def test_lines_and_pairs_say_the_same() -> None:
    made = InferenceHeaders(CloudEvents("s"))
    lines = made.lines(TensorResponse("m", None, [], "it", None, {"X-Empty": "", "X-Two": "a: b"}))
    assert dict(pairs(lines))[b"x-two"] == b"a: b"
    assert dict(pairs(lines))[b"x-empty"] == b""
    assert b"".join(b"%b: %b\r\n" % pair for pair in pairs(lines)) == lines
