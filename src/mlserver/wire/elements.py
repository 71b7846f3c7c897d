"""Tensor data that the fast reader cannot take - strings, booleans, nulls, mixed numbers - element by element.

Slower by design: it is what finds out *which* element is wrong and says so.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from mlserver.errors import InferenceError
from mlserver.types.tensors import DTYPES, Array

# Deep enough for any tensor in use (numpy stops at 64 dimensions), far below the interpreter's recursion limit.
_MAX_NESTING = 64


def bytes_of(text: bytes, at: str) -> list[str | None]:
    """The strings of a BYTES tensor, flat. Raises InferenceError naming the first element that is none."""
    items = list(_flat(_decode(text, at), at))
    for position, item in enumerate(items):
        if item is not None and not isinstance(item, str):
            raise InferenceError(f"expected a string for BYTES, got {_shown(item)} - at {at}.data[{position}]`")
    return items


def array_of(text: bytes, datatype: str, at: str) -> Array:
    """The elements of a fixed-width tensor, flat; null is NaN for floats. Raises InferenceError naming the first
    element that does not fit.
    """
    dtype = DTYPES[datatype]
    items = list(_flat(_decode(text, at), at))
    out = np.empty(len(items), dtype)
    convert = _CONVERT.get(dtype.kind, _int)
    for position, item in enumerate(items):
        try:
            with np.errstate(over="raise"):
                out[position] = convert(item)
        except (TypeError, ValueError, OverflowError, FloatingPointError):
            expected = f"expected a value of {datatype}, got {_shown(item)}"
            raise InferenceError(f"{expected} - at {at}.data[{position}]`") from None
    return out


def _decode(text: bytes, at: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InferenceError(f"invalid JSON: {error} - at {at}.data`") from None


def _flat(value: Any, at: str, depth: int = 0) -> Iterator[Any]:
    """Elements in row-major order; a bare value is a tensor of one."""
    if not isinstance(value, list):
        yield value
        return
    if depth >= _MAX_NESTING:
        raise InferenceError(f"nested deeper than {_MAX_NESTING} dimensions - at {at}.data`")
    for item in value:
        if isinstance(item, list):
            yield from _flat(item, at, depth + 1)
        else:
            yield item


def _float(item: Any) -> float:
    if item is None:
        return float("nan")
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise TypeError
    return float(item)


def _int(item: Any) -> int:
    if isinstance(item, bool) or not isinstance(item, int | float) or int(item) != item:
        raise TypeError
    return int(item)


def _bool(item: Any) -> bool:
    if item in (0, 1) and isinstance(item, bool | int):
        return bool(item)
    raise TypeError


_CONVERT: dict[str, Callable[[Any], float | bool]] = {"f": _float, "b": _bool}


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {item!r:.40}" if item is not None else "null"
