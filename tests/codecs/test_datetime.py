import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs import DatetimeCodec
from mlserver.errors import CodecError
from mlserver.types import InferenceResponse, Parameters, RequestInput

ZONES = st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MOMENTS = st.lists(st.datetimes(timezones=ZONES) | st.none())


@settings(deadline=None)
@given(MOMENTS, st.booleans())
def test_moments_come_back(moments: list[dt.datetime | None], use_bytes: bool) -> None:
    output = DatetimeCodec.encode_output("y", moments, use_bytes=use_bytes)
    assert (output.shape, output.datatype) == ([len(moments), 1], "BYTES")
    assert output.parameters == Parameters(content_type="datetime")
    found = DatetimeCodec.decode_output(output)
    assert found == moments
    assert [each and each.tzinfo for each in found] == [each and each.tzinfo for each in moments]
    assert DatetimeCodec.decode_input(DatetimeCodec.encode_input("x", moments, use_bytes=use_bytes)) == moments


@settings(deadline=None)
@given(MOMENTS)
def test_moments_come_back_through_json(moments: list[dt.datetime | None]) -> None:
    response = InferenceResponse(model_name="m", outputs=[DatetimeCodec.encode_output("y", moments)])
    again = InferenceResponse.model_validate_json(response.model_dump_json())
    assert DatetimeCodec.decode_output(again.outputs[0]) == moments


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["2024-02-29"], dt.datetime(2024, 2, 29)),
        ([b"2024-02-29T10:11:12Z"], dt.datetime(2024, 2, 29, 10, 11, 12, tzinfo=dt.UTC)),
        ("2024-02-29T10:11:12.123456789", dt.datetime(2024, 2, 29, 10, 11, 12, 123456)),
        ([None], None),
    ],
)
def test_decoding(data: Any, expected: dt.datetime | None) -> None:
    found = DatetimeCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=data))
    assert found == [expected]


def test_text_is_passed_on() -> None:
    assert DatetimeCodec.encode_input("x", ["yesterday"], use_bytes=False).data == ["yesterday"]


@pytest.mark.parametrize("text", ["yesterday", "2024-02-30", b"\xff", ""])
def test_what_is_no_moment(text: str | bytes) -> None:
    with pytest.raises(CodecError, match="expected"):
        DatetimeCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=[text]))


def test_what_is_no_text() -> None:
    with pytest.raises(CodecError, match="expected text for content type 'datetime', found int"):
        DatetimeCodec.decode_input(RequestInput(name="x", shape=[1], datatype="BYTES", data=[1]))
    with pytest.raises(CodecError, match="expected a datetime, found int"):
        DatetimeCodec.encode_input("x", [1])


def test_can_encode() -> None:
    assert DatetimeCodec.can_encode([dt.datetime(2024, 1, 1)])
    assert not DatetimeCodec.can_encode(["2024-01-01"])
