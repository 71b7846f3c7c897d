from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs import StringCodec, StringRequestCodec
from mlserver.errors import CodecError
from mlserver.types import InferenceResponse, Parameters, RequestInput

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=10))


@settings(deadline=None)
@given(TEXTS, st.booleans())
def test_strings_come_back(texts: list[str], use_bytes: bool) -> None:
    output = StringCodec.encode_output("y", texts, use_bytes=use_bytes)
    assert (output.shape, output.datatype, output.parameters) == (
        [len(texts), 1],
        "BYTES",
        Parameters(content_type="str"),
    )
    assert StringCodec.decode_output(output) == texts
    assert all(isinstance(item, bytes if use_bytes else str) for item in output.data)
    assert StringCodec.decode_input(StringCodec.encode_input("x", texts, use_bytes=use_bytes)) == texts


@settings(deadline=None)
@given(TEXTS)
def test_strings_come_back_through_json(texts: list[str]) -> None:
    text = StringRequestCodec.encode_response("m", texts).model_dump_json()
    assert StringRequestCodec.decode_response(InferenceResponse.model_validate_json(text)) == texts


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([b"a", "b"], ["a", "b"]),
        ([["a"], ["b"]], ["a", "b"]),
        ("one", ["one"]),
        (b"one", ["one"]),
        (["a", None], ["a", None]),
        ([1, "b", 2.5], ["", "b", ""]),
        (np.array(["a", "b"]), ["a", "b"]),
        ([], []),
    ],
)
def test_decoding(data: Any, expected: list[str | None]) -> None:
    assert StringCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=data)) == expected


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(CodecError, match=r"expected UTF-8 text, found b'a\\xff'.*byte 1"):
        StringCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=[b"a\xff"]))


def test_can_encode() -> None:
    assert StringCodec.can_encode(["a"])
    assert StringCodec.can_encode([])
    assert not StringCodec.can_encode(["a", b"b"])
    assert not StringCodec.can_encode("a")


def test_text_that_utf_8_cannot_encode() -> None:
    with pytest.raises(CodecError, match=r"expected text, found .*surrogates not allowed at 1"):
        StringCodec.encode_output("y", ["a\ud800"])
