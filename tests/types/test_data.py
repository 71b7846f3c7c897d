"""The rules of `TensorData`, as a table: every form of it against everything that is done with it."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simdjson
from pydantic import BaseModel, TypeAdapter

from mlserver.errors import CodecError
from mlserver.types import InferenceRequest, RequestInput, ResponseOutput, TensorData
from mlserver.types.tensors import Array

NAN = float("nan")


def floats(*values: float) -> Array:
    return np.array(values, dtype="<f4")


# name -> how it is made, the list it has to look like.
FORMS: dict[str, tuple[Callable[[], TensorData], Any]] = {
    "flat list": (lambda: TensorData([1, 2, 3]), [1, 2, 3]),
    "nested list": (lambda: TensorData(root=[[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "list with NaN": (lambda: TensorData([1.5, NAN]), [1.5, NAN]),
    "empty list": (lambda: TensorData([]), []),
    "tuple": (lambda: TensorData((1, 2)), [1, 2]),
    "range": (lambda: TensorData(range(3)), [0, 1, 2]),
    "strings": (lambda: TensorData(["a", "b"]), ["a", "b"]),
    "bytes": (lambda: TensorData([b"a", b"b"]), [b"a", b"b"]),
    "array": (lambda: TensorData(np.array([[1, 2], [3, 4]])), [1, 2, 3, 4]),
    "float array": (lambda: TensorData(floats(0.5, NAN)), [0.5, NAN]),
    "Fortran array": (lambda: TensorData(np.asfortranarray([[1, 2], [3, 4]])), [1, 2, 3, 4]),
    "read-only array": (lambda: TensorData.over(np.frombuffer(b"\1\2", dtype="u1")), [1, 2]),
    "empty array": (lambda: TensorData(np.zeros((0, 4))), []),
    "0-d array": (lambda: TensorData(np.array(7)), [7]),
    "booleans": (lambda: TensorData(np.array([True, False])), [True, False]),
    "array of strings": (lambda: TensorData(np.array(["a", "b"])), ["a", "b"]),
    "array of objects": (lambda: TensorData(np.array(["a", b"b"], dtype=object)), ["a", b"b"]),
    "parser's array": (lambda: TensorData(simdjson.Parser().parse(b"[1, 2]")), [1, 2]),
    "as received": (lambda: TensorData.over(floats(0.1, 1.0), b"[0.1, 1]"), [0.1, 1]),
    "received nested": (lambda: TensorData.over(floats(1, 2).reshape(1, 2), b"[[1, 2]]"), [[1, 2]]),
    "received null": (lambda: TensorData.over(floats(NAN), b"[null]"), [None]),
    "received strings": (lambda: TensorData.over(None, b'[["a"]]'), [["a"]]),
    "validated": (lambda: TensorData.model_validate([[1], [2]]), [[1], [2]]),
    "validated JSON": (lambda: TensorData.model_validate_json("[1, [2.5]]"), [1, [2.5]]),
    "constructed": (lambda: TensorData.model_construct(np.array([1, 2])), [1, 2]),
    "another one": (lambda: TensorData(TensorData([1, 2])), [1, 2]),
}
forms = pytest.mark.parametrize(("make", "expected"), FORMS.values(), ids=FORMS.keys())


def same(one: Any, other: Any) -> bool:
    """Equal in value, type and nesting."""
    return repr(one) == repr(other)


@forms
def test_looks_like_the_list(make: Callable[[], TensorData], expected: Any) -> None:
    assert same(make().root, expected)
    assert same(list(make()), expected)
    assert same(make().model_dump(), expected)
    assert len(make()) == len(expected)
    assert str(make()) == f"root={expected}"
    assert [same(make()[index], expected[index]) for index in range(len(expected))] == [True] * len(expected)


@forms
def test_json(make: Callable[[], TensorData], expected: Any) -> None:
    assert make().model_dump_json() == TypeAdapter(Any).dump_json(expected).decode()


@forms
def test_equals_what_looks_the_same(make: Callable[[], TensorData], expected: Any) -> None:
    assert make() == make()
    assert make() == expected
    assert make() == TensorData(expected)
    assert make() != [*expected, 1]
    assert make() != "something else"


@forms
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data)), lambda data: data.model_copy(deep=True)],
)
def test_copies_hold_what_the_original_holds(
    make: Callable[[], TensorData], expected: Any, copied: Callable[[TensorData], TensorData]
) -> None:
    original = make()
    twin = copied(original)
    assert (twin.array is None) == (original.array is None)
    if twin.array is not None:
        assert twin.array is not original.array
        np.testing.assert_array_equal(twin.array, original.array)
    assert same(twin.root, expected)


@forms
def test_looking_does_not_lose_the_array(make: Callable[[], TensorData], expected: Any) -> None:
    data = make()
    held = data.array is not None
    len(data), repr(data), data == expected, data.model_dump(), data.model_dump_json()
    assert (data.array is not None) == held


@pytest.mark.parametrize("make", [lambda: TensorData(floats(1, 2)), lambda: TensorData.over(floats(1, 2), b"[1, 2]")])
def test_a_list_once_handed_out_is_the_truth(make: Callable[[], TensorData]) -> None:
    data = make()
    data.root[0] = 5
    assert data.array is None
    assert data == [5, 2]
    np.testing.assert_array_equal(data.as_array("FP32", [2]), floats(5, 2))


def test_root_can_be_replaced() -> None:
    data = TensorData(floats(1, 2))
    data.root = [3]
    assert data == [3]
    data.root = floats(4)
    assert data.array is not None
    assert data == [4.0]


def test_arrays_are_writable_and_cost_no_copy() -> None:
    own = floats(1, 2)
    assert TensorData(own).as_array("FP32", [2]) is own
    frozen = np.frombuffer(floats(1, 2).tobytes(), dtype="<f4")
    data = TensorData(frozen)
    assert data.as_array("FP32", [2], writable=False) is frozen
    data.as_array("FP32", [2])[0] = 9
    assert data.as_array("FP32", [2])[0] == 9
    assert data.array is not None
    assert data.array.flags.writeable


@pytest.mark.parametrize("value", [5, 1.5, "text", b"raw", None, True, np.float32(1.5)])
def test_a_single_value_stays_one(value: Any) -> None:
    assert TensorData(value).root == value
    assert not isinstance(TensorData(value).root, np.generic)


def test_it_is_a_pydantic_model_and_a_field() -> None:
    array = floats(1, 2)
    tensor = RequestInput(name="x", shape=[1, 2], datatype="FP32", data=array)
    assert isinstance(tensor.data, BaseModel)
    assert tensor.data.array is array
    assert tensor.model_dump()["data"] == [1.0, 2.0]
    assert json.loads(tensor.model_dump_json())["data"] == [1.0, 2.0]
    given = TensorData(array)
    assert ResponseOutput(name="x", shape=[2], datatype="FP32", data=given).data is given


def test_unvalidated_assignment_is_dumped_too() -> None:
    tensor = RequestInput(name="x", shape=[2], datatype="FP32", data=[1, 2])
    tensor.data = floats(3, 4)  # type: ignore[assignment]
    assert tensor.model_dump()["data"] == [3.0, 4.0]


def test_json_schema() -> None:
    schema = InferenceRequest.model_json_schema()
    assert "data" in schema["$defs"]["RequestInput"]["required"]


def test_other_attributes_are_missing_as_on_any_model() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = TensorData([1]).nothing  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no field"):
        TensorData([1]).other = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(TensorData([1]))


# Data, datatype, shape and the array that comes of them.
ARRAYS: list[tuple[Any, str, list[int], Any]] = [
    ([1, 2], "FP32", [2, 1], np.array([[1], [2]], "f4")),
    ([[1, 2], [3, 4]], "INT64", [4], np.array([1, 2, 3, 4])),
    ([1, 2, 3, 4], "INT8", [-1, 2], np.array([[1, 2], [3, 4]], "i1")),
    ([1.0, 2.0], "INT32", [2], np.array([1, 2], "i4")),
    ([None, 1], "FP64", [2], np.array([NAN, 1])),
    ([[None], [1]], "FP16", [2], np.array([NAN, 1], "f2")),
    ([0, 1, True], "BOOL", [3], np.array([False, True, True])),
    ([2**64 - 1, 0], "UINT64", [2], np.array([2**64 - 1, 0], "u8")),
    ([2**60 + 1, 1.0], "INT64", [2], np.array([2**60 + 1, 1])),
    ([], "INT16", [0, 3], np.zeros((0, 3), "i2")),
    (5, "UINT8", [], np.array(5, "u1")),
    (np.array([1.5]), "FP32", [1, 1], np.array([[1.5]], "f4")),
    (np.array([1, 2], ">i4"), "INT32", [2], np.array([1, 2], "<i4")),
    (["a", "bc"], "BYTES", [2, 1], np.array([["a"], ["bc"]])),
    ([b"a", b"bc"], "BYTES", [2], np.array([b"a", b"bc"])),
    ([b"abcdef"], "BYTES", [2], np.array([b"abc", b"def"])),
    ([b"abc", b"def"], "BYTES", [2, 3], np.array([[b"a", b"b", b"c"], [b"d", b"e", b"f"]])),
    ([b"a\0"], "BYTES", [1], np.array([b"a\0"], dtype=object)),
    (["a", None], "BYTES", [2], np.array(["a", None], dtype=object)),
    ([], "BYTES", [0], np.array([], dtype=np.str_)),
]


@pytest.mark.parametrize(("value", "datatype", "shape", "expected"), ARRAYS)
def test_as_array(value: Any, datatype: str, shape: list[int], expected: Array) -> None:
    found = TensorData(value).as_array(datatype, shape)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.flags.writeable


MISFITS: list[tuple[Any, str, list[Any], str]] = [
    ([1, 2, 3], "FP32", [2, 2], r"expected data of shape \[2, 2\], found 3 elements"),
    (floats(1, 2), "FP32", [3], r"expected data of shape \[3\], found 2 elements"),
    ([1, 2], "FP32", [-1, -1], "expected data of shape"),
    ([1], "FP32", ["x"], "expected data of shape"),
    ([1.5], "INT32", [1], "expected numbers of INT32, found 1.5"),
    ([2**63, -1], "UINT64", [2], "expected numbers of UINT64"),
    ([2.0**60, 0.5], "INT64", [2], "found 0.5"),
    ([300], "UINT8", [1], "expected numbers of UINT8, found 300"),
    ([-1], "UINT64", [1], "found -1"),
    ([2], "BOOL", [1], "expected numbers of BOOL, found 2"),
    ([2**80], "INT64", [1], "expected numbers of INT64"),
    ([None], "INT64", [1], "expected numbers of INT64, found null"),
    ([NAN], "INT64", [1], "expected numbers of INT64, found nan"),
    (["1"], "FP32", [1], "expected numbers of FP32, found strings"),
    ([b"1"], "INT8", [1], "expected numbers of INT8, found bytes"),
    ([None, "a"], "FP32", [2], "expected numbers of FP32 or null"),
    ([[1, 2], [3]], "FP32", [3], "in rows of equal length"),
    ([1e300], "FP32", [1], "too large for it"),
    ([None, 1e300], "FP32", [2], "or null"),
    ([10**400], "FP64", [1], "or null"),
    ([1], "FP8", [1], "expected a datatype of .*, found 'FP8'"),
    ([b"abcde"], "BYTES", [2], "found 5 bytes, which are not 2 equal items"),
    ([b"a", b"b"], "BYTES", [0], "found 2 elements"),
    (["a"], "BYTES", [2], "found 1 elements"),
]


@pytest.mark.parametrize(("value", "datatype", "shape", "message"), MISFITS)
def test_misfits_say_what_was_expected_and_found(value: Any, datatype: str, shape: Any, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        TensorData(value).as_array(datatype, shape)
