"""Lines that go together come apart as they were."""

from math import prod
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlserver.batch_processing.lines import Line
from mlserver.batch_processing.merging import flattened, groups, merged, rows_of, split

Request = dict[str, Any]


@st.composite
def nested(draw: st.DrawFn, shape: list[int]) -> list[Any]:
    """Data of `shape`, flat or nested."""
    flat = draw(st.lists(st.integers(), min_size=prod(shape), max_size=prod(shape)))
    return nest(flat, shape) if draw(st.booleans()) else flat


def nest(flat: list[Any], shape: list[int]) -> list[Any]:
    """`flat` as rows of rows."""
    if len(shape) == 1:
        return flat
    width = prod(shape[1:])
    return [nest(flat[row * width : (row + 1) * width], shape[1:]) for row in range(shape[0])]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Requests of which some agree."""
    rows = draw(st.integers(0, 3))
    inputs = []
    for name in draw(st.sampled_from(["x", "xy"])):
        shape = [rows, *draw(st.sampled_from([[], [2], [2, 1]]))]
        inputs.append({"name": name, "datatype": "INT64", "shape": shape, "data": draw(nested(shape))})
    more: Request = draw(st.sampled_from([{}, {"parameters": {"a": 1}}, {"outputs": [{"name": "o"}]}]))
    return {"id": draw(st.text(min_size=1)), "inputs": inputs, **more}


def flat_inputs(request: Request) -> list[list[Any]]:
    return [flattened(tensor["data"]) for tensor in request["inputs"]]


@given(st.lists(requests(), min_size=1, max_size=6))
def test_every_line_gets_its_own_rows(given_requests: list[Request]) -> None:
    lines = [Line(place, request) for place, request in enumerate(given_requests)]
    found = list(groups(lines))
    assert sorted(line.place for group in found for line in group) == list(range(len(lines)))
    for group in found:
        if len(group) == 1:
            continue
        request, counts = merged(group, "together")
        assert all(len(flat_inputs(request)[i]) == prod(t["shape"]) for i, t in enumerate(request["inputs"]))
        parts = split({"model_name": "echo", "outputs": request["inputs"]}, counts)
        assert parts is not None
        for line, part in zip(group, parts, strict=True):
            assert [tensor["data"] for tensor in part["outputs"]] == flat_inputs(line.request)
            assert [tensor["shape"] for tensor in part["outputs"]] == [t["shape"] for t in line.request["inputs"]]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_is_no_request_goes_alone(value: Any) -> None:
    for request in (
        value,
        {"inputs": value},
        {"id": "1", "inputs": [value]},
        {"id": "1", "inputs": [{"shape": value}]},
    ):
        assert not isinstance(request, dict) or rows_of(request) is None


def test_data_that_do_not_fit_go_alone() -> None:
    wrong = [([1, 2], [1]), ([2, 2], [1, 2, 3]), ([], [1]), ([-1, 1], [1]), ([1.0], [1]), ([True], [1]), (None, [1])]
    for shape, data in wrong:
        tensor = {"name": "x", "datatype": "INT64", "shape": shape, "data": data}
        assert rows_of({"id": "1", "inputs": [tensor]}) is None


def test_inputs_with_different_rows_go_alone() -> None:
    inputs = [
        {"name": name, "datatype": "INT64", "shape": [rows], "data": [1] * rows} for name, rows in (("a", 1), ("b", 2))
    ]
    assert rows_of({"id": "1", "inputs": inputs}) is None


def test_answers_that_cannot_be_taken_apart() -> None:
    for outputs in (
        None,
        [],
        [{"shape": [3], "data": [1, 2]}],
        [{"shape": [1], "data": [1]}],
        [{"data": [1, 2]}],
        ["x"],
    ):
        assert split({"outputs": outputs}, [1, 1]) is None
