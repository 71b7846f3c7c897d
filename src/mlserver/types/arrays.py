"""Lists and arrays to arrays of a datatype, without ever changing a number in silence.

All functions raise CodecError that names what was expected and what was found.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlserver.errors import CodecError
from mlserver.types.tensors import DATATYPES, DTYPES, Array

# Up to here every integer has a float of its own.
_EXACT = 2**53


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of a fixed-width `datatype`."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        known = ", ".join(sorted(DATATYPES))
        raise CodecError(f"expected a datatype of {known}, found {str(datatype)[:64]!r}")
    return dtype


def array_of(data: Any, datatype: str) -> Array:
    """An array of `datatype` from a list, nested or flat, or from a single value; null is NaN for floats.

    For BYTES see `text_array`. The shape is that of the nesting.
    """
    dtype = dtype_of(datatype)
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as error:
        raise CodecError(f"expected numbers of {datatype} in rows of equal length: {error}") from None
    if array.dtype.kind == "O" and dtype.kind == "f":
        return _with_nulls(data, datatype)
    if array.dtype.kind == "f" and dtype.kind in "iu" and array.size and np.abs(array).max() >= _EXACT:
        return _large(data, datatype)
    return cast(array, datatype)


def cast(array: Array, datatype: str) -> Array:
    """`array` as it is where its dtype is that of `datatype`, else a copy of that dtype.

    Rounding between floats is accepted; a fraction, a NaN or a number out of range is not.
    """
    dtype = dtype_of(datatype)
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise CodecError(f"expected numbers of {datatype}, found {_kind(array)}")
    try:
        with np.errstate(over="raise", invalid="ignore"):
            result = array.astype(dtype)
    except FloatingPointError:
        raise CodecError(f"expected numbers of {datatype}, found one that is too large for it") from None
    if dtype.kind != "f" and not np.array_equal(result, array):
        raise CodecError(f"expected numbers of {datatype}, found {_misfit(array, result)}")
    return result


def shaped(array: Array, shape: list[int]) -> Array:
    """`array` in `shape`, of which one dimension may be -1; a view where numpy can."""
    try:
        return array.reshape(shape)
    except (ValueError, TypeError, OverflowError):
        raise CodecError(f"expected data of shape {list(shape)!s:.200}, found {array.size} elements") from None


def text_array(data: Any, shape: list[int]) -> Array:
    """The elements of a BYTES tensor in `shape`: strings as a unicode array, bytes as a bytes array, else as objects.

    Fewer `bytes` values than elements are buffers of fixed-width items, as the numpy codec writes them.
    """
    items = flat(data)
    if all(isinstance(item, str) for item in items):
        return shaped(np.array(items, dtype=np.str_), shape)
    if not all(isinstance(item, bytes) for item in items):
        return shaped(objects(items), shape)
    size = abs(int(np.prod(shape)))
    if len(items) != size and size and min(shape, default=0) >= 0:
        return shaped(_items(b"".join(items), size, shape), shape)
    array = np.array(items, dtype=np.bytes_)
    # numpy strips trailing zeros from fixed-width items; where that would change a value, keep the objects.
    return shaped(array if array.tolist() == items else objects(items), shape)


def counts_bytes(size: int, elements: Sequence[Any]) -> bool:
    """Whether a shape of `size` elements counts the bytes of the only text there is.

    MLServer's own examples send a text so, `shape=[len(text)], data=[text]`, and so do clients and runtimes made after
    them.
    """
    if size < 2 or len(elements) != 1:
        return False
    text = elements[0]
    if isinstance(text, str):
        return size in (len(text), len(text.encode(errors="replace")))
    return isinstance(text, bytes) and size == len(text)


def flat(data: Any) -> list[Any]:
    """The elements of a nested list in row-major order; a single value is a list of one."""
    if not isinstance(data, list | tuple):
        return [data]
    if not any(isinstance(item, list | tuple) for item in data):
        return list(data)
    return [element for item in data for element in flat(item)]


def _with_nulls(data: Any, datatype: str) -> Array:
    try:
        with np.errstate(over="raise"):
            return np.array(data, dtype=DTYPES[datatype])
    except (TypeError, ValueError, OverflowError, FloatingPointError) as error:
        raise CodecError(f"expected numbers of {datatype} or null: {error}") from None


def _large(data: Any, datatype: str) -> Array:
    """Integers that numpy, left alone, makes floats of: those that need all 64 bits, beside smaller ones."""
    items = np.array(data, dtype=object)
    dtype = DTYPES[datatype]
    bounds = np.iinfo(dtype)
    wrong = next((item for item in items.flat if not bounds.min <= item <= bounds.max or int(item) != item), None)
    if wrong is not None:
        raise CodecError(f"expected numbers of {datatype}, found {wrong!r:.40}")
    return items.astype(dtype)


def objects(items: list[Any]) -> Array:
    """An array with an element for each item, whatever that is."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _items(buffer: bytes, size: int, shape: list[int]) -> Array:
    width, rest = divmod(len(buffer), size)
    if rest or not width:
        raise CodecError(f"expected data of shape {shape}, found {len(buffer)} bytes, which are not {size} equal items")
    return np.frombuffer(buffer, dtype=f"S{width}").copy()


def _kind(array: Array) -> str:
    if array.dtype.kind == "O":
        first = next((item for item in array.ravel() if not isinstance(item, int | float)), None)
        return "null" if first is None else f"{type(first).__name__} {first!r:.40}"
    return {"U": "strings", "S": "bytes"}.get(array.dtype.kind, str(array.dtype))


def _misfit(array: Array, result: Array) -> str:
    first = array.ravel()[np.flatnonzero(array.ravel() != result.ravel())[0]]
    return f"{first.item()!r:.40}"
