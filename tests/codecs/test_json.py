import datetime as dt
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs.json import (
    JSONEncoderWithArray,
    decode_from_bytelike_json_to_dict,
    decode_json_input_or_output,
    encode_to_json,
    encode_to_json_bytes,
)
from mlserver.errors import CodecError
from mlserver.types import ResponseOutput

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda value: st.lists(value, max_size=3) | st.dictionaries(TEXT, value, max_size=3))


@settings(deadline=None)
@given(VALUES)
def test_values_come_back(value: Any) -> None:
    assert decode_from_bytelike_json_to_dict(encode_to_json(value)) == value
    assert decode_from_bytelike_json_to_dict(encode_to_json(value, use_bytes=False)) == value


RICH = {"array": np.arange(4).reshape(2, 2), "one": np.float32(0.5), "bytes": "é".encode(), "day": dt.date(2024, 1, 2)}
RICH_TEXT = '{"array":[[0,1],[2,3]],"one":0.5,"bytes":"é","day":"2024-01-02"}'


def test_what_json_does_not_know() -> None:
    assert encode_to_json(RICH, use_bytes=False) == RICH_TEXT
    assert encode_to_json_bytes(RICH) == RICH_TEXT.encode()
    assert json.loads(json.dumps(RICH, cls=JSONEncoderWithArray)) == json.loads(RICH_TEXT)


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": object()}, {"a": b"\xff"}, {("a",): 1}])
def test_what_cannot_be_written(value: Any) -> None:
    with pytest.raises(CodecError, match="expected"):
        encode_to_json(value)


def test_the_fast_one_makes_nan_null() -> None:
    assert encode_to_json_bytes([math.nan, math.inf, 1]) == b"[null,null,1]"
    with pytest.raises(CodecError, match="expected what JSON can say"):
        encode_to_json_bytes(object())


@pytest.mark.parametrize("text", ["{", b"\xff", "", "[" * 100_000, 5])
def test_what_cannot_be_read(text: Any) -> None:
    with pytest.raises(CodecError, match="expected JSON text"):
        decode_from_bytelike_json_to_dict(text)


def test_a_tensor_of_json() -> None:
    output = ResponseOutput(name="y", shape=[3], datatype="BYTES", data=['{"a":1}', b"[2]", None])
    assert decode_json_input_or_output(output) == [{"a": 1}, [2], None]
