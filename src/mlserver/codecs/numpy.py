"""Arrays: content type `np`."""

from typing import Any

import numpy as np

from mlserver.codecs.base import InputCodec
from mlserver.codecs.lists import is_list_of
from mlserver.codecs.text import utf8
from mlserver.codecs.utils import InputOrOutput, SingleInputRequestCodec, inject_batch_dimension
from mlserver.errors import CodecError
from mlserver.types import Datatype, RequestInput, ResponseOutput, TensorData
from mlserver.types.arrays import dtype_of
from mlserver.types.base import construct
from mlserver.types.parameters import lazy_parameters
from mlserver.types.tensors import DTYPES, Array

# BF16 is not among them: its bit patterns look like any other UINT16.
_DATATYPES = {dtype: Datatype(datatype) for datatype, dtype in DTYPES.items() if datatype != "BF16"}
_VARIABLE = "OSU"


def to_datatype(dtype: np.dtype[Any]) -> Datatype:
    """The protocol's datatype of a dtype, BYTES for strings, bytes and objects; CodecError where it has none."""
    datatype = _DATATYPES.get(dtype)
    if datatype is not None:
        return datatype
    if dtype.kind in _VARIABLE:
        return Datatype.BYTES
    try:
        return _DATATYPES[dtype.newbyteorder("<")]
    except KeyError:
        raise CodecError(f"expected numbers, booleans or strings, found an array of {dtype}") from None


def to_dtype(input_or_output: InputOrOutput) -> np.dtype[Any]:
    """The dtype of a tensor; for BYTES unicode if its data are strings, else bytes as wide as its last dimension."""
    if input_or_output.datatype != Datatype.BYTES:
        return dtype_of(input_or_output.datatype)
    if is_list_of(TensorData.of(input_or_output.data), str):
        return np.dtype(np.str_)
    return np.dtype(f"S{input_or_output.shape[-1]}")


class NumpyCodec(InputCodec):
    """One tensor as an array.

    Encoding keeps the array and gives 1-D arrays of N the shape `[N, 1]` and scalars `[1]`. Decoding gives exactly the
    tensor's shape, without a copy where it holds an array of that datatype.
    """

    ContentType = "np"
    TypeHint = np.ndarray

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is an array."""
        return isinstance(payload, np.ndarray)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """The output for an array; strings become bytes, or stay `str` with `use_bytes=False`.

        A bytes array becomes one value that holds its whole buffer. Raises CodecError for dtypes the protocol lacks.
        """
        return construct(ResponseOutput, cls._fields(name, payload, use_bytes))

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Array:
        """The array of an output. Raises CodecError where data, datatype and shape do not agree."""
        return TensorData.of(response_output.data).as_array(response_output.datatype, response_output.shape)

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """The input for an array; see `encode_output`."""
        return construct(RequestInput, cls._fields(name, payload, use_bytes))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Array:
        """The array of an input. Raises CodecError where data, datatype and shape do not agree."""
        return TensorData.of(request_input.data).as_array(request_input.datatype, request_input.shape)

    @classmethod
    def _fields(cls, name: str, payload: Any, use_bytes: bool) -> dict[str, Any]:
        array = np.asarray(payload)
        datatype = to_datatype(array.dtype)
        data: Array | list[Any] = array
        if datatype is Datatype.BYTES:
            data = _values(array, use_bytes)
        return {
            "name": name,
            "shape": inject_batch_dimension(list(array.shape)),
            "datatype": datatype.value,
            "parameters": lazy_parameters({"content_type": cls.ContentType}),
            "data": TensorData.over(data),
        }


def _values(array: Array, use_bytes: bool) -> list[Any]:
    """The elements of an array of strings, bytes or objects, flat."""
    if array.dtype.kind == "S":
        return [array.tobytes()]
    items: list[Any] = array.ravel().tolist()
    return utf8(items) if use_bytes and array.dtype.kind == "U" else items


class NumpyRequestCodec(SingleInputRequestCodec):
    """A request or response of exactly one tensor as an array."""

    InputCodec = NumpyCodec
    ContentType = NumpyCodec.ContentType
    TypeHint = NumpyCodec.TypeHint
