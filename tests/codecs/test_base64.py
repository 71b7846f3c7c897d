from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs import Base64Codec
from mlserver.errors import CodecError
from mlserver.types import InferenceResponse, Parameters, RequestInput

VALUES = st.lists(st.binary(max_size=20) | st.none())


@settings(deadline=None)
@given(VALUES, st.booleans())
def test_bytes_come_back(values: list[bytes | None], use_bytes: bool) -> None:
    output = Base64Codec.encode_output("y", values, use_bytes=use_bytes)
    assert (output.shape, output.datatype) == ([len(values), 1], "BYTES")
    assert output.parameters == Parameters(content_type="base64")
    assert Base64Codec.decode_output(output) == values
    assert Base64Codec.decode_input(Base64Codec.encode_input("x", values, use_bytes=use_bytes)) == values
    assert all(isinstance(item, bytes if use_bytes else str) for item in output.data if item is not None)


@settings(deadline=None)
@given(VALUES)
def test_bytes_come_back_through_json(values: list[bytes | None]) -> None:
    response = InferenceResponse(model_name="m", outputs=[Base64Codec.encode_output("y", values)])
    again = InferenceResponse.model_validate_json(response.model_dump_json())
    assert Base64Codec.decode_output(again.outputs[0]) == values


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["UHl0aG9u"], [b"Python"]),
        ([b"UHl0aG9u"], [b"Python"]),
        ([["UHl0aG9u"], ["UHl0aG9u"]], [b"Python", b"Python"]),
        (["no base64!"], [b"no base64!"]),
        ([b"\xff\xd8"], [b"\xff\xd8"]),
        (["é"], ["é".encode()]),
        (["UHl0aG9"], [b"UHl0aG9"]),
        ([None], [None]),
        ("UHl0aG9u", [b"Python"]),
    ],
)
def test_decoding(data: Any, expected: list[bytes | None]) -> None:
    assert Base64Codec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=data)) == expected


def test_text_is_encoded_as_utf_8() -> None:
    assert Base64Codec.encode_input("x", ["Python", "é"]).data == [b"UHl0aG9u", b"w6k="]


def test_what_is_no_text() -> None:
    with pytest.raises(CodecError, match="expected text for content type 'base64', found int"):
        Base64Codec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=[1]))
    with pytest.raises(CodecError, match="expected bytes, found int"):
        Base64Codec.encode_input("x", [1])


def test_can_encode() -> None:
    assert Base64Codec.can_encode([b"a"])
    assert Base64Codec.can_encode([])
    assert not Base64Codec.can_encode(["a"])
