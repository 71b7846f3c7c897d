"""Data frames: content type `pd`.

pandas is optional, and is imported only when a data frame is asked for.
"""

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from mlserver.codecs.base import RequestCodec, find_input_codec
from mlserver.codecs.base64 import Base64Codec
from mlserver.codecs.datetime import DatetimeCodec
from mlserver.codecs.json import decode_json_input_or_output, encode_to_json
from mlserver.codecs.numpy import to_datatype
from mlserver.codecs.string import StringCodec
from mlserver.codecs.text import bytes_fields, written
from mlserver.codecs.utils import InputOrOutput, content_type_of, get_decoded, has_decoded
from mlserver.errors import CodecError
from mlserver.types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    RequestInput,
    ResponseOutput,
    TensorData,
)
from mlserver.types.arrays import flat, objects, shaped
from mlserver.types.base import construct
from mlserver.types.parameters import lazy_parameters
from mlserver.types.tensors import Array

# Of a column whose cells are JSON texts.
JSON_CONTENT_TYPE = "pd_json"

# Up to here every integer has an FP64 of its own.
_EXACT = 2**53


class _FrameHint:
    """`TypeHint` on demand: `pandas.DataFrame`, or None without pandas."""

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        try:
            return _pandas().DataFrame
        except CodecError:
            return None


class PandasCodec(RequestCodec):
    """A request or response as a data frame: a tensor of shape `[rows, 1]` per column; the index stays behind.

    Numbers keep their datatype. Text is BYTES with the content type `str`, dates are BYTES with `datetime`, what is
    neither is JSON in BYTES with `pd_json`. Missing text is null, missing numbers are NaN (which is null in JSON).
    """

    ContentType = "pd"
    TypeHint: ClassVar[Any] = _FrameHint()

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is a data frame; without one, pandas is not imported."""
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(payload, pandas.DataFrame)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, use_bytes: bool = True, **kwargs: Any
    ) -> InferenceResponse:
        """A response with an output per column. Raises CodecError that names the column that cannot be one."""
        return construct(
            InferenceResponse,
            {
                "model_name": model_name,
                "model_version": model_version,
                "id": None,
                "parameters": lazy_parameters({"content_type": cls.ContentType}),
                "outputs": cls.encode_outputs(payload, use_bytes=use_bytes),
            },
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The data frame of a response. Raises CodecError that names the output that is no column."""
        return _frame(response.outputs)

    @classmethod
    def encode_request(cls, payload: Any, use_bytes: bool = True, **kwargs: Any) -> InferenceRequest:
        """A request with an input per column. Raises CodecError that names the column that cannot be one."""
        return construct(
            InferenceRequest,
            {
                "id": None,
                "parameters": lazy_parameters({"content_type": cls.ContentType}),
                "inputs": cls.encode_inputs(payload, use_bytes=use_bytes),
                "outputs": None,
            },
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The data frame of a request. Raises CodecError that names the input that is no column.

        Columns of different lengths are filled up with missing values.
        """
        return _frame(request.inputs)

    @classmethod
    def encode_outputs(cls, payload: Any, use_bytes: bool = True) -> list[ResponseOutput]:
        """An output per column."""
        return [construct(ResponseOutput, fields) for fields in _columns(payload, use_bytes)]

    @classmethod
    def encode_inputs(cls, payload: Any, use_bytes: bool = True) -> list[RequestInput]:
        """An input per column."""
        return [construct(RequestInput, fields) for fields in _columns(payload, use_bytes)]


def _pandas() -> ModuleType:
    try:
        import pandas
    except ImportError:
        raise CodecError("content type 'pd' needs pandas, which is not installed here") from None
    module: ModuleType = pandas
    return module


def _columns(frame: Any, use_bytes: bool) -> list[dict[str, Any]]:
    """The fields of a tensor for each column of a data frame."""
    if not PandasCodec.can_encode(frame):
        raise CodecError(f"expected a data frame, found {type(frame).__name__}")
    names = [str(name) for name in frame.columns]
    _check_unique(names, "column")
    return [_column(name, series, use_bytes) for name, (_, series) in zip(names, frame.items(), strict=True)]


def _column(name: str, series: Any, use_bytes: bool) -> dict[str, Any]:
    try:
        found = _values(series)
        if isinstance(found, np.ndarray):
            return _number_fields(name, found)
        return _text_fields(name, found, use_bytes)
    except CodecError as error:
        raise CodecError(f"column {name!r}: {error}") from None


def _values(series: Any) -> Array | list[Any]:
    """The numbers of a column as an array, or else its values, None for missing ones."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return _array(series, series.dtype)
    pandas = _pandas()
    if isinstance(series.dtype, pandas.CategoricalDtype):
        return _values(pandas.Series(np.asarray(series)))
    if isinstance(series.dtype, pandas.SparseDtype):
        return _values(series.sparse.to_dense())
    kind = series.dtype.kind
    if kind in "cm":
        raise CodecError(f"expected numbers, text or dates, found {series.dtype}")
    if kind in "biuf" and (numbers := _without_missing(series, kind)) is not None:
        return numbers
    missing = series.isna().to_numpy()
    return [None if absent else item for item, absent in zip(series.tolist(), missing, strict=True)]


def _without_missing(series: Any, kind: str) -> Array | None:
    """The array of a column of nullable numbers; None where what is missing has no place in one."""
    if not series.hasnans:
        return _array(series, series.dtype.numpy_dtype)
    if kind == "f":
        return _array(series, series.dtype.numpy_dtype, na_value=np.nan)
    known = series.dropna()
    if kind == "b" or (len(known) and max(abs(int(known.max())), abs(int(known.min()))) > _EXACT):
        return None
    return _array(series, np.dtype("<f8"), na_value=np.nan)


def _array(series: Any, dtype: np.dtype[Any], **options: Any) -> Array:
    array: Array = series.to_numpy(dtype=dtype, **options)
    return array


def _number_fields(name: str, array: Array) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [len(array), 1],
        "datatype": to_datatype(array.dtype).value,
        "parameters": None,
        "data": TensorData.over(array.reshape(-1, 1)),
    }


