"""Binary tensors over REST, and what else the extensions of the protocol ask of this door."""

import gzip
import json
from typing import Any

import numpy as np
import pytest
import requests

from tests.rest.raw import inference
from tests.rest.test_answers import infer
from tests.seed.serving import Served

HEADER = "Inference-Header-Content-Length"
NAN = np.array([0x7F800001, 0xFFC12345, 0x7F800000, 0x80000000], "<u4").view("<f4")
"""Bits that no arithmetic would leave alone."""


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> dict[str, Any]:
    """An input whose data are behind the JSON."""
    parameters = {"binary_data_size": array.nbytes}
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters}


def ask(served: Served, model: str, body: dict[str, Any], rest: bytes = b"", **headers: str) -> requests.Response:
    """An inference with binary data; names of headers have `_` for `-`."""
    text = json.dumps(body).encode()
    headers.setdefault("inference_header_content_length", str(len(text)))
    return infer(served, text + rest, f"/v2/models/{model}/infer", **headers)


def parts(answer: requests.Response) -> tuple[Any, bytes]:
    """The JSON of an answer, and what follows it."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[HEADER])
    return json.loads(answer.content[:length]), answer.content[length:]


def test_binary_in_binary_out_bit_by_bit(served: Served) -> None:
    body = {"inputs": [tensor("x", NAN, "FP32")], "parameters": {"binary_data_output": True, "kept": 1}, "id": "it"}
    shown, rest = parts(ask(served, "echo", body, NAN.tobytes()))
    assert rest == NAN.tobytes()
    assert shown == {
        "model_name": "echo",
        "id": "it",
        "parameters": {"kept": 1},
        "outputs": [{"name": "x", "shape": [4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
    }


def test_binary_in_json_out(served: Served) -> None:
    rows = np.arange(6, dtype="<f8").reshape(2, 3)
    answer = ask(served, "sum", {"inputs": [tensor("x", rows, "FP64")]}, rows.tobytes())
    assert answer.headers["content-type"] == "application/json"
    assert HEADER not in answer.headers
    assert answer.json()["outputs"][0]["data"] == [3.0, 12.0]


def test_json_in_binary_out(served: Served) -> None:
    shown, rest = parts(infer(served, inference(1, 2, outputs=[{"name": "sums", "parameters": {"binary_data": True}}])))
    assert shown["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(rest, "<f8").tolist() == [3.0]


def test_json_and_binary_in_one_request_and_one_answer(served: Served) -> None:
    a, b = np.arange(3, dtype="<i2"), np.array([1.5], "<f4")
    inputs = [
        tensor("a", a, "INT16"),
        {"name": "j", "shape": [2], "datatype": "BYTES", "data": ["é", ""]},
        tensor("b", b, "FP32"),
    ]
    outputs = [
        {"name": "a"},
        {"name": "j", "parameters": {"binary_data": True}},
        {"name": "b", "parameters": {"binary_data": False}},
    ]
    body = {"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": True}}
    shown, rest = parts(ask(served, "echo", body, a.tobytes() + b.tobytes()))
    assert [output.get("data") for output in shown["outputs"]] == [None, None, [1.5]]
    assert rest == a.tobytes() + b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00"


@pytest.mark.parametrize("data", [{}, {"data": None}])
def test_no_bytes_need_no_header(served: Served, data: dict[str, Any]) -> None:
    body = {"inputs": [tensor("x", np.zeros((0, 2)), "FP64") | data, tensor("t", np.zeros(0, "u1"), "BYTES")]}
    answer = infer(served, json.dumps(body).encode(), "/v2/models/echo/infer")
    assert [(output["shape"], output["data"]) for output in answer.json()["outputs"]] == [([0, 2], []), ([0], [])]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats(served: Served, datatype: str) -> None:
    array = np.array([[0x3F80, 0xFFFF]], "<u2")
    body = {"inputs": [tensor("x", array, datatype)], "parameters": {"binary_data_output": True}}
    shown, rest = parts(ask(served, "echo", body, array.tobytes()))
    assert (shown["outputs"][0]["datatype"], rest) == (datatype, array.tobytes())


def test_bf16_has_no_form_in_json(served: Served) -> None:
    array = np.array([1], "<u2")
    answer = ask(served, "echo", {"inputs": [tensor("x", array, "BF16")]}, array.tobytes())
    assert answer.status_code == 400
    assert answer.json() == {"error": "output 'x' is BF16, which has no form in JSON: ask for binary data"}


def test_a_model_may_write_into_its_inputs(served: Served) -> None:
    rows = np.ones((2, 2), "<f4")
    body = {"inputs": [tensor("x", rows, "FP32")], "parameters": {"binary_data_output": True}}
    _, rest = parts(ask(served, "doubler", body, rows.tobytes()))
    assert np.frombuffer(rest, "<f4").tolist() == [2.0] * 4


@pytest.mark.parametrize("headers", [{}, {"accept_encoding": "gzip"}, {"content_encoding": "gzip"}])
def test_the_length_is_that_of_the_json_before_any_compression(served: Served, headers: dict[str, str]) -> None:
    rows = np.arange(1000, dtype="<f8")
    text = json.dumps({"inputs": [tensor("x", rows, "FP64")], "parameters": {"binary_data_output": True}}).encode()
    body = text + rows.tobytes()
    packed = gzip.compress(body) if "content_encoding" in headers else body
    answer = infer(served, packed, "/v2/models/echo/infer", inference_header_content_length=str(len(text)), **headers)
    assert answer.headers.get("content-encoding") == ("gzip" if len(headers) < 2 else None)
    assert parts(answer)[1] == rows.tobytes()


def test_the_content_type_is_not_looked_at(served: Served) -> None:
    for content_type in ("application/json", "application/octet-stream"):
        assert infer(served, inference(1), content_type=content_type).status_code == 200


def test_a_raw_body(served: Served) -> None:
    rows = np.arange(6, dtype="<f4").reshape(3, 2)
    answer = infer(served, rows.tobytes(), "/v2/models/raw/infer", inference_header_content_length="0")
    shown, rest = parts(answer)
    assert (shown["outputs"][0]["shape"], rest) == ([3, 2], rows.tobytes())


@pytest.mark.parametrize(("model", "status"), [("echo", 400), ("none", 404)])
def test_a_raw_body_to_the_wrong_model(served: Served, model: str, status: int) -> None:
    answer = infer(served, bytes(8), f"/v2/models/{model}/infer", inference_header_content_length="0")
    assert answer.status_code == status


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "1000000", "99999999999999999999", "5, 5"])
def test_lengths_that_cannot_be(served: Served, value: str) -> None:
    answer = ask(served, "echo", inference(1), inference_header_content_length=value)
    assert answer.status_code == 400
    assert HEADER in answer.json()["error"]


@pytest.mark.parametrize("size", [-1, 0, 7, 9, 2**63, "8"])
def test_sizes_that_disagree(served: Served, size: Any) -> None:
    value = {"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": size}}
    answer = ask(served, "echo", {"inputs": [value]}, bytes(8))
    assert answer.status_code == 400
    assert "bytes" in answer.json()["error"]


def test_classes(served: Served) -> None:
    body = {
        "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [0.25, 0.5, 0.125, 3, 1, 2]}],
        "outputs": [{"name": "x", "parameters": {"classification": 2}}],
    }
    (output,) = infer(served, body, "/v2/models/scores/infer").json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    assert output["data"] == ["0.5:1:dog", "0.25:0:cat", "3.0:0:cat", "2.0:2"]


def test_classes_of_text(served: Served) -> None:
    body = {
        "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
        "outputs": [{"name": "x", "parameters": {"classification": 2}}],
    }
    assert infer(served, body, "/v2/models/scores/infer").status_code == 400


def test_words_of_the_protocol_do_not_reach_the_model(served: Served) -> None:
    words = {"binary_data_output": False, "priority": 1, "timeout": 60_000_000}
    answer = infer(served, inference(1, parameters={**words, "mine": 1}), "/v2/models/echo/infer")
    assert answer.json()["parameters"] == {"mine": 1}
