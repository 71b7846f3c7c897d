import datetime as dt
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.codecs import CodecError, NumpyCodec, PandasCodec, decode_inference_request
from mlserver.codecs.base import find_request_codec, find_request_codec_by_payload, find_request_codec_by_type_hint
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, RequestInput, ResponseOutput
from mlserver.types.convert import from_public, request_from_public, response_to_public, to_public

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
# pandas 2 keeps nanoseconds, whose years end in 1677 and 2262.
MOMENT = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
# As far as FP64 has integers of its own, which is where missing ones are.
EXACT = st.integers(-(2**53), 2**53)
JSON = st.lists(st.integers(-9, 9), max_size=2) | st.dictionaries(TEXT, st.booleans(), max_size=2)

# Name of a kind of column -> its cells and dtype. All cells of one kind come back as equal Python values.
KINDS: dict[str, tuple[st.SearchStrategy[Any], str]] = {
    "ints": (st.integers(-(2**63), 2**63 - 1), "int64"),
    "bytes": (st.integers(0, 255), "uint8"),
    "floats": (st.floats(), "float64"),
    "halves": (st.floats(width=32), "float32"),
    "flags": (st.booleans(), "bool"),
    "texts": (TEXT | st.none(), "object"),
    "strings": (TEXT | st.none(), "string"),
    "nullable ints": (EXACT | st.none(), "Int64"),
    "nullable wide ints": (st.integers(-(2**63), 2**63 - 1) | st.none(), "Int64"),
    "nullable bytes": (st.integers(0, 255) | st.none(), "UInt8"),
    "nullable flags": (st.booleans() | st.none(), "boolean"),
    "nullable floats": (st.floats(allow_nan=False) | st.none(), "Float64"),
    "categories": (st.sampled_from(["a", "b"]) | st.none(), "category"),
    "numbered categories": (st.sampled_from([1, 2, 3]) | st.none(), "category"),
    "zoned dates": (MOMENT.map(lambda moment: moment.replace(tzinfo=dt.UTC)) | st.none(), "datetime64[ns, UTC]"),
    "dates": (MOMENT | st.none(), "datetime64[ns]"),
    "objects": (JSON | st.none(), "object"),
}


@st.composite
def frames(draw: st.DrawFn, *, finite: bool = False) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=5))
    columns = {}
    for kind in kinds:
        cells, dtype = KINDS[kind]
        if finite:
            cells = cells.filter(lambda cell: not (isinstance(cell, float) and math.isinf(cell)))
        columns[kind] = pd.Series(draw(st.lists(cells, min_size=rows, max_size=rows)), dtype=dtype)
    return pd.DataFrame(columns, columns=kinds).set_axis([10 + row for row in range(rows if kinds else 0)])


