"""Generate: an alias of infer for a body with `inputs`, else Triton's form."""

import json
import struct
from typing import Any

import pytest

from mlserver.errors import InferenceError
from mlserver.rest.generate import fields_of, generate_request
from mlserver.types import MetadataModelResponse, MetadataTensor
from mlserver.types.tensors import TensorRequest
from tests.rest.raw import inference
from tests.rest.routes.conftest import events
from tests.rest.routes.test_streams import ask, spoken
from tests.seed.serving import Served


@pytest.mark.parametrize("path", ["/v2/models/speaker/generate", "/v2/models/speaker/generate/"])
def test_with_inputs_it_is_infer(routed: Served, path: str) -> None:
    answer = ask(routed, path, spoken("abc", id="it"))
    infer = ask(routed, "/v2/models/speaker/infer", spoken("abc", id="it"))
    assert (answer.status, answer.body, answer.headers["x-model"]) == (200, infer.body, "speaker")
    assert answer.headers.keys() == infer.headers.keys()


def test_fields_are_tensors_and_parameters(routed: Served) -> None:
    asked = {"id": "it", "text_input": "abc", "twice": True, "parameters": {"shapes": True}}
    answer = ask(routed, "/v2/models/speaker/generate", asked)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {
        "model_name": "speaker", "id": "it", "text_output": "abc", "numbers": [1, 2], "rank": 1,
    }  # fmt: skip


def test_with_a_version_in_the_path(routed: Served) -> None:
    answer = ask(routed, "/v2/models/rows/versions/v1/generate", {"x": [1, 2, 3, 4]})
    body = json.loads(answer.body)
    assert (body["model_name"], body["model_version"], body["sums"]) == ("rows", "v1", 10.0)


def test_streamed(routed: Served) -> None:
    answer = ask(routed, "/v2/models/speaker/generate_stream", {"id": "it", "text_input": "abc", "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events(answer.body) == [{"model_name": "speaker", "id": "it", "text_output": letter} for letter in "abc"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("none/generate", {"text_input": "a"}, 404, "model 'none' not found"),
        ("speaker/generate", [], 400, "invalid request: Expected `object`, got `array`"),
        ("speaker/generate", {"inputs": 1}, 400, "invalid inference request: Expected `array`, got `int`"),
        (
            "speaker/generate",
            {"text": "a"},
            400,
            "no field is an input of model 'speaker'; expected one of `text_input`, `temperature`",
        ),
        ("stepper/generate", {"text": "a"}, 400, "model 'stepper' names no inputs in its metadata"),
        ("speaker/generate", {"text_input": 1}, 400, "expected strings for BYTES, found int 1 - at `$.text_input`"),
        ("rows/generate", {"x": ["a"]}, 400, "expected numbers of FP64, found strings - at `$.x`"),
        ("rows/generate", {"x": [[1, 2], [3]]}, 400, "expected rows of equal length - at `$.x`"),
        ("rows/generate", inference(1, 2), 200, ""),
    ],
)
def test_errors(routed: Served, path: str, body: Any, status: int, message: str) -> None:
    answer = ask(routed, f"/v2/models/{path}", body)
    assert answer.status == status
    assert status == 200 or answer.error.startswith(message)


def model(*inputs: tuple[str, str, list[int]]) -> MetadataModelResponse:
    """Metadata with these inputs."""
    tensors = [MetadataTensor(name=name, datatype=datatype, shape=shape) for name, datatype, shape in inputs]
    return MetadataModelResponse(name="m", platform="", inputs=tensors, outputs=[])


def request(body: Any, metadata: MetadataModelResponse) -> TensorRequest:
    """What a body stands for."""
    return generate_request(fields_of(json.dumps(body).encode()), metadata, None)


@pytest.mark.parametrize(
    ("value", "metadata", "shape"),
    [
        (1, [1], [1]),
        (1, [-1, 1], [1, 1]),
        (1, [], [1]),
        ([1, 2, 3], [-1], [3]),
        ([1, 2, 3], [-1, 3], [1, 3]),
        ([[1, 2, 3], [4, 5, 6]], [-1, 3], [2, 3]),
        ([[1, 2]], [-1], [1, 2]),
        ([], [-1, 3], [1, 0]),
    ],
)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_shapes_follow_the_metadata(value: Any, metadata: list[int], shape: list[int], datatype: str) -> None:
    sent = json.loads(json.dumps(value), parse_int=str) if datatype == "BYTES" else value
    (tensor,) = request({"x": sent}, model(("x", datatype, metadata))).inputs
    assert (tensor.shape, tensor.datatype) == (shape, datatype)
    if datatype == "FP32":
        assert list(getattr(tensor.data, "shape", [])) == shape


def test_what_no_input_is_named_after_is_a_parameter() -> None:
    asked = request(
        {"x": True, "a": [1], "parameters": {"b": None, "y": 1}}, model(("x", "BOOL", [1]), ("y", "INT8", [1]))
    )
    assert [tensor.name for tensor in asked.inputs] == ["y", "x"]
    assert asked.parameters == {"a": [1], "b": None}


@pytest.mark.parametrize("body", [{"x": 1, "id": 1}, {"x": 1, "parameters": [1]}, {"x": 300}, {"x": 1.5}, {"x": None}])
def test_what_cannot_be(body: Any) -> None:
    with pytest.raises(InferenceError, match=r"- at `\$\."):
        request(body, model(("x", "INT8", [1])))


def test_nested_too_deeply() -> None:
    deep = json.loads("[" * 70 + "]" * 70)
    with pytest.raises(InferenceError, match="nested too deeply - at `\\$\\.x`"):
        request({"x": deep}, model(("x", "INT8", [1])))


def test_with_inputs_it_takes_and_gives_binary_data(routed: Served) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": 32}}
    head = json.dumps({"id": "it", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    body = head + struct.pack("<4d", 1, 2, 3, 4)
    answer = ask(routed, "/v2/models/rows/generate", body, length)
    infer = ask(routed, "/v2/models/rows/infer", body, length)
    assert (answer.status, answer.headers, answer.body) == (200, answer.headers | infer.headers, infer.body)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body.endswith(struct.pack("<d", 10))
    answer = ask(routed, "/v2/models/rows/infer_stream", body, length)
    assert (answer.status, answer.error[:43]) == (400, "binary data cannot be sent in events: leave")


@pytest.mark.parametrize("path", ["generate", "generate_stream"])
def test_a_deadline_that_cannot_be(routed: Served, path: str) -> None:
    answer = ask(routed, f"/v2/models/speaker/{path}", {"text_input": "a"}, "X-Request-Timeout-Ms: soon")
    assert answer.status == 400
    assert answer.error.endswith("in X-Request-Timeout-Ms, got 'soon'")
