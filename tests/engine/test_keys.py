"""Keys of the response cache: no two requests that a model could tell apart share one."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.engine.keys import cache_key, written
from mlserver.types.tensors import DTYPES, OutputRequest, Tensor, TensorRequest
from tests.engine.tensors import REQUESTS


def read(form: bytes) -> object:
    """The request that a written form says, as nested tuples: the proof that nothing got lost."""
    decoder = msgspec.msgpack.Decoder()
    for end in range(1, len(form) + 1):
        # The head says where it ends: no beginning of it is a whole one.
        try:
            model, version, parameters, outputs, inputs = decoder.decode(form[:end])
        except (msgspec.DecodeError, TypeError, ValueError):
            continue
        break
    rest = form[end:]
    tensors = []
    for name, datatype, shape, more, dtype, (data_bytes, source_bytes) in inputs:
        data, rest = rest[:data_bytes], rest[data_bytes:]
        source = None
        if source_bytes is not None:
            source, rest = rest[:source_bytes], rest[source_bytes:]
        tensors.append((name, datatype, shape, more, dtype, data if dtype else decoder.decode(data), source))
    assert rest == b""
    return model, version, parameters, outputs, tensors


def in_order(parameters: dict[str, object] | None) -> dict[str, object] | None:
    return dict(sorted(parameters.items())) if parameters else None


def said(request: TensorRequest) -> object:
    """What of a request counts."""
    outputs = [[output.name, in_order(output.parameters)] for output in request.outputs] if request.outputs else None
    tensors = [
        (
            tensor.name,
            tensor.datatype,
            tensor.shape,
            in_order(tensor.parameters),
            tensor.data.dtype.str if isinstance(tensor.data, np.ndarray) else None,
            tensor.data.tobytes() if isinstance(tensor.data, np.ndarray) else tensor.data,
            tensor.source,
        )
        for tensor in request.inputs
    ]
    return request.model, request.version, in_order(request.parameters), outputs, tensors


@given(request=REQUESTS)
def test_the_written_form_can_be_read_again(request: TensorRequest) -> None:
    assert read(b"".join(written(request))) == said(request)


@given(one=REQUESTS, other=REQUESTS)
def test_keys_are_equal_where_requests_are(one: TensorRequest, other: TensorRequest) -> None:
    assert (cache_key(one) == cache_key(other)) == (repr(said(one)) == repr(said(other)))


def ask(**fields: object) -> TensorRequest:
    given = {"model": "m", "version": None, "inputs": [tensor()], **fields}
    return TensorRequest(**given)  # type: ignore[arg-type]


def tensor(**fields: object) -> Tensor:
    given = {"name": "x", "datatype": "FP32", "shape": [2], "data": np.array([1, 2], "<f4"), **fields}
    return Tensor(**given)  # type: ignore[arg-type]


def strings(*items: object, shape: list[int] | None = None) -> TensorRequest:
    return ask(inputs=[tensor(datatype="BYTES", data=list(items), shape=shape or [len(items)])])


DIFFERENT = [
    ask(),
    ask(model="n"),
    ask(version="1"),
    ask(inputs=[]),
    ask(inputs=[tensor(), tensor()]),
    ask(inputs=[tensor(name="y")]),
    ask(inputs=[tensor(datatype="FP64", data=np.array([1, 2], "<f8"))]),
    ask(inputs=[tensor(datatype="INT32", data=np.array([1, 2], "<f4").view("<i4"))]),
    ask(inputs=[tensor(shape=[2, 1], data=np.array([[1], [2]], "<f4"))]),
    ask(inputs=[tensor(shape=[1, 2], data=np.array([[1, 2]], "<f4"))]),
    ask(inputs=[tensor(data=np.array([1, 3], "<f4"))]),
    ask(inputs=[tensor(parameters={"content_type": "np"})]),
    ask(inputs=[tensor(source=b"[1,2]")]),
    ask(inputs=[tensor(source=b"[[1],[2]]")]),
    ask(parameters={"a": 1}),
    ask(parameters={"a": 1.0}),
    ask(parameters={"a": True}),
    ask(parameters={"a": "1"}),
    ask(parameters={"a": b"1"}),
    ask(parameters={"a": None}),
    ask(parameters={"b": 1}),
    ask(outputs=[OutputRequest("a")]),
    ask(outputs=[OutputRequest("a"), OutputRequest("b")]),
    ask(outputs=[OutputRequest("b"), OutputRequest("a")]),
    ask(outputs=[OutputRequest("a", {"content_type": "np"})]),
    strings("ab", ""),
    strings("a", "b"),
    strings(b"a", "b"),
    strings("", "ab"),
    strings(None, "ab"),
    strings("a", "b", shape=[2, 1]),
    strings("0.0", "-0.0"),
]


def test_a_table_of_requests_that_differ() -> None:
    keys = [cache_key(one) for one in DIFFERENT]
    assert None not in keys
    assert len(set(keys)) == len(DIFFERENT)


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_bit_of_a_number_counts(datatype: str) -> None:
    zeros = np.zeros(2, DTYPES[datatype])
    other = zeros.copy()
    other.view("u1")[-1] = 1
    one, two = (ask(inputs=[tensor(datatype=datatype, data=data)]) for data in (zeros, other))
    assert cache_key(one) != cache_key(two)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ask(id="1"), ask(id="2")),
        (ask(headers=lambda: {"a": "b"}), ask()),
        (ask(deadline=1.0), ask()),
        (ask(parameters={"a": 1, "b": {"c": 2, "d": 3}}), ask(parameters={"b": {"d": 3, "c": 2}, "a": 1})),
        (ask(parameters={}), ask(parameters=None)),
        (ask(outputs=[]), ask(outputs=None)),
        (ask(inputs=[tensor(data=np.array([1, 0, 2], "<f4")[::2])]), ask()),
    ],
)
def test_requests_that_are_the_same_to_a_model(one: TensorRequest, other: TensorRequest) -> None:
    assert cache_key(one) == cache_key(other) is not None


@pytest.mark.parametrize("value", [2**64, "\ud800", object()])
def test_what_cannot_be_written_has_no_key(value: object) -> None:
    assert cache_key(ask(parameters={"a": value})) is None
    if isinstance(value, str):
        assert cache_key(strings(value)) is None


@given(
    st.lists(st.text() | st.binary() | st.none(), max_size=4), st.lists(st.text() | st.binary() | st.none(), max_size=4)
)
def test_strings_with_their_lengths(one: list[object], other: list[object]) -> None:
    assert (cache_key(strings(*one, shape=[9])) == cache_key(strings(*other, shape=[9]))) == (one == other)
