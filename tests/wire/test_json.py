"""JSON: what is read is what was sent, what cannot be read says where, and reading together is reading one by one."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlserver.engine.rows import batch_key, merge, row_count, split
from mlserver.errors import InferenceError, ModelError
from mlserver.types.tensors import DTYPES, Tensor, TensorResponse
from mlserver.wire.json import JsonReader, error_bytes, member_bytes, response_bytes
from tests.engine.tensors import assert_same_tensor, tensors

READER = JsonReader()
FINITE: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}


def body(data: Any, shape: list[int], datatype: str = "FP32", **more: Any) -> bytes:
    value = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    return json.dumps({"inputs": [value], **more}).encode()


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, Any]:
    datatype = draw(st.sampled_from(sorted(DTYPES.keys() - {"BF16"})))
    dtype = DTYPES[datatype]
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    elements = FINITE if dtype.kind == "f" else None
    return datatype, draw(arrays.arrays(dtype, shape, elements=elements))


@given(numbers(), st.booleans())
def test_numbers_arrive_whole_nested_or_flat(sent: tuple[str, Any], nested: bool) -> None:
    datatype, array = sent
    data = array.tolist() if nested else array.ravel().tolist()
    (tensor,) = READER.request(body(data, list(array.shape), datatype)).inputs
    assert isinstance(tensor.data, np.ndarray)
    assert tensor.data.dtype == DTYPES[datatype]
    np.testing.assert_array_equal(tensor.data, array)
    assert tensor.data.flags.writeable
    assert tensor.source is not None
    assert json.loads(tensor.source) == data


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "expected"),
    [
        ([1, None, 2.5], [3], "FP32", [1, float("nan"), 2.5]),
        ([1.0, 2], [2], "INT32", [1, 2]),
        (7, [1], "INT64", [7]),
        ([2**63], [1], "UINT64", [2**63]),
        ([True, 0], [2], "BOOL", [True, False]),
        ([], [0, 3], "FP64", np.zeros((0, 3))),
        ([10**30], [1], "FP64", [1e30]),
    ],
)
def test_what_is_accepted_besides(data: Any, shape: list[int], datatype: str, expected: Any) -> None:
    (tensor,) = READER.request(body(data, shape, datatype)).inputs
    np.testing.assert_array_equal(np.asarray(tensor.data), np.asarray(expected, DTYPES[datatype]))


@pytest.mark.parametrize(("data", "shape"), [(["a", "ü"], [2]), ([["a"], ["b"]], [2, 1]), ("a", [1]), ([None], [1])])
def test_strings_are_flat_lists(data: Any, shape: list[int]) -> None:
    (tensor,) = READER.request(body(data, shape, "BYTES")).inputs
    assert tensor.data == list(np.asarray(data, object).ravel())


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff", "malformed"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `inputs`"),
        (b'{"inputs":[{}]}', r"missing required field `name` - at `\$\.inputs\[0\]`"),
        (b'{"inputs":[{"name":1}]}', r"Expected `str`, got `int` - at `\$\.inputs\[0\]\.name`"),
        (b'{"inputs":[],"id":5}', r"Expected `str \| null`, got `int` - at `\$\.id`"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}', r"missing required field `data`"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[NaN]}]}', "malformed"),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000 + b"}]}", "too deeply"),
        (body([1], [1], "FP8"), r"expected a datatype of BF16, .* got 'FP8' - at `\$\.inputs\[0\]\.datatype`"),
        (body([1], [1], "BF16"), r"BF16 has no form in JSON: send it as binary data - at `\$\.inputs\[0\]\.data`"),
        (b'{"inputs":[]}', "at least one input"),
        (body([1], [-1]), r"expected dimensions >= 0, got \[-1\] - at `\$\.inputs\[0\]\.shape`"),
        (body([1, 2, 3], [2, 2]), r"shape \[2, 2\] needs 4 elements, the data of input 'x' has 3"),
        (body([], [2**40]), r"needs 1099511627776 elements, the data of input 'x' has 0"),
        (body([], [0, 2**62, 2]), "has no elements and too many rows"),
        (body([1], [1] * 1000), "at most 64 dimensions, got 1000"),
        (body([], [2**62, 2]), r"shape \[4611686018427387904, 2\] has more than 2\^63 elements"),
        (body([], [10**4000]), r"shape \[\.\.\.\] has more than 2\^63 elements"),
        (body([], [-(10**4000)]), r"expected dimensions >= 0, got \[\.\.\.\]"),
        (body([1], [7]).replace(b"7", b"7" * 100_000), "out of range"),
        (body([1, "a"], [2]), r"expected a value of FP32, got str 'a' - at `\$\.inputs\[0\]\.data\[1\]`"),
        (body([1, {"a": 1}], [2]), r"expected a value of FP32, got dict .* at `\$\.inputs\[0\]\.data\[1\]`"),
        (body([1, True], [2], "INT8"), r"expected a value of INT8, got bool True"),
        (body([1.5], [1], "INT8"), r"expected a value of INT8, got float 1\.5"),
        (body([None], [1], "INT8"), r"expected a value of INT8, got null"),
        (body([300], [1], "UINT8"), "out of range for UINT8"),
        (body([-1], [1], "UINT64"), "expected a value of UINT64, got int -1"),
        (body([2], [1], "BOOL"), "expected a value of BOOL, got int 2"),
        (body([1e300], [1], "FP32"), "too large for FP32"),
        (body([None, 1e300], [2], "FP32"), r"expected a value of FP32, got float 1e\+300 .*data\[1\]"),
        (body(["a", 1], [2], "BYTES"), r"expected a string for BYTES, got int 1 - at `\$\.inputs\[0\]\.data\[1\]`"),
        (body([[[1]]] * 1, [1, 1, 1], "BYTES"), "expected a string for BYTES"),
    ],
)
def test_errors_say_where_and_what_was_expected(sent: bytes, error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        READER.request(sent)


def test_two_inputs_of_one_name_are_refused() -> None:
    value = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    with pytest.raises(InferenceError, match="same name"):
        READER.request(json.dumps({"inputs": [value, value]}).encode())


@given(
    st.sampled_from(["FP32", "FP64", "INT64", "INT8", "UINT64", "BOOL", "BYTES"]),
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.recursive(
                st.none() | st.integers(-200, 200) | st.floats(**FINITE) | st.booleans() | st.just("a"), st.lists
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_a_stack_is_what_its_members_are_alone(datatype: str, width: int, sent: list[tuple[int, Any]]) -> None:
    """Also where data do not fit: then there is no stack, and never one with a number in another member's row."""
    heads = [READER.head(body(data, [rows, width], datatype)) for rows, data in sent]
    stack = READER.stack(heads)
    try:
        alone = [READER.of_head(head, "m", None) for head in heads]
    except InferenceError:
        assert stack is None
        return
    if stack is not None:
        merged = merge(alone) if len(alone) > 1 else alone[0]
        assert_same_tensor(stack[0], merged.inputs[0], source=False)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(1, 5), st.data())
