"""Questions that can be answered."""

from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.contract.questions import DTYPES, Input, Question

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)
# None of the protocol's own words begins so.
_OWN_NAMES = _NAMES.map("own-{}".format)
_VALUES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | _TEXT | st.floats(allow_nan=False, allow_infinity=False)
_PARAMETERS = st.dictionaries(_OWN_NAMES, _VALUES, max_size=3)
_SHAPES = st.lists(st.integers(0, 3), max_size=4)


def _elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return _TEXT
    dtype = np.dtype(DTYPES[datatype])
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind == "f":
        width: Any = dtype.itemsize * 8
        return st.floats(allow_nan=False, allow_infinity=False, width=width)
    limits = np.iinfo(dtype)
    return st.integers(int(limits.min), int(limits.max))


@st.composite
def _inputs(draw: st.DrawFn, name: str) -> Input:
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    shape = draw(_SHAPES)
    size = prod(shape)
    data = draw(st.lists(_elements(datatype), min_size=size, max_size=size))
    return Input(name, datatype, shape, data, draw(_PARAMETERS))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """A question to `echo`: some inputs of any datatype and shape, and some of them asked for, in any order."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    inputs = [draw(_inputs(name)) for name in names]
    asked = draw(st.just([]) | st.permutations(names).flatmap(lambda order: st.sampled_from([order[:1], order])))
    return Question(
        "echo",
        inputs,
        id=draw(st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)),
        parameters=draw(_PARAMETERS),
        outputs={name: {} for name in asked},
    )
