"""What JSON can do to a server: depth, keys that come twice, numbers without end, other encodings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.errors import InferenceError
from mlserver.types.tensors import DATATYPES, TensorRequest
from mlserver.wire.json import JsonReader

READER = JsonReader()


def text(data: str = "[1,2]", *, shape: str = "[2]", datatype: str = "FP64", more: str = "") -> bytes:
    """A request of one input as JSON text, with `more` behind the inputs."""
    tensor = f'{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}'
    return f'{{"inputs":[{tensor}]{more}}}'.encode()


def nested(depth: int, inside: str = "1") -> str:
    """`inside` in so many arrays."""
    return "[" * depth + inside + "]" * depth


# The request, its list of inputs and the input are around the data.
@pytest.mark.parametrize(
    ("largest", "too_large"),
    [
        (text(nested(61), shape="[1]"), text(nested(62), shape="[1]")),
        (text(" " + nested(61), shape="[1]"), text("\n[ " + nested(61) + "]", shape="[1]")),
        (text(nested(61, '"a"'), shape="[1]", datatype="BYTES"), text(nested(65, '"a"'), datatype="BYTES")),
        (text(more=f',"parameters":{{"p":{nested(62)}}}'), text(more=f',"parameters":{{"p":{nested(63)}}}')),
        (text(more=f',"outputs":[{{"name":"y","parameters":{{"p":{nested(60)}}}}}]'),
         text(more=f',"outputs":[{{"name":"y","parameters":{{"p":{nested(61)}}}}}]')),
    ],
)  # fmt: skip
def test_depth(largest: bytes, too_large: bytes) -> None:
    assert isinstance(READER.request(largest), TensorRequest)
    with pytest.raises(InferenceError, match="nested"):
        READER.request(too_large)


def test_depth_is_a_setting() -> None:
    with pytest.raises(InferenceError, match="nested too deeply"):
        JsonReader(max_depth=8).request(text(nested(6), shape="[1]"))


def test_rows_are_not_depth() -> None:
    rows = json.dumps([[row, -row] for row in range(1000)])
    assert READER.request(text(rows, shape="[1000, 2]")).inputs[0].shape == [1000, 2]


@pytest.mark.parametrize(
    "body",
    [
        text(more=',"inputs":[]'),
        text(more=',"id":"a","id":"b"'),
        text(more=',"id":"a","\\u0069d":"b"'),
        text(more=',"id":"a","id":null'),
        text(more=',"parameters":{"p":1,"p":2}'),
        text(more=',"parameters":{"p":{"q":1,"q":2}}'),
        text(more=',"unknown":1,"unknown":2'),
        text('[1,2],"data":[3,4]'),
        text('[1,2],"shape":[2]'),
        text("[1,2]", more="," + ",".join(['"k":1'] * 100_000)),
        text(json.dumps(list(range(20_000))), shape="[20000]", more=',"id":"a","id":"b"'),
    ],
)
def test_a_key_that_comes_twice(body: bytes) -> None:
    with pytest.raises(InferenceError, match="an object has the same key twice"):
        READER.request(body)


@pytest.mark.parametrize(
    "body",
    [
        text(more=',"id":null,"parameters":null,"outputs":null'),
        text(more=',"unknown":{"inputs":1},"id":"\\"quoted\\" \\u00e9"'),
        text(more=',"parameters":{"inputs":"id","deep":[{"a":"b"},{"a":"c"}]},"outputs":[{"name":"x"}]'),
        text('["a","\\"inputs\\":","id"]', shape="[3]", datatype="BYTES"),
        text(json.dumps(list(range(20_000))), shape="[20000]", more=',"id":"a"'),
    ],
)
def test_keys_that_come_once(body: bytes) -> None:
    assert READER.request(body).inputs[0].name == "x"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), st.text(), st.text())
def test_no_honest_request_is_taken_for_one_with_a_key_twice(parameters: Any, id_: str, name: str) -> None:
    tensor = {"name": name, "shape": [1], "datatype": "BYTES", "data": [id_], "parameters": parameters}
    body = {"inputs": [tensor], "id": id_, "parameters": parameters, "outputs": [{"name": name}]}
    for ascii_only in (True, False):
        READER.request(json.dumps(body, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        text("[" * 100_000),
        text(nested(100_000), shape="[1]"),
        text(more=f',"parameters":{{"p":{nested(100_000)}}}'),
        text(more=f',"unknown":{nested(100_000)}'),
        *(text(f"[{'7' * 100_000},1]", datatype=datatype) for datatype in sorted(DATATYPES)),
        text(shape=f"[{'7' * 100_000}]"),
        text(more=f',"parameters":{{"p":{"7" * 100_000}}}'),
        text("[1e999,1]"),
        text("[-1e999,1]"),
        text("[1e999,1]", datatype="INT8"),
        text('["\\ud800","a"]', datatype="BYTES"),
        text('["X","a"]', datatype="BYTES").replace(b"X", b"\xed\xa0\x80"),
        text(more=',"id":"\\udfff"'),
        b"\xef\xbb\xbf" + text(),
        text().decode().encode("utf-16"),
        text().decode().encode("utf-32"),
        text() + text(),
        text() + b"\x00",
    ],
)
def test_what_is_refused(body: bytes) -> None:
    with pytest.raises(InferenceError):
        READER.request(body)


@given(
    st.sampled_from(sorted(DATATYPES)),
    st.lists(st.sampled_from([0, 1, 2, -1, 2**32, 2**63, 2**64]) | st.integers(), max_size=5)
    | st.integers(0, 1000).map(lambda rank: [1] * rank),
    st.lists(st.integers(-1, 300) | st.floats() | st.text(max_size=3) | st.booleans() | st.none(), max_size=4),
)
def test_a_shape_is_that_of_the_data_or_refused(datatype: str, shape: list[int], data: list[Any]) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    try:
        found = READER.request(json.dumps({"inputs": [tensor]}).encode()).inputs[0]
    except InferenceError:
        return
    assert found.shape == shape
    assert len(found.data) == len(data) if isinstance(found.data, list) else found.data.size == len(data)
