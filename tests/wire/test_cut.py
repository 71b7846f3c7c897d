"""Data cut out of a body before its head is decoded: the request is the same as without, or nothing is cut."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.errors import InferenceError
from mlserver.wire import json_reader
from mlserver.wire.cut import MARK, cut
from mlserver.wire.json_reader import JsonReader

NUMBERS = st.lists(st.integers(-9, 9) | st.floats(-9, 9, width=16), max_size=6)
DATA = (
    NUMBERS
    | st.lists(NUMBERS, max_size=4)
    | st.lists(st.lists(NUMBERS, max_size=2), max_size=2)
    | st.lists(st.sampled_from(['"data":[1]', "]", "x"]), max_size=2)
)
WORDS = st.sampled_from(["a", 'x"data":[1,2]', "]}", "data", '"'])
INPUTS = st.fixed_dictionaries(
    {"name": WORDS, "shape": st.just([1]), "datatype": st.just("FP32"), "data": DATA},
    optional={"parameters": st.dictionaries(st.sampled_from(["data", "p"]), DATA | WORDS, max_size=2)},
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3)},
    optional={"id": WORDS, "outputs": st.just([{"name": "o"}]), "parameters": st.dictionaries(WORDS, DATA, max_size=2)},
)
SEPARATORS = st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " :\t"), (",  ", ":")])


def shown(body: bytes) -> Any:
    """What a request's head holds, or why it is none."""
    try:
        head = JsonReader().head(body)
    except InferenceError as error:
        return str(error)
    inputs = [(one.name, one.shape, one.datatype, one.parameters, bytes(one.data)) for one in head.inputs]
    return inputs, head.id, head.parameters, [one.name for one in head.outputs or ()]


def both(body: bytes) -> tuple[Any, Any]:
    """With data of any size cut out, and with none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_reader, "cut", lambda body: cut(body, 0))
        cut_out = shown(body)
        patch.setattr(json_reader, "cut", lambda body: None)
        return cut_out, shown(body)


@given(request=REQUESTS, separators=SEPARATORS, order=st.randoms())
def test_it_is_the_same_request(request: dict[str, Any], separators: tuple[str, str], order: Any) -> None:
    for part in (request, *request["inputs"]):
        keys = list(part)
        order.shuffle(keys)
        for key in keys:
            part[key] = part.pop(key)
    cut_out, plain = both(json.dumps(request, separators=separators).encode())
    assert cut_out == plain


@given(request=REQUESTS, data=st.data())
def test_it_is_the_same_error(request: dict[str, Any], data: st.DataObject) -> None:
    """One byte is left out, comes twice, or is another."""
    body = json.dumps(request).encode()
    at = data.draw(st.integers(0, len(body) - 1))
    put = data.draw(st.sampled_from([b"", body[at : at + 1] * 2, b"[", b"]", b"}", b'"', b",", b" "]))
    cut_out, plain = both(body[:at] + put + body[at + 1 :])
    if isinstance(plain, str) and not isinstance(cut_out, str):
        # What stands between the brackets is looked at when the numbers are decoded.
        with pytest.raises(InferenceError):
            JsonReader().request(body[:at] + put + body[at + 1 :])
    else:
        assert cut_out == plain


@pytest.mark.parametrize(
    "text",
    ["[1],[2]", "[[1],[2]],[[3]]", "[[1],[2]", "[[1] ],[ [2]]", "[[1],2,[3]]", "[[[1]]]", "[]]", "[", "[1]]", "[[1]"],
)
def test_what_is_not_one_array_by_its_brackets_is_not_cut(text: str) -> None:
    assert cut(b'{"inputs":[{"data":%b}]}' % text.encode(), 0) is None


@pytest.mark.parametrize("text", ["[1,2]", "[[1,2],[3]]", "[[1, 2], [3]]", "[]", "[[]]", "[ 1 , 2 ]"])
@pytest.mark.parametrize("after", ["}]}", ',"shape":[2]}]}', " }\n]}", ' , "shape":[2]}]}'])
def test_what_is_cut(text: str, after: str) -> None:
    before = '{"inputs":[{"name":"x","data": '
    found = cut((before + text + after).encode(), 0)
    assert found == (before.encode() + MARK + after.encode(), [text.encode()])


def test_whoever_sends_the_mark_gets_nothing_cut() -> None:
    body = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,%b]}]}' % MARK
    assert cut(body, 0) is None
    assert list(JsonReader().request(body).inputs[0].data) == [1.0, 0.0]


def test_large_data_are_decoded_and_wrong_ones_refused() -> None:
    rows = np.arange(6000.0).reshape(100, 60)
    whole = {"inputs": [{"name": "x", "shape": [100, 60], "datatype": "FP64", "data": rows.tolist()}]}
    body = json.dumps(whole).encode()
    assert cut(body) is not None
    assert np.array_equal(JsonReader().request(body).inputs[0].data, rows)
    with pytest.raises(InferenceError, match="an object has the same key twice"):
        JsonReader().request(body.replace(b'"name"', b'"shape": [1], "name"'))
    with pytest.raises(InferenceError, match=r"at `\$\.inputs\[0\]\.data"):
        JsonReader().request(body.replace(b"5999.0", b"5999.0.1"))
