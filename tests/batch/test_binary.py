"""Binary tensors as the extension of the protocol describes them."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.batch_processing.binary import decode, encode
from mlserver.batch_processing.transport import RequestFailed
from mlserver.types.tensors import DTYPES

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Any]:
    """A tensor of any datatype with the values that JSON has for it."""
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    elements: st.SearchStrategy[Any]
    if datatype == "BYTES":
        elements = TEXT
    elif DTYPES[datatype].kind == "f":
        elements = st.floats(width=8 * DTYPES[datatype].itemsize, allow_nan=False, allow_infinity=False)  # type: ignore[arg-type]
    elif datatype == "BOOL":
        elements = st.booleans()
    else:
        bounds = np.iinfo(DTYPES[datatype])
        elements = st.integers(int(bounds.min), int(bounds.max))
    data = draw(st.lists(elements, max_size=5))
    return {"name": "x", "datatype": datatype, "shape": [len(data)], "data": data}


@given(st.lists(tensors(), max_size=3))
def test_there_and_back(inputs: list[dict[str, Any]]) -> None:
    body, header_bytes = encode({"id": "1", "inputs": inputs})
    header = json.loads(body[:header_bytes])
    assert header["parameters"] == {"binary_data_output": True}
    assert header_bytes + sum(i["parameters"]["binary_data_size"] for i in header["inputs"]) == len(body)
    # An answer has the same form, with outputs for inputs.
    text = json.dumps({"outputs": header["inputs"]}).encode()
    response = decode(text + body[header_bytes:], len(text))
    assert [(o["data"], o["parameters"]) for o in response["outputs"]] == [(i["data"], {}) for i in inputs]


def test_bytes_on_the_wire() -> None:
    inputs = [
        {"name": "a", "datatype": "INT16", "shape": [2, 1], "data": [[1], [-2]]},
        {"name": "b", "datatype": "BYTES", "shape": [2], "data": ["é", ""], "parameters": {"content_type": "str"}},
        {"name": "c", "datatype": "FP32", "shape": [1], "data": [None]},
    ]
    body, header_bytes = encode({"inputs": inputs})
    nan = np.array([np.nan], "<f4").tobytes()
    assert body[header_bytes:] == struct.pack("<hh", 1, -2) + struct.pack("<I2sI", 2, "é".encode(), 0) + nan
    second = json.loads(body[:header_bytes])["inputs"][1]
    assert second["parameters"] == {"content_type": "str", "binary_data_size": 10}
    assert "data" not in second


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("INT8", [1], [128], "out of bounds"),
        ("UINT8", [1], [-1], "out of bounds"),
        ("INT8", [1], [1.5], "expected values of INT8"),
        ("INT8", [1], ["1"], "expected values of INT8"),
        ("BOOL", [1], [2], "a value does not fit BOOL"),
        ("FP16", [1], [1e6], "too large for FP16"),
        ("FP32", [1], ["a"], "could not convert"),
        ("FP32", [2], [1], "shape [2] does not fit 1 elements"),
        ("FP32", "x", [1], "shape x does not fit"),
        ("BYTES", [1], [1], "expected text for BYTES, got 1"),
        ("STRING", [1], ["a"], "datatype 'STRING' has no binary form"),
    ],
)
def test_what_cannot_be_sent(datatype: str, shape: Any, data: Any, message: str) -> None:
    with pytest.raises(RequestFailed) as caught:
        encode({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]})
    assert str(caught.value).startswith("inputs[0]: cannot be sent as a binary tensor: ")
    assert message in str(caught.value)
    assert not caught.value.again


@given(st.binary(max_size=60), st.integers(0, 70))
def test_any_bytes_are_an_answer_or_an_error(body: bytes, header_bytes: int) -> None:
    with contextlib.suppress(RequestFailed):
        assert "outputs" in decode(body, header_bytes)


@pytest.mark.parametrize(
    ("output", "raw"),
    [
        ({"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}, b"1234"),
        ({"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 3}}, b"123"),
        ({"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}, b"\x09\0\0\0ab"),
        ({"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}, b"\x01\0\0\0\xff"),
        ({"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": "4"}}, b"1234"),
    ],
)
def test_answers_that_are_cut_or_wrong(output: dict[str, Any], raw: bytes) -> None:
    text = json.dumps({"outputs": [output]}).encode()
    with pytest.raises(RequestFailed, match="cannot be read"):
        decode(text + raw, len(text))