def _text_fields(name: str, items: list[Any], use_bytes: bool) -> dict[str, Any]:
    """The fields of a BYTES tensor in the plainest content type that has all of `items`."""
    present = [item for item in items if item is not None]
    if all(map(_is_text, present)):
        return bytes_fields(name, written(items, use_bytes), StringCodec.ContentType)
    for codec in (Base64Codec, DatetimeCodec):
        if codec.can_encode(present):
            return codec.fields(name, items, use_bytes)
    return bytes_fields(name, [encode_to_json(item, use_bytes) for item in items], JSON_CONTENT_TYPE)


def _is_text(item: Any) -> bool:
    if not isinstance(item, bytes):
        return isinstance(item, str)
    try:
        item.decode()
    except UnicodeDecodeError:
        return False
    return True


def _frame(tensors: Iterable[InputOrOutput]) -> Any:
    """The data frame whose columns are `tensors`."""
    columns = list(tensors)
    _check_unique([tensor.name for tensor in columns], "tensor")
    pandas = _pandas()
    cells = {tensor.name: _cells(tensor) for tensor in columns}
    if len({len(column) for column in cells.values()}) > 1:
        return pandas.DataFrame({name: pandas.Series(column) for name, column in cells.items()})
    return pandas.DataFrame(cells)


def _cells(tensor: InputOrOutput) -> Array | list[Any]:
    """What a column is made from: an array where its dtype is settled, else a list whose dtype pandas finds."""
    try:
        values = _decoded(tensor)
    except CodecError as error:
        raise CodecError(f"column {tensor.name!r}: {error}") from None
    settled = content_type_of(tensor) == JSON_CONTENT_TYPE or not len(values)
    return objects(values) if settled and isinstance(values, list) else values


def _decoded(tensor: InputOrOutput) -> Array | list[Any]:
    """The values of a column: as its own content type has them, or else as they are."""
    content_type = content_type_of(tensor)
    if content_type == JSON_CONTENT_TYPE:
        return decode_json_input_or_output(tensor)
    if has_decoded(tensor):
        return _one_dimension(get_decoded(tensor))
    codec = find_input_codec(content_type) if content_type else None
    if codec is not None:
        if isinstance(tensor, RequestInput):
            return _one_dimension(codec.decode_input(tensor))
        return _one_dimension(codec.decode_output(tensor))
    data = TensorData.of(tensor.data)
    if tensor.datatype != Datatype.BYTES:
        return _one_dimension(data.as_array(tensor.datatype, tensor.shape))
    elements = flat(data.root)
    shaped(np.empty(len(elements), np.bool_), tensor.shape)
    return elements


def _one_dimension(values: Any) -> Array | list[Any]:
    """A value per row: where a tensor has more, the cells of its column are arrays."""
    if not isinstance(values, np.ndarray):
        return list(values)
    if not values.ndim or values.size == len(values):
        return values.reshape(-1)
    if not values.size:
        # A shape of [2**40, 0] costs a caller nothing: nothing may be made for each of its rows.
        raise CodecError(f"expected a value for each row, found a shape of {list(values.shape)}")
    return objects(list(values))


def _check_unique(names: list[str], what: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise CodecError(f"expected a name for each {what}, found {twice!r} more than once")
