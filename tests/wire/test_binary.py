"""Binary tensors beside JSON: what is written is what is read, bit by bit; and lies about sizes are refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.errors import InferenceError
from mlserver.types import MetadataTensor
from mlserver.types.tensors import DTYPES, Tensor, TensorRequest, TensorResponse
from mlserver.wire.binary import binary_inputs, json_length, raw_request, response_parts
from mlserver.wire.json import JsonReader
from mlserver.wire.raw import bytes_of
from mlserver.wire.words import Wishes, take_wishes
from tests.engine.tensors import tensors

READER = JsonReader()


def described(tensor: Tensor, size: int | None, **parameters: Any) -> dict[str, Any]:
    """An input as JSON, with its data elsewhere."""
    given_size = {} if size is None else {"binary_data_size": size}
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype,
        "parameters": parameters | given_size,
    }


def read(body: Any, rest: bytes) -> list[Tensor]:
    """The inputs of a request with `rest` behind its JSON."""
    return binary_inputs(READER.head(json.dumps(body).encode()), memoryview(rest), READER)


def one(shape: list[int], datatype: str, size: Any, rest: bytes, **more: Any) -> Tensor:
    """The only input of a request."""
    value = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}, **more}
    (tensor,) = read({"inputs": [value]}, rest)
    return tensor


def bits(tensor: Tensor) -> Any:
    """What must not change: NaNs do not even equal themselves."""
    if isinstance(tensor.data, np.ndarray):
        return tensor.data.dtype, tensor.data.shape, tensor.data.tobytes()
    return [item if isinstance(item, bytes) else item.encode() for item in tensor.data]


@given(st.lists(tensors(), min_size=1, max_size=4, unique_by=lambda tensor: tensor.name), st.data())
def test_tensors_come_back_bit_by_bit(sent: list[Tensor], data: st.DataObject) -> None:
    json_ones = [
        tensor.datatype == "INT32" and data.draw(st.booleans(), label=f"{tensor.name!r} as JSON") for tensor in sent
    ]
    inputs, rest = [], b""
    for tensor, in_json in zip(sent, json_ones, strict=True):
        if isinstance(tensor.data, list):
            tensor.data = [item or "" for item in tensor.data]  # null has no such form
        if in_json:
            assert isinstance(tensor.data, np.ndarray)
            inputs.append(described(tensor, None) | {"data": tensor.data.ravel().tolist()})
        else:
            buffer = bytes_of(tensor)
            inputs.append(described(tensor, len(buffer), kept=1))
            rest += buffer
    found = read({"inputs": inputs}, rest)
    assert list(map(bits, found)) == list(map(bits, sent))
    assert [tensor.parameters for tensor in found] == [{} if in_json else {"kept": 1} for in_json in json_ones]


@given(st.binary(min_size=8, max_size=64))
def test_every_bit_pattern_of_a_float_passes(pattern: bytes) -> None:
    pattern = pattern[: len(pattern) // 8 * 8]
    for datatype in ("FP16", "BF16", "FP32", "FP64"):
        tensor = one([len(pattern) // DTYPES[datatype].itemsize], datatype, len(pattern), pattern)
        json_text, (buffer,) = response_parts(TensorResponse("m", None, [tensor], "1"), _all_binary())
        assert bytes(buffer) == pattern
        assert json.loads(json_text)["outputs"][0]["parameters"] == {"binary_data_size": len(pattern)}


def test_arrays_are_views_of_the_body() -> None:
    rest = bytes(range(64))
    data = one([2, 4], "FP64", 64, rest).data
    assert isinstance(data, np.ndarray)
    assert np.shares_memory(data, np.frombuffer(rest, np.uint8))
    assert not data.flags.writeable


def test_outputs_as_they_are_wanted() -> None:
    outputs = [Tensor(name, "INT64", [2], np.array([1, 2])) for name in ("a", "b", "c")]
    wishes = Wishes()
    wishes.outputs = {"a": True, "b": False}
    json_text, buffers = response_parts(TensorResponse("m", None, outputs, "1"), wishes)
    shown = json.loads(json_text)["outputs"]
    assert [output.get("data") for output in shown] == [None, [1, 2], [1, 2]]
    assert [bytes(buffer) for buffer in buffers] == [np.array([1, 2]).tobytes()]
    wishes.binary = True
    assert len(response_parts(TensorResponse("m", None, outputs, "1"), wishes)[1]) == 2


def test_text_with_null_is_json_beside_binary_data() -> None:
    outputs = [Tensor("a", "BYTES", [2], ["x", None]), Tensor("b", "BYTES", [2], ["x", ""])]
    json_text, buffers = response_parts(TensorResponse("m", None, outputs, "1"), _all_binary())
    with_null, without = json.loads(json_text)["outputs"]
    assert (with_null["data"], with_null["parameters"]) == (["x", None], None)
    assert without["parameters"] == {"binary_data_size": 9}
    assert list(map(len, buffers)) == [9]


def test_strings_and_bytes_are_written_with_their_lengths() -> None:
    assert bytes_of(Tensor("y", "BYTES", [3], ["é", b"\xff", ""])) == (
        b"\x02\x00\x00\x00\xc3\xa9\x01\x00\x00\x00\xff\x00\x00\x00\x00"
    )


@pytest.mark.parametrize(
    ("size", "rest", "error"),
    [
        (-8, b"", "expected a number of bytes for binary_data_size, got -8"),
        (8.0, b"12345678", "got 8.0"),
        (True, b"1", "got True"),
        ("8", b"12345678", "got '8'"),
        (None, b"12345678", "got None"),
        (2**64, b"12345678", "but only 8 bytes of the body are left"),
        (8, b"1234567", "but only 7 bytes of the body are left"),
        (8, b"123456789", "the binary data of all inputs are 8 bytes, but 9 follow the JSON"),
        (7, b"1234567", r"shape \[1\] of FP64 needs 8 bytes, got 7 - at `\$\.inputs\[0\]`"),
        (16, b"1234567812345678", r"shape \[1\] of FP64 needs 8 bytes, got 16"),
        (0, b"", r"shape \[1\] of FP64 needs 8 bytes, got 0"),
    ],
)
def test_lies_about_the_size(size: Any, rest: bytes, error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        one([1], "FP64", size, rest)


@pytest.mark.parametrize(
    ("shape", "rest", "error"),
    [
        ([1], b"\x05\x00\x00\x00abcd", "element 0 says 5 bytes, 4 are left"),
        ([1], b"\xff\xff\xff\xff", "element 0 says 4294967295 bytes, 0 are left"),
        ([2], b"\x03\x00\x00\x00abc\x01", "the shape needs 2 elements, the data have 1"),
        ([2], b"\x01\x00\x00\x00a", "the shape needs 2 elements, more than 5 bytes can hold"),
        ([1], b"\x00\x00\x00\x00" * 2, "4 bytes follow the last of 1 elements"),
        ([2**40], b"", "the shape needs 1099511627776 elements, more than 0 bytes can hold"),
    ],
)
def test_lies_about_strings(shape: list[int], rest: bytes, error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        one(shape, "BYTES", len(rest), rest)


def test_a_bool_is_0_or_1() -> None:
    assert bits(one([2], "BOOL", 2, b"\x00\x01"))[2] == b"\x00\x01"
    with pytest.raises(InferenceError, match="expected bytes 0 or 1 for BOOL, got 2"):
        one([2], "BOOL", 2, b"\x00\x02")


def test_data_are_in_one_place() -> None:
    with pytest.raises(InferenceError, match="expected either data or binary_data_size, got both"):
        one([1], "INT8", 1, b"1", data=[1])


def test_a_size_without_the_header() -> None:
    head = READER.head(json.dumps({"inputs": [described(Tensor("x", "INT8", [1], []), 1) | {"data": [1]}]}).encode())
    with pytest.raises(InferenceError, match="binary_data_size without the header Inference-Header-Content-Length"):
        take_wishes(head)


@given(
    st.sampled_from(sorted([*DTYPES, "BYTES"])),
    st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**63, 2**64]) | st.integers(), max_size=4)
    | st.integers(60, 1000).map(lambda rank: [1] * rank),
    st.binary(max_size=64),
    st.integers(-1, 70) | st.integers(),
)
def test_no_claim_leads_further_than_the_body(datatype: str, shape: list[int], rest: bytes, size: int) -> None:
    try:
        tensor = one(shape, datatype, size, rest)
    except InferenceError:
        return
    assert size == len(rest)
    assert bytes(bytes_of(tensor)) == rest
    assert isinstance(tensor.data, list) or tensor.data.shape == tuple(shape)


@pytest.mark.parametrize(
    ("value", "total", "length"), [("0", 0, 0), (" 12 ", 12, 12), ("0012", 12, 12), ("5", 10**9, 5)]
)
def test_a_length(value: str, total: int, length: int) -> None:
    assert json_length(value, total) == length


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.0", "0x1", "1, 1", "²", "1_0", "9" * 5000, "11"])
def test_what_is_no_length(value: str) -> None:
    with pytest.raises(InferenceError, match="Inference-Header-Content-Length"):
        json_length(value, 10)


def raw(body: bytes, datatype: str, *shape: int) -> TensorRequest:
    """A raw body to a model with one input."""
    return raw_request(body, [MetadataTensor(name="x", datatype=datatype, shape=list(shape))], "m", "v1")


@pytest.mark.parametrize(
    ("datatype", "shape", "size", "found"),
    [
        ("FP32", (2, 3), 24, [2, 3]),
        ("FP32", (-1, 3), 24, [2, 3]),
        ("FP32", (1, -1), 24, [1, 6]),
        ("FP32", (-1, -1), 24, [1, 6]),
        ("FP32", (-1, 3), 0, [0, 3]),
        ("BYTES", (1,), 7, [1]),
        ("BYTES", (-1, 1), 7, [1, 1]),
    ],
)
def test_a_raw_body(datatype: str, shape: tuple[int, ...], size: int, found: list[int]) -> None:
    request = raw(b"\x01" * size, datatype, *shape)
    (tensor,) = request.inputs
    assert (request.model, request.version, tensor.name, tensor.shape) == ("m", "v1", "x", found)
    assert b"".join(tensor.data) if datatype == "BYTES" else bytes(bytes_of(tensor)) == b"\x01" * size


@pytest.mark.parametrize(
    ("datatype", "shape", "size"),
    [
        ("FP32", (2, 3), 20),
        ("FP32", (2, 3), 23),
        ("FP32", (-1, 5), 24),
        ("FP32", (3, -1, -1), 24),
        ("FP32", (-1, -1, -1), 24),
        ("FP32", (-1, 0), 0),
        ("BYTES", (2,), 24),
    ],
)
def test_a_raw_body_that_does_not_fit(datatype: str, shape: tuple[int, ...], size: int) -> None:
    with pytest.raises(InferenceError, match=f"a body of {size} bytes is no {datatype} of shape"):
        raw(bytes(size), datatype, *shape)


def test_a_raw_body_needs_a_model_with_one_input() -> None:
    with pytest.raises(InferenceError, match="expected a model with one input in its metadata, this has 0"):
        raw_request(b"", [], "m", None)


def _all_binary() -> Wishes:
    wishes = Wishes()
    wishes.binary = True
    return wishes
