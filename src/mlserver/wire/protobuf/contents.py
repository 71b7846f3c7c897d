"""Typed contents: the elements of a tensor in the repeated field of its datatype.

Floats and booleans are packed on the wire exactly as an array holds them, so that they are moved as one piece, by way
of the message's own encoding: 64,000 doubles take 0.5 ms, element by element 4.
"""

from typing import Any

import numpy as np

from mlserver.errors import CodecError, InferenceError
from mlserver.types.arrays import cast, counts_bytes
from mlserver.types.tensors import DTYPES, Array, Elements
from mlserver.wire.protobuf.dataplane_pb2 import InferTensorContents
from mlserver.wire.raw import encoded, shaped, size_of

FIELD = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of each datatype. FP16 and BF16 have none."""
_DTYPE = {
    "bool_contents": np.dtype("?"),
    "int_contents": np.dtype("<i4"),
    "int64_contents": np.dtype("<i8"),
    "uint_contents": np.dtype("<u4"),
    "uint64_contents": np.dtype("<u8"),
    "fp32_contents": np.dtype("<f4"),
    "fp64_contents": np.dtype("<f8"),
}
# The first byte of a message whose only field is this one, packed: field number and wire type 2.
_PACKED = {
    name: InferTensorContents.DESCRIPTOR.fields_by_name[name].number << 3 | 2
    for name in ("bool_contents", "fp32_contents", "fp64_contents")
}
_VARINT_BITS, _VARINT_MASK = 7, 0x7F


def data_of(contents: InferTensorContents, datatype: str, shape: list[int], at: str) -> Array | Elements:
    """The data of a tensor. Numbers may be in another field than the datatype's own, where they fit it.

    A shape that counts the bytes of a single text becomes that of one element (see `counts_bytes`).

    Raises InferenceError that says what was expected and found; `at` names the tensor there.
    """
    size = size_of(datatype, shape, at)
    field = FIELD.get(datatype)
    if field is None:
        raise InferenceError(f"{datatype} has no typed contents: send it in raw_input_contents - at `{at}.contents`")
    found = _field(contents, field, at)
    values: Any = getattr(contents, found)
    if datatype == "BYTES" and counts_bytes(size, values):
        shape[:], size = [1] * len(shape), 1
    if len(values) != size:
        raise InferenceError(f"shape {shape!s:.200} needs {size} elements, {found} has {len(values)} - at `{at}`")
    if datatype == "BYTES":
        if found != field:
            raise InferenceError(f"expected bytes_contents for BYTES, got {found} - at `{at}.contents`")
        return list(values)
    return shaped(_numbers(contents, found, datatype, at), shape, at)


def put(data: Array | Elements, datatype: str, name: str, contents: InferTensorContents) -> None:
    """Write the data of tensor `name` into `contents`. Raises ModelError for null in BYTES."""
    field = FIELD[datatype]
    if not isinstance(data, np.ndarray):
        contents.bytes_contents.extend(encoded(name, data))
        return
    tag = _PACKED.get(field)
    if tag is None:
        getattr(contents, field).extend(data.ravel().tolist())
    elif data.size:
        packed = np.ascontiguousarray(data, _DTYPE[field]).tobytes()
        contents.MergeFromString(b"%c%b%b" % (tag, _varint(len(packed)), packed))


def _field(contents: InferTensorContents, field: str, at: str) -> str:
    """The name of the field that the elements are in."""
    filled = [descriptor.name for descriptor, _ in contents.ListFields()]
    if len(filled) > 1:
        raise InferenceError(f"expected one kind of contents, got {', '.join(filled)} - at `{at}.contents`")
    found = filled[0] if filled else field
    if found == "bytes_contents" and field != found:
        raise InferenceError(f"expected {field}, got bytes_contents - at `{at}.contents`")
    return found


def _numbers(contents: InferTensorContents, field: str, datatype: str, at: str) -> Array:
    tag = _PACKED.get(field)
    flat = None if tag is None else _packed(contents.SerializeToString(), tag, _DTYPE[field])
    if flat is None:
        flat = np.array(getattr(contents, field), _DTYPE[field])
    try:
        return flat if flat.dtype == DTYPES[datatype] else cast(flat, datatype)
    except CodecError as error:
        raise InferenceError(f"{error} - at `{at}.contents.{field}`") from None


def _packed(message: bytes, tag: int, dtype: np.dtype[Any]) -> Array | None:
    """The array around the packed field that `message` begins with; None where it begins with another."""
    if not message or message[0] != tag:
        return None
    length = position = shift = 0
    while True:
        position += 1
        length |= (message[position] & _VARINT_MASK) << shift
        if message[position] <= _VARINT_MASK:
            break
        shift += _VARINT_BITS
    return np.frombuffer(message, dtype, length // dtype.itemsize, position + 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > _VARINT_MASK:
        out.append(value & _VARINT_MASK | 0x80)
        value >>= _VARINT_BITS
    out.append(value)
    return bytes(out)
