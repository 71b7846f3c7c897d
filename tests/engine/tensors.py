"""Hypothesis strategies for the slotted values, and how to compare them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlserver.types.tensors import DTYPES, OutputRequest, Tensor, TensorRequest, TensorResponse

NAMES = st.text(min_size=1, max_size=8)
PARAMETERS = st.none() | st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(-(2**31), 2**31) | NAMES)


@st.composite
def tensors(draw: st.DrawFn, rows: int | None = None) -> Tensor:
    """Any tensor; with `rows`, one of that leading dimension."""
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    if rows is not None:
        shape = (rows, *shape[:2])
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    size = int(np.prod(shape, dtype=int))
    data: Any
    if datatype == "BYTES":
        data = draw(st.lists(st.text() | st.binary() | st.none(), min_size=size, max_size=size))
    else:
        data = draw(arrays.arrays(DTYPES[datatype], shape))
    source = draw(st.none() | st.binary(min_size=1))
    return Tensor(draw(NAMES), datatype, list(shape), data, draw(PARAMETERS), source)


OUTPUTS = st.none() | st.lists(st.builds(OutputRequest, NAMES, PARAMETERS), min_size=1, max_size=2)
REQUESTS = st.builds(
    TensorRequest,
    NAMES,
    st.none() | NAMES,
    st.lists(tensors(), max_size=3),
    st.none() | NAMES,
    PARAMETERS,
    OUTPUTS,
)
RESPONSES = st.builds(
    TensorResponse,
    NAMES,
    st.none() | NAMES,
    st.lists(tensors(), max_size=3),
    st.none() | NAMES,
    PARAMETERS,
    st.none() | st.dictionaries(NAMES, NAMES, min_size=1),
)


def assert_same_tensor(one: Tensor, other: Tensor, *, source: bool = True) -> None:
    assert (one.name, one.datatype, one.shape, one.parameters) == (
        other.name,
        other.datatype,
        other.shape,
        other.parameters,
    )
    if source:
        assert one.source == other.source
    if isinstance(one.data, np.ndarray):
        assert isinstance(other.data, np.ndarray)
        assert one.data.dtype == other.data.dtype
        np.testing.assert_array_equal(one.data, other.data)
    else:
        assert one.data == other.data