def cells(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Every cell as a Python value, what is missing as None."""
    found: dict[str, list[Any]] = {}
    for name in frame.columns:
        missing = frame[name].isna()
        found[name] = [None if absent else cell for cell, absent in zip(frame[name].tolist(), missing, strict=True)]
    return found


@settings(deadline=None)
@given(frames(), st.booleans())
def test_frames_come_back(frame: pd.DataFrame, use_bytes: bool) -> None:
    request = PandasCodec.encode_request(frame, use_bytes=use_bytes)
    response = PandasCodec.encode_response("m", frame, "v", use_bytes=use_bytes)
    assert request.parameters == response.parameters == Parameters(content_type="pd")
    assert [tensor.shape for tensor in request.inputs] == [[len(frame), 1]] * len(frame.columns)
    for found in (PandasCodec.decode_request(request), PandasCodec.decode_response(response)):
        assert cells(found) == cells(frame)
        assert list(found.index) == list(range(len(found)))


@settings(deadline=None)
@given(frames())
def test_frames_come_back_through_the_engine(frame: pd.DataFrame) -> None:
    """Decoded by content types, as a model's `decode_request` does, and back as a caller in code does."""
    request = to_public(request_from_public(PandasCodec.encode_request(frame), "m", None))
    found = decode_inference_request(request)
    assert cells(found) == cells(frame)
    response = from_public(PandasCodec.encode_response("m", found), model="m", version=None)
    assert cells(PandasCodec.decode_response(response_to_public(response))) == cells(frame)


@settings(deadline=None)
@given(frames(finite=True))
def test_frames_come_back_through_json(frame: pd.DataFrame) -> None:
    text = PandasCodec.encode_request(frame).model_dump_json()
    assert cells(PandasCodec.decode_request(InferenceRequest.model_validate_json(text))) == cells(frame)


CATEGORY = pd.Series([2, None, 1], dtype="category")
MIXED = pd.Series([{"a": [1, None]}, "b", None], dtype=object)
ZONED = pd.Series([pd.Timestamp("2024-01-02T03:04:05+02:00"), pd.NaT])


@pytest.mark.parametrize(
    ("column", "datatype", "content_type", "data"),
    [
        (pd.Series([1.5, math.nan]), "FP64", None, [1.5, math.nan]),
        (pd.Series([1, 2], dtype="uint8"), "UINT8", None, [1, 2]),
        (pd.Series([True, False]), "BOOL", None, [True, False]),
        (pd.Series([1, None], dtype="Int32"), "FP64", None, [1.0, math.nan]),
        (pd.Series([1, 2], dtype="Int32"), "INT32", None, [1, 2]),
        (pd.Series([2**60, None], dtype="Int64"), "BYTES", "pd_json", [b"1152921504606846976", b"null"]),
        (pd.Series([True, None], dtype="boolean"), "BYTES", "pd_json", [b"true", b"null"]),
        (pd.Series([1.5, None], dtype="Float32"), "FP32", None, [1.5, math.nan]),
        (pd.Series([], dtype="Int64"), "INT64", None, []),
        (pd.Series(["a", "é"]), "BYTES", "str", [b"a", "é".encode()]),
        (pd.Series(["a", None], dtype=object), "BYTES", "str", [b"a", None]),
        (pd.Series(["a", math.nan], dtype=object), "BYTES", "str", [b"a", None]),
        (pd.Series(["a", pd.NA], dtype="string"), "BYTES", "str", [b"a", None]),
        (pd.Series([b"a", "b"], dtype=object), "BYTES", "str", [b"a", b"b"]),
        (pd.Series([b"\xff"], dtype=object), "BYTES", "base64", [b"/w=="]),
        (pd.Series([None, None], dtype=object), "BYTES", "str", [None, None]),
        (pd.Series(["x", "y", None], dtype="category"), "BYTES", "str", [b"x", b"y", None]),
        (CATEGORY, "FP64", None, [2.0, math.nan, 1.0]),
        (pd.Series(pd.to_datetime(["2024-01-02", None])), "BYTES", "datetime", [b"2024-01-02T00:00:00", None]),
        (ZONED, "BYTES", "datetime", [b"2024-01-02T03:04:05+02:00", None]),
        (pd.Series([dt.datetime(1, 1, 1)], dtype=object), "BYTES", "datetime", [b"0001-01-01T00:00:00"]),
        (MIXED, "BYTES", "pd_json", [b'{"a":[1,null]}', b'"b"', b"null"]),
        (pd.Series([np.array([1, 2])], dtype=object), "BYTES", "pd_json", [b"[1,2]"]),
        (pd.Series(pd.arrays.SparseArray([0, 0, 5])), "INT64", None, [0, 0, 5]),
    ],
    ids=str,
)  # fmt: skip
def test_encoding(column: Any, datatype: str, content_type: str | None, data: list[Any]) -> None:
    (output,) = PandasCodec.encode_outputs(pd.DataFrame({"c": column}))
    assert (output.name, output.shape, output.datatype) == ("c", [len(data), 1], datatype)
    assert output.parameters == (Parameters(content_type=content_type) if content_type else None)
    assert output.data == data


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": pd.to_timedelta([1])}), r"column 'a': expected numbers, text or dates, found timedelta64"),
        (pd.DataFrame({"a": [1j]}), "column 'a': expected numbers, text or dates, found complex128"),
        (pd.DataFrame({"a": [object()]}), "column 'a': expected what JSON can say: object cannot be written"),
        (pd.DataFrame({"a": [{"b": math.nan}]}), "column 'a': expected what JSON can say"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "expected a name for each column, found 'a' more than once"),
        (pd.DataFrame([[1, 2]], columns=["1", 1]), "expected a name for each column, found '1' more than once"),
        ([1], "expected a data frame, found list"),
    ],
)
def test_what_cannot_be_encoded(frame: Any, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        PandasCodec.encode_request(frame)


def test_column_names_become_text() -> None:
    assert [output.name for output in PandasCodec.encode_outputs(pd.DataFrame([[1, 2]]))] == ["0", "1"]


def decoded(request: InferenceRequest) -> Any:
    """As a model's `decode_request` does: the inputs first, each by its content type."""
    return decode_inference_request(request)


def column(
    data: Any, shape: list[int], datatype: str, content_type: str | None = None, name: str = "c"
) -> RequestInput:
    parameters = Parameters(content_type=content_type) if content_type else None
    return RequestInput(name=name, shape=shape, datatype=datatype, data=data, parameters=parameters)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (column([1, 2], [2], "INT32"), pd.Series([1, 2], dtype="int32")),
        (column([[1], [2]], [2, 1], "FP32"), pd.Series([1, 2], dtype="float32")),
        (column([1, None], [2], "FP32"), pd.Series([1, math.nan], dtype="float32")),
        (column([b"a", "b"], [2], "BYTES"), pd.Series([b"a", "b"], dtype=object)),
        (column(["[1]", "null"], [2], "BYTES", "pd_json"), pd.Series([[1], None], dtype=object)),
        (column(["UHl0aG9u"], [1], "BYTES", "base64"), pd.Series([b"Python"], dtype=object)),
        (column([], [0], "BYTES"), pd.Series([], dtype=object)),
        (column([5], [], "INT64"), pd.Series([5])),
    ],
)
def test_decoding(tensor: RequestInput, expected: Any) -> None:
    request = InferenceRequest(inputs=[tensor], parameters=Parameters(content_type="pd"))
    pd.testing.assert_series_equal(decoded(request)["c"], expected, check_names=False)


