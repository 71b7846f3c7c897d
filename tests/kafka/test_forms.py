"""Records whose values are protobuf messages: the same answers, in the same form."""

from typing import Any

import numpy as np
import pytest

from mlserver.types.tensors import Tensor, TensorRequest
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferResponse
from tests.kafka.client import Got, Headers, Sent, Topics, Watch, model, request, send

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
