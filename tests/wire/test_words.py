"""The protocol's words in parameters: taken out, and believed only where they can be."""

import json
from typing import Any

import pytest

from mlserver.errors import InferenceError
from mlserver.types.tensors import OutputRequest, TensorRequest
from mlserver.wire.json import JsonReader, RequestHead
from mlserver.wire.words import NO_WISHES, take_wishes

READER = JsonReader()
INPUT = {"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}


def head(**fields: Any) -> RequestHead:
    """The head of a request with one input."""
    return READER.head(json.dumps({"inputs": [INPUT], **fields}).encode())


def test_a_request_without_words() -> None:
    assert take_wishes(head()) is NO_WISHES
    assert take_wishes(head(outputs=[{"name": "y"}])) is NO_WISHES
    assert not take_wishes(head(inputs=[INPUT | {"parameters": {"kept": 1}}])).any_binary


def test_words_are_taken_out_and_others_stay() -> None:
    request = {"timeout": 2_500_000, "priority": 1, "binary_data_output": True, "kept": [1]}
    outputs = [
        {"name": "a", "parameters": {"binary_data": False, "classification": 3, "kept": 2}},
        {"name": "b", "parameters": {"binary_data": True}},
    ]
    found = head(parameters=request, outputs=outputs)
    wishes = take_wishes(found)
    assert wishes.timeout_seconds == 2.5
    assert [wishes.is_binary(name) for name in "abc"] == [False, True, True]
    assert wishes.classes == {"a": 3}
    assert found.parameters == {"kept": [1]}
    assert found.outputs is not None
    assert [output.parameters for output in found.outputs] == [{"kept": 2}, None]


def test_nothing_is_left_of_parameters_that_were_words_only() -> None:
    found = head(parameters={"timeout": 0, "priority": 0})
    assert take_wishes(found).timeout_seconds is None  # 0 is the server's default
    assert found.parameters is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"parameters": {"timeout": -1}}, "expected a whole number >= 0 for timeout"),
        ({"parameters": {"timeout": 1.5}}, r"for timeout, got 1\.5 - at `\$\.parameters`"),
        ({"parameters": {"timeout": "1"}}, "for timeout, got '1'"),
        ({"parameters": {"timeout": True}}, "for timeout"),
        ({"parameters": {"timeout": None}}, "for timeout, got None"),
        ({"parameters": {"timeout": 10**4000}}, "for timeout, got one out of range"),
        ({"parameters": {"priority": "high"}}, "expected a whole number >= 0 for priority"),
        ({"parameters": {"binary_data_output": 1}}, "expected true or false for binary_data_output, got 1"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "for binary_data, got 'yes' - at output"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "for classification"),
        ({"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "shared memory is not supported"),
        ({"inputs": [INPUT | {"parameters": {"shared_memory_region": "r"}}]}, "shared memory is not supported"),
    ],
)
def test_words_that_cannot_be(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        take_wishes(head(**fields))


def test_words_of_a_request_that_has_been_read() -> None:
    assert take_wishes(TensorRequest("m", None, [], outputs=[OutputRequest("y")])) is NO_WISHES
    outputs = [OutputRequest("y", {"classification": 2, "kept": 1})]
    request = TensorRequest("m", None, [], parameters={"timeout": 1_000_000}, outputs=outputs)
    wishes = take_wishes(request)
    assert (wishes.timeout_seconds, wishes.classes) == (1.0, {"y": 2})
    assert (request.parameters, outputs[0].parameters) == (None, {"kept": 1})
    with pytest.raises(InferenceError, match=r"timeout, got 'soon' - at `parameters`"):
        take_wishes(TensorRequest("m", None, [], parameters={"timeout": "soon"}))