def test_dates_of_a_column_are_dates() -> None:
    dates = column(["2024-01-02", None], [2], "BYTES", "datetime")
    request = InferenceRequest(inputs=[dates], parameters=Parameters(content_type="pd"))
    for found in (PandasCodec.decode_request(request), decoded(request)):
        assert found["c"].dtype.kind == "M"
        assert found["c"].isna().tolist() == [False, True]


def test_several_values_per_row_are_arrays_in_cells() -> None:
    found = PandasCodec.decode_request(InferenceRequest(inputs=[column([[1, 2], [3, 4]], [2, 2], "INT64")]))
    assert [cell.tolist() for cell in found["c"]] == [[1, 2], [3, 4]]


def test_columns_of_different_lengths_are_filled_up() -> None:
    inputs = [column([1, 2], [2], "INT64", name="a"), column(["x"], [1], "BYTES", name="b")]
    found = PandasCodec.decode_request(InferenceRequest(inputs=inputs))
    assert found["b"].isna().tolist() == [False, True]


def test_a_columns_own_content_type_counts_and_then_the_metadatas() -> None:
    inputs = [column(["MQ=="], [1], "BYTES", "base64", "a"), column(["MQ=="], [1], "BYTES", None, "b")]
    metadata = {
        name: MetadataTensor(name=name, datatype="BYTES", shape=[-1], parameters=Parameters(content_type="str"))
        for name in ("a", "b")
    }
    request = InferenceRequest(inputs=inputs, parameters=Parameters(content_type="pd"))
    assert cells(decode_inference_request(request, metadata_inputs=metadata)) == {"a": [b"1"], "b": ["MQ=="]}


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (column([1, 2, 3], [2], "INT64"), r"column 'c': expected data of shape \[2\], found 3 elements"),
        (column(["a", "b"], [3], "BYTES"), r"column 'c': expected data of shape \[3\], found 2 elements"),
        (column([], [2**40, 0], "FP32"), r"column 'c': expected a value for each row"),
        (column(["{"], [1], "BYTES", "pd_json"), "column 'c': expected JSON text"),
        (column(["x"], [1], "BYTES", "datetime"), "column 'c': expected a date and time"),
    ],
)
def test_what_cannot_be_decoded(tensor: RequestInput, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        PandasCodec.decode_request(InferenceRequest(inputs=[tensor]))


def test_two_inputs_of_one_name() -> None:
    tensor = column([1], [1], "INT64")
    with pytest.raises(CodecError, match="expected a name for each tensor, found 'c' more than once"):
        PandasCodec.decode_request(InferenceRequest(inputs=[tensor, tensor]))


def test_a_frame_is_its_own() -> None:
    """A model may write into the frame that it gets."""
    request = PandasCodec.encode_request(pd.DataFrame({"c": [1.0, 2.0]}))
    frame = PandasCodec.decode_request(request)
    frame.loc[0, "c"] = 7.0
    assert NumpyCodec.decode_input(request.inputs[0]).tolist() == [[1.0], [2.0]]
    assert PandasCodec.decode_request(request)["c"].tolist() == [1.0, 2.0]


def test_registered() -> None:
    assert find_request_codec("pd") is PandasCodec
    assert find_request_codec_by_payload(pd.DataFrame()) is PandasCodec
    assert find_request_codec_by_type_hint(pd.DataFrame) is PandasCodec
    assert PandasCodec.TypeHint is pd.DataFrame


NOTHING = """
import sys
{before}
from mlserver.codecs import PandasCodec, decode_inference_request
from mlserver.codecs.base import find_request_codec
from mlserver.types import InferenceRequest, Parameters, RequestInput
assert find_request_codec("pd") is PandasCodec
assert not PandasCodec.can_encode(5)
assert not sys.modules.get("pandas")
inputs = [RequestInput(name="a", shape=[1], datatype="FP64", data=[1])]
try:
    print(decode_inference_request(InferenceRequest(inputs=inputs, parameters=Parameters(content_type="pd"))))
except Exception as error:
    print(type(error).__name__, error, PandasCodec.TypeHint)
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "     a\n0  1.0\n"),
        (
            "sys.modules['pandas'] = None",
            "CodecError content type 'pd' needs pandas, which is not installed here None\n",
        ),
    ],
)
def test_pandas_comes_when_it_is_needed(before: str, expected: str) -> None:
    code = NOTHING.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == expected


def test_a_response_of_text() -> None:
    response = PandasCodec.encode_response("m", pd.DataFrame({"a": ["x"]}))
    fields = {"name": "a", "shape": [1, 1], "datatype": "BYTES", "data": ["x"], "parameters": {"content_type": "str"}}
    assert InferenceResponse.model_validate_json(response.model_dump_json()) == InferenceResponse(
        model_name="m", parameters=Parameters(content_type="pd"), outputs=[ResponseOutput.model_validate(fields)]
    )
