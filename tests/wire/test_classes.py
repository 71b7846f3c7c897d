"""The highest values of an output, as Triton's clients expect them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlserver.errors import InferenceError
from mlserver.types.tensors import DTYPES, Array, Tensor
from mlserver.wire.classes import classified


def tensor(data: Array, datatype: str = "FP32") -> Tensor:
    """An output around `data`."""
    return Tensor("y", datatype, list(data.shape), data)


def test_the_highest_first_with_labels_where_there_are_some() -> None:
    found = classified(tensor(np.array([[0.1, 0.5, 0.0], [1, 1, 2]], "f4")), 2, ["cat", "dog"])
    assert (found.name, found.datatype, found.shape) == ("y", "BYTES", [2, 2])
    assert found.data == ["0.5:1:dog", "0.1:0:cat", "2.0:2", "1.0:0:cat"]


def test_one_dimension_is_one_row() -> None:
    found = classified(tensor(np.array([1, 255, 7], "u1"), "UINT8"), 5)
    assert (found.shape, found.data) == ([3], ["255:1", "7:2", "1:0"])


def test_nan_comes_last() -> None:
    found = classified(tensor(np.array([[np.nan, -1, np.inf]])), 3)
    assert found.data == ["inf:2", "-1.0:1", "nan:0"]


def test_no_rows() -> None:
    assert classified(tensor(np.zeros((0, 3))), 2).shape == [0, 2]
    assert classified(tensor(np.zeros((2, 0))), 2).shape == [2, 0]


@pytest.mark.parametrize("output", [Tensor("y", "BYTES", [1], ["a"]), tensor(np.zeros(1, "u2"), "BF16")])
def test_what_has_no_highest_values(output: Tensor) -> None:
    with pytest.raises(InferenceError, match="expected numbers for classification"):
        classified(output, 1)


@given(
    st.sampled_from([DTYPES[name] for name in ("INT8", "UINT64", "INT64", "FP16", "BOOL")]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 3), st.integers(1, 6)))
    ),
    st.integers(1, 8),
)
def test_the_order_is_that_of_a_stable_sort(data: Array, count: int) -> None:
    expected = []
    for row in data:
        keys = [-np.inf if value != value else value.item() for value in row]
        places = sorted(range(len(keys)), key=lambda place: keys[place], reverse=True)
        expected += [f"{row[place]!s}:{place}" for place in places[:count]]
    assert classified(tensor(data), count).data == expected
