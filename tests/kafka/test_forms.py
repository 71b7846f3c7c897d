"""Records whose values are protobuf messages, or have binary tensors: the same answers, in the same form."""

import json
from typing import Any

import numpy as np
import pytest

from mlserver.types.tensors import Tensor, TensorRequest
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferResponse
from tests.kafka.client import Got, Headers, Sent, Topics, Watch, model, request, send

LENGTH = "Inference-Header-Content-Length"
FORM: Headers = [("Content-Type", b"application/x-protobuf")]


def message(*rows: float, name: str = "", raw: bool = False, **fields: Any) -> bytes:
    """A value: one request with a row for each number."""
    tensor = Tensor("x", "FP64", [len(rows), 1], np.array(rows).reshape(-1, 1))
    return requests.message_of(TensorRequest(name, None, [tensor], **fields), raw=raw).SerializeToString()


def sums(answer: Got) -> list[float]:
    """What a protobuf answer says."""
    response = responses.response_of(ModelInferResponse.FromString(answer.value or b""))
    (output,) = response.outputs
    return np.asarray(output.data).ravel().tolist()


@pytest.mark.parametrize("raw", [False, True])
def test_a_message_is_answered_by_one(raw: bool, topics: Topics, answers: Watch) -> None:
    sent = Sent(message(1.0, 2.0, id="one", raw=raw), [*model("sum"), *FORM], b"k")
    (answer,) = answers.of(send(topics, [sent]))
    assert (answer.status, answer.key) == ("ok", b"k")
    assert answer.header("content-type") == b"application/x-protobuf"
    assert answer.header("mlserver-request-id") == b"one"
    found = ModelInferResponse.FromString(answer.value or b"")
    assert (found.model_name, found.id, bool(found.raw_output_contents)) == ("sum", "one", raw)
    assert sums(answer) == [1.0, 2.0]


def test_a_message_may_name_the_model(topics: Topics, answers: Watch) -> None:
    (answer,) = answers.of(send(topics, [Sent(message(3.0, name="sum"), FORM)]))
    assert sums(answer) == [3.0]


def test_both_forms_are_predicted_together(topics: Topics, answers: Watch) -> None:
    records = [
        Sent(message(float(n)), [*model("sum"), *FORM]) if n % 2 else Sent(request(float(n)), model("sum"))
        for n in range(100)
    ]
    found = answers.of(send(topics, records))
    values = [sums(answer) if n % 2 else answer.body["outputs"][0]["data"] for n, answer in enumerate(found)]
    assert values == [[float(n)] for n in range(100)]


@pytest.mark.parametrize(
    ("value", "words"),
    [(b"\xff", "invalid ModelInferRequest"), (b"", "no header"), (None, "null value"), (b"\x12\x00", "one input")],
    ids=["no message", "empty, no model", "tombstone", "no inputs"],
)
def test_what_is_no_message(value: bytes | None, words: str, topics: Topics, answers: Watch, letters: Watch) -> None:
    named = [] if value == b"" else model("text")
    (source,) = send(topics, [Sent(value, [*named, *FORM])])
    (answer,) = answers.of([source])
    (letter,) = letters.of([source])
    assert words in answer.error
    assert answer.header("content-type") == b"application/json"
    assert letter.value == value


def binary(*rows: float, **fields: Any) -> Sent:
    """A request with a row for each number behind its JSON."""
    data = np.array(rows).tobytes()
    tensor = {"name": "x", "shape": [len(rows), 1], "datatype": "FP64", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], **fields}).encode()
    return Sent(head + data, [*model("sum"), (LENGTH, b"%d" % len(head))])


def binary_sums(answer: Got) -> list[float]:
    """What follows the JSON of an answer."""
    length = int(answer.header(LENGTH) or b"-1")
    (output,) = json.loads((answer.value or b"")[:length])["outputs"]
    data = (answer.value or b"")[length:]
    assert output["parameters"]["binary_data_size"] == len(data)
    return [float(value) for value in np.frombuffer(data)]


def test_binary_tensors_are_answered_by_binary_ones(topics: Topics, answers: Watch) -> None:
    records = [binary(float(n), float(n + 1)) if n % 3 else Sent(request(float(n)), model("sum")) for n in range(60)]
    found = answers.of(send(topics, records))
    for n, answer in enumerate(found):
        assert answer.status == "ok"
        if n % 3:
            assert binary_sums(answer) == [float(n), float(n + 1)]
            assert answer.header("content-type") == b"application/octet-stream"
        else:
            assert answer.body["outputs"][0]["data"] == [float(n)]


def test_a_request_may_ask_for_another_form(topics: Topics, answers: Watch) -> None:
    in_json = binary(1.0, parameters={"binary_data_output": False})
    in_binary = Sent(request(2.0, parameters={"binary_data_output": True}), model("sum"))
    one, two = answers.of(send(topics, [in_json, in_binary]))
    assert one.body["outputs"][0]["data"] == [1.0]
    assert one.header(LENGTH) is None
    assert binary_sums(two) == [2.0]


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (b"0", "is 0"),
        (b"-1", "number of bytes"),
        (b"99999", "the body has"),
        (b"\xff", "not UTF-8"),
        (None, "null"),
    ],
)
def test_lengths_that_lie(length: bytes | None, words: str, topics: Topics, answers: Watch, letters: Watch) -> None:
    sent = Sent(binary(1.0).value, [*model("sum"), (LENGTH, length)])
    (source,) = send(topics, [sent])
    assert words in answers.of([source])[0].error
    assert letters.of([source])[0].value == sent.value
