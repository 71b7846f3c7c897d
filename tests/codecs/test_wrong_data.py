"""Whatever a caller sends, a codec answers with a value or with a CodecError."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs import CodecError, decode_inference_request
from mlserver.codecs.base import find_input_codec, find_request_codec
from mlserver.types import Datatype, InferenceRequest, Parameters, RequestInput

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.sampled_from(["MQ==", "2024-02-29", "{}", "[1]", "NaN", "null"])
)
DATA = st.recursive(SCALARS | st.lists(SCALARS, max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=6)
SHAPES = st.lists(st.integers(-1, 4) | st.sampled_from([2**40, 2**70]), max_size=3)
CONTENT_TYPES = st.sampled_from([None, "np", "str", "base64", "datetime", "pd_json", "unknown"])


@st.composite
def inputs(draw: st.DrawFn) -> RequestInput:
    content_type = draw(CONTENT_TYPES)
    return RequestInput(
        name=draw(st.sampled_from("abc")),
        shape=draw(SHAPES),
        datatype=draw(st.sampled_from([each.value for each in Datatype])),
        data=draw(DATA),
        parameters=Parameters(content_type=content_type) if content_type else None,
    )


@pytest.mark.parametrize("content_type", ["np", "str", "base64", "datetime"])
@settings(deadline=None)
@given(tensor=inputs())
def test_a_tensor(content_type: str, tensor: RequestInput) -> None:
    codec = find_input_codec(content_type)
    assert codec is not None
    with contextlib.suppress(CodecError):
        codec.decode_input(tensor)


@pytest.mark.parametrize("content_type", ["np", "str", "pd"])
@settings(deadline=None)
@given(tensors=st.lists(inputs(), max_size=3))
def test_a_request(content_type: str, tensors: list[RequestInput]) -> None:
    request: Any = InferenceRequest(inputs=tensors, parameters=Parameters(content_type=content_type))
    codec = find_request_codec(content_type)
    assert codec is not None
    with contextlib.suppress(CodecError):
        codec.decode_request(request)
    with contextlib.suppress(CodecError):
        decode_inference_request(request)


def test_the_error_names_the_input() -> None:
    tensor = RequestInput(
        name="when", shape=[1], datatype="BYTES", data=["later"], parameters=Parameters(content_type="datetime")
    )
    with pytest.raises(CodecError, match="input 'when': expected a date and time in ISO 8601, found 'later'"):
        decode_inference_request(InferenceRequest(inputs=[tensor]))