def test_numbers_that_fit_are_stacked(rows: list[int], width: int, data: st.DataObject) -> None:
    parts = [data.draw(arrays.arrays("f4", (count, width), elements=FINITE)) for count in rows]
    heads = [READER.head(body(part.tolist(), list(part.shape))) for part in parts]
    assert len({batch_key("m", None, head) for head in heads}) == 1
    assert [row_count(head) for head in heads] == rows
    stack = READER.stack(heads)
    assert stack is not None
    np.testing.assert_array_equal(np.asarray(stack[0].data), np.concatenate(parts))


@pytest.mark.parametrize("data", [[[1, 2, 3], [3]], [[[], [1]], [1, 2]], [[1, 2], [1, [2, 3]]]])
def test_elements_never_move_between_members(data: list[Any]) -> None:
    """Together as many as they should be, but not each: the case that a count of the whole would miss."""
    assert READER.stack([READER.head(body(value, [1, 2])) for value in data]) is None


@given(
    st.lists(tensors(rows=6), min_size=1, max_size=3),
    st.sampled_from([[6], [1] * 6, [2, 2, 2], [1, 2, 3]]),
    st.data(),
)
def test_bodies_written_together_are_those_written_one_by_one(
    outputs: list[Tensor], rows: list[int], data: st.DataObject
) -> None:
    for tensor in outputs:
        if isinstance(tensor.data, list):
            tensor.data = [value if isinstance(value, str) else "" for value in tensor.data]
        if tensor.datatype == "BF16":  # which has no form in JSON
            tensor.datatype = "UINT16"
    response = TensorResponse("m", data.draw(st.none() | st.text()), outputs, None, {"p": 1})
    ids = [data.draw(st.text(min_size=1)) for _ in rows]
    expected = []
    for part, id_ in zip(split(response, rows), ids, strict=True):
        part.id = id_
        expected.append(response_bytes(part))
    assert member_bytes(response, rows, ids) == expected


def test_the_fields_of_a_response_in_order() -> None:
    response = TensorResponse("mnist-svm", "v0.1.0", [Tensor("predict", "INT64", [1], np.array([8]))], "some-id")
    assert response_bytes(response) == (
        b'{"model_name":"mnist-svm","model_version":"v0.1.0","id":"some-id","parameters":null,"outputs":'
        b'[{"name":"predict","shape":[1],"datatype":"INT64","parameters":null,"data":[8]}]}'
    )


def test_an_unversioned_model_has_no_version() -> None:
    assert b"model_version" not in response_bytes(TensorResponse("m", None, [], "1"))


def test_what_json_has_no_word_for() -> None:
    values = np.array([1, np.nan, np.inf, -np.inf], "f4")
    found = json.loads(response_bytes(TensorResponse("m", None, [Tensor("y", "FP32", [4], values)])))
    assert found["outputs"][0]["data"] == [1.0, None, None, None]


@pytest.mark.parametrize(
    "output",
    [
        Tensor("y", "BYTES", [1], [b"\xff"]),
        Tensor("y", "FP32", [1], np.zeros(1, "f4"), {"what": object()}),
        Tensor("y", "FP32", [1], np.zeros(1, "f4"), {"what": 2**70}),
    ],
)
def test_what_json_cannot_carry_is_the_model_s_error(output: Tensor) -> None:
    with pytest.raises(ModelError):
        response_bytes(TensorResponse("m", None, [output]))


@given(st.text())
def test_error_bodies_are_json(message: str) -> None:
    assert isinstance(msgspec.json.decode(error_bytes(message))["error"], str)
