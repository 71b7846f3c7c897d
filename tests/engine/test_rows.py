"""Which requests may share a predict, and that merging and splitting lose nothing."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlserver.engine.hosted import DEFAULT_MAX_ROWS, max_rows_of
from mlserver.engine.rows import batch_key, has_rows, merge, row_count, rows_of, split
from mlserver.settings import ModelSettings
from mlserver.types.tensors import OutputRequest, Tensor, TensorRequest, TensorResponse
from tests.engine.tensors import assert_same_tensor, tensors


def request(**changes: Any) -> TensorRequest:
    x = Tensor("x", "FP32", [2, 3], np.arange(6, dtype="f4").reshape(2, 3))
    fields: dict[str, Any] = {"model": "m", "version": None, "inputs": [x], "id": "1"} | changes
    return TensorRequest(**fields)


def fp32(name: str, *shape: int, **more: Any) -> Tensor:
    return Tensor(name, "FP32", list(shape), np.zeros(shape, "f4"), **more)


def key(found: TensorRequest) -> object:
    return batch_key(found.model, found.version, found)


@pytest.mark.parametrize(
    "other",
    [
        request(model="n"),
        request(version="v1"),
        request(parameters={"tenant": "A"}),
        request(parameters={"tenant": 2**70}),
        request(outputs=[OutputRequest("predict_proba")]),
        request(outputs=[OutputRequest("predict", {"content_type": "np"})]),
        request(inputs=[fp32("y", 2, 3)]),
        request(inputs=[fp32("x", 2, 4)]),
        request(inputs=[fp32("x", 2, 3, 1)]),
        request(inputs=[fp32("x", 2, 3, parameters={"content_type": "np"})]),
        request(inputs=[Tensor("x", "FP64", [2, 3], np.zeros((2, 3)))]),
        request(inputs=[fp32("x", 2, 3), fp32("y", 2, 3)]),
    ],
)
def test_what_a_model_could_tell_apart_is_never_merged(other: TensorRequest) -> None:
    assert key(other) is not None
    assert key(other) != key(request())


def test_text_and_bytes_are_never_merged() -> None:
    text = request(inputs=[Tensor("x", "BYTES", [2], ["a", "b"])])
    raw = request(inputs=[Tensor("x", "BYTES", [2], [b"a", b"b"])])
    assert key(text) is not None
    assert key(text) != key(raw)
    assert key(raw) == key(request(inputs=[Tensor("x", "BYTES", [1], [b"c"])]))


@pytest.mark.parametrize("other", [request(id="2"), request(id=None), request(inputs=[fp32("x", 9, 3)])])
def test_ids_and_row_counts_do_not_matter(other: TensorRequest) -> None:
    assert key(other) == key(request())


@pytest.mark.parametrize(
    "inputs", [[], [fp32("x")], [fp32("x", 0, 3)], [fp32("x", 2), fp32("y", 3)], [fp32("x", 2), fp32("y")]]
)
def test_requests_without_rows_are_never_merged(inputs: list[Tensor]) -> None:
    assert key(request(inputs=inputs)) is None


@st.composite
def stackable(draw: st.DrawFn) -> list[TensorRequest]:
    """Requests of one key with different numbers of rows."""
    whole = draw(tensors(rows=draw(st.integers(1, 12))))
    rows = whole.shape[0]
    cuts = sorted(draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else [])
    bounds = [0, *cuts, rows]
    return [TensorRequest("m", None, [whole.rows(start, stop)]) for start, stop in pairwise(bounds)]


@given(stackable())
def test_splitting_is_the_inverse_of_merging(requests: list[TensorRequest]) -> None:
    assume(len({key(found) for found in requests}) == 1)  # text and bytes are never merged
    merged = merge(requests)
    rows = [row_count(found) for found in requests]
    assert row_count(merged) == sum(rows)
    response = TensorResponse("m", None, merged.inputs)
    assert has_rows(response, sum(rows))
    for part, found in zip(split(response, rows), requests, strict=True):
        assert_same_tensor(part.outputs[0], found.inputs[0], source=False)
    start = 0
    for found, count in zip(requests, rows, strict=True):
        assert_same_tensor(rows_of(merged, start, start + count).inputs[0], found.inputs[0], source=False)
        start += count


@pytest.mark.parametrize("shape", [[], [1], [5, 2]])
def test_an_output_with_other_rows_cannot_be_split(shape: list[int]) -> None:
    assert not has_rows(TensorResponse("m", None, [fp32("y", 4), fp32("x", *shape)]), 4)


@pytest.mark.parametrize(
    ("row_wise", "size", "time", "expected"),
    [
        (True, 0, 0, DEFAULT_MAX_ROWS),
        (False, 0, 0, 1),
        (True, 1, 0, 1),
        (True, 1, 1, 1),
        (True, 8, 0, 8),
        (False, 8, 0, 1),
        (False, 8, 0.5, 8),
        (True, 0, 0.5, DEFAULT_MAX_ROWS),
    ],
)
def test_who_is_stacked_and_how_far(row_wise: bool, size: int, time: float, expected: int) -> None:
    found = ModelSettings(name="m", implementation="a.B", max_batch_size=size, max_batch_time=time)
    assert max_rows_of(found, row_wise=row_wise) == expected
