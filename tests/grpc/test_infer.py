"""Single inference requests: contents in both forms, parameters, metadata, ids and versions."""

import json
from typing import Any

import numpy as np
import pytest

from mlserver.grpc.dataplane_pb2 import ModelInferRequest
from tests.grpc.client import Door, parameter, raw_request, typed_request, values


def test_raw_contents_are_answered_raw(door: Door) -> None:
    rows = np.arange(6.0).reshape(3, 2)
    answer = door.infer(raw_request("sum", rows, id="one"))
    assert (answer.model_name, answer.model_version, answer.id) == ("sum", "", "one")
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("sums", "FP64", [3])
    assert not output.HasField("contents")
    assert np.frombuffer(answer.raw_output_contents[0]).tolist() == rows.sum(axis=1).tolist()


def test_typed_contents_are_answered_typed(door: Door) -> None:
    answer = door.infer(typed_request("sum", 1.5, 2.25))
    assert answer.outputs[0].contents.fp64_contents == [3.75]
    assert not answer.raw_output_contents


def test_without_an_id_the_server_makes_one_and_without_a_version_the_default_answers(door: Door) -> None:
    first, second = (door.infer(typed_request("twice")) for _ in range(2))
    assert first.id != second.id
    assert len(first.id) == 36
    assert first.model_version == "v2"
    assert door.infer(typed_request("twice", version="v1")).outputs[0].name == "x"


@pytest.mark.parametrize("raw", [False, True])
def test_parameters_of_all_five_kinds_come_back(door: Door, raw: bool) -> None:
    sent: dict[str, Any] = {"yes": True, "no": False, "int": -(2**63), "text": "z\u00fcrich", "double": 0.1}
    request = raw_request("echo", **sent) if raw else typed_request("echo", **sent)
    request.parameters["uint"].uint64_param = 2**64 - 1
    request.inputs[0].parameters["own"].CopyFrom(parameter(7))
    answer = door.infer(request)
    assert values(answer.parameters) == sent | {"uint": 2**64 - 1}
    assert {name: value.WhichOneof("parameter_choice") for name, value in answer.parameters.items()} == {
        "yes": "bool_param", "no": "bool_param", "int": "int64_param", "text": "string_param",
        "double": "double_param", "uint": "uint64_param",
    }  # fmt: skip
    assert values(answer.outputs[0].parameters) == {"own": 7}


def test_parameters_of_other_kinds_are_json_text(door: Door) -> None:
    assert values(door.infer(typed_request("raiser")).parameters) == {"odd": '[1,{"a":null}]'}


def test_half_precision_is_always_raw(door: Door) -> None:
    answer = door.infer(typed_request("half"))
    assert not any(output.HasField("contents") for output in answer.outputs)
    assert np.frombuffer(answer.raw_output_contents[0], np.float16).tolist() == [0.5, 1.5]
    assert answer.raw_output_contents[1] == b"\x07\0\0\0" + "z\u00fcrich".encode()


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_comes_back_bit_by_bit(door: Door, datatype: str) -> None:
    bits = np.array([0, 1, 0x7F80, 0x7FC1, 0xFFFF, 0x3F80], "<u2").tobytes()
    request = ModelInferRequest(model_name="echo", raw_input_contents=[bits])
    request.inputs.add(name="x", datatype=datatype, shape=[2, 3])
    answer = door.infer(request)
    assert (answer.outputs[0].datatype, answer.raw_output_contents[0]) == (datatype, bits)


def test_nan_and_infinities_pass_in_both_forms(door: Door) -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, -0.0]])
    assert door.infer(raw_request("echo", odd)).raw_output_contents[0] == odd.tobytes()
    sent = door.infer(typed_request("echo", *odd[0])).outputs[0].contents.fp64_contents
    assert np.array(sent).tobytes() == odd.tobytes()


def test_metadata_are_headers(door: Door) -> None:
    sent = [("x-one", "1"), ("x-one", "2"), ("x-data-bin", b"\x00\xff")]
    answer = door.infer(typed_request("headers"), metadata=sent)
    headers = json.loads(answer.outputs[0].contents.bytes_contents[0])
    assert (headers["x-one"], headers["x-data-bin"]) == ("1, 2", "AP8=")
    assert headers["user-agent"].startswith("grpc-python/")


def test_a_models_headers_are_trailing_metadata(door: Door) -> None:
    answer = json.dumps({"X-One": "1", "x-data-bin": "AP8=", "Content-Length": "7", "grpc-status": "13"})
    _, call = door.stub.ModelInfer.with_call(typed_request("headers", answer=answer))
    trailing = {one.key: one.value for one in call.trailing_metadata()}
    assert {name: value for name, value in trailing.items() if not name.startswith("ce-")} == {
        "x-one": "1",
        "x-data-bin": b"\x00\xff",
    }


def test_cloudevents_headers_in_and_out(door: Door) -> None:
    answer, call = door.stub.ModelInfer.with_call(typed_request("headers", id="z\u00fcrich"))
    seen = json.loads(answer.outputs[0].contents.bytes_contents[0])
    sent = {one.key: one.value for one in call.trailing_metadata()}
    assert (seen["Ce-Type"], sent["ce-type"]) == (
        "io.seldon.serving.inference.request",
        "io.seldon.serving.inference.response",
    )
    assert (seen["Ce-Modelid"], seen["Ce-Id"]) == ("headers", "z%C3%BCrich")
    assert (sent["ce-modelid"], sent["ce-id"]) == ("headers", "z%C3%BCrich")


def test_a_model_may_send_the_requests_headers_back(door: Door) -> None:
    _, call = door.stub.ModelInfer.with_call(typed_request("headers", back=True), metadata=[("x-one", "1")])
    assert ("x-one", "1") in [(one.key, one.value) for one in call.trailing_metadata()]


@pytest.mark.parametrize("headers", [{"x one": "1"}, {"x": "z\u00fcrich"}, {"x": "1\r\ny: 2"}, {"x-bin": "?"}])
def test_a_header_that_cannot_be_sent_is_the_models_error(door: Door, headers: dict[str, str]) -> None:
    refused = door.refused(typed_request("headers", answer=json.dumps(headers)))
    assert refused.code == "INTERNAL"
    assert "the model set a header that cannot be sent" in refused.details
