"""Tensors as bytes, the form that Triton's binary extension and gRPC's raw contents share.

Numbers are little-endian in row-major order; each element of BYTES follows its length as a uint32. Nothing is allocated
from a size that is only claimed: a buffer is measured before it is looked into.
"""

import struct
from math import prod

import numpy as np

from mlserver.errors import InferenceError, ModelError
from mlserver.types.tensors import DATATYPES, DTYPES, Array, Elements, Tensor

_LENGTH = struct.Struct("<I")


# numpy has no array of more dimensions, and an index no more bits.
_MAX_DIMENSIONS = 64
_MAX_SIZE = 2**63 - 1
# Elements of what a model may make of a tensor without any, say a sum for each of its rows, for which nobody has sent a
# byte: as many as a body of `max_body_bytes`, unless that is set, has of FP32.
_MAX_BESIDE_ZERO = 2**24


def size_of(datatype: str, shape: list[int], at: str) -> int:
    """How many elements a tensor has. Raises InferenceError for a datatype or shape that cannot be."""
    if datatype not in DATATYPES:
        known = ", ".join(sorted(DATATYPES))
        raise InferenceError(f"expected a datatype of {known}, got {datatype[:64]!r} - at `{at}.datatype`")
    if len(shape) > _MAX_DIMENSIONS:
        raise InferenceError(f"expected at most {_MAX_DIMENSIONS} dimensions, got {len(shape)} - at `{at}.shape`")
    if shape and min(shape) < 0:
        raise InferenceError(f"expected dimensions >= 0, got {_text_of(shape)} - at `{at}.shape`")
    size = prod(shape)
    if size > _MAX_SIZE:
        raise InferenceError(f"shape {_text_of(shape)} has more than 2^63 elements - at `{at}.shape`")
    if not size and prod(filter(None, shape)) > _MAX_BESIDE_ZERO:
        raise InferenceError(f"shape {_text_of(shape)} has no elements and too many rows - at `{at}.shape`")
    return size


def data_of(buffer: bytes | memoryview, datatype: str, shape: list[int], at: str) -> Array | Elements:
    """The data of a tensor: a read-only array around `buffer`, or for BYTES a flat list of bytes.

    A shape that counts the bytes of a single text becomes that of one element (see `counts_bytes`).

    Raises InferenceError where the buffer is not of the size that datatype and shape say; `at` names the tensor there.
    """
    size = size_of(datatype, shape, at)
    if datatype == "BYTES":
        if size > 1 and size == len(buffer) - _LENGTH.size == _LENGTH.unpack_from(buffer)[0]:
            shape[:], size = [1] * len(shape), 1
        return _elements(buffer, size, at)
    dtype = DTYPES[datatype]
    if len(buffer) != size * dtype.itemsize:
        needs = f"shape {shape!s:.200} of {datatype} needs {size * dtype.itemsize} bytes"
        raise InferenceError(f"{needs}, got {len(buffer)} - at `{at}`")
    if datatype == "BOOL" and size:
        highest = np.frombuffer(buffer, np.uint8).max()
        if highest > 1:
            raise InferenceError(f"expected bytes 0 or 1 for BOOL, got {highest} - at `{at}`")
    return shaped(np.frombuffer(buffer, dtype), shape, at)


def bytes_of(tensor: Tensor) -> bytes:
    """The data of `tensor` as bytes. Raises ModelError for null, which has no such form."""
    data = tensor.data
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data, DTYPES[tensor.datatype]).tobytes()
    pieces: list[bytes] = []
    for item in encoded(tensor.name, data):
        pieces += (_LENGTH.pack(len(item)), item)
    return b"".join(pieces)


def encoded(name: str, elements: Elements) -> list[bytes]:
    """The elements of a BYTES tensor, text as UTF-8. Raises ModelError that names the tensor for null."""
    try:
        return [item if isinstance(item, bytes) else item.encode() for item in elements]
    except (AttributeError, UnicodeEncodeError) as error:
        reason = "null has no form in bytes" if isinstance(error, AttributeError) else str(error)
        raise ModelError(f"output {name!r} has an element that cannot be sent as bytes: {reason}") from None


def shaped(flat: Array, shape: list[int], at: str) -> Array:
    """`flat` in `shape`, of as many elements. Raises InferenceError for what is no shape of an array."""
    try:
        return flat.reshape(shape)
    except (ValueError, OverflowError):
        # Right in number, but more dimensions than numpy has, or empty with one it cannot address.
        raise InferenceError(f"shape {shape!s:.200} is not one of an array - at `{at}.shape`") from None


def _text_of(shape: list[int]) -> str:
    """A shape for a message; numbers of thousands of digits are not worth printing."""
    return f"{shape!s:.200}" if max(map(abs, shape)) <= _MAX_SIZE else "[...]"


def _elements(buffer: bytes | memoryview, size: int, at: str) -> Elements:
    if size > len(buffer) // _LENGTH.size:
        raise InferenceError(f"the shape needs {size} elements, more than {len(buffer)} bytes can hold - at `{at}`")
    elements: list[bytes] = []
    position = 0
    for _ in range(size):
        if position + _LENGTH.size > len(buffer):
            raise InferenceError(f"the shape needs {size} elements, the data have {len(elements)} - at `{at}`")
        (length,) = _LENGTH.unpack_from(buffer, position)
        position += _LENGTH.size
        if length > len(buffer) - position:
            left = len(buffer) - position
            raise InferenceError(f"element {len(elements)} says {length} bytes, {left} are left - at `{at}`")
        elements.append(bytes(buffer[position : position + length]))
        position += length
    if position != len(buffer):
        raise InferenceError(f"{len(buffer) - position} bytes follow the last of {size} elements - at `{at}`")
    return elements
