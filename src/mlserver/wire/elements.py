"""Tensor data that the fast reader cannot take - strings, booleans, nulls, mixed numbers - element by element.

Slower by design: it is what finds out *which* element is wrong and says so.
"""

from collections.abc import Iterator
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
            raise InferenceError(f"expected a string for BYTES, got {_shown(item)} - at `{at}.data[{position}]`")
    return items


def array_of(text: bytes, datatype: str, at: str) -> Array:
    """The elements of a fixed-width tensor, flat; null is NaN for floats. Raises InferenceError naming the first
    element that does not fit.
    """
    dtype = DTYPES[datatype]
    values = []
    for position, item in enumerate(_flat(_decode(text, at), at)):
        value = _value(item, dtype)
        if value is None:
            expected = f"expected a value of {datatype}, got {_shown(item)}"
            raise InferenceError(f"{expected} - at `{at}.data[{position}]`")
        values.append(value)
    return np.array(values, dtype)


def _value(item: Any, dtype: np.dtype[Any]) -> float | None:
    """`item` as a number that `dtype` can hold; None where it is none."""
    if dtype.kind == "b":
        return bool(item) if isinstance(item, bool | int | float) and item in (0, 1) else None
    if item is None and dtype.kind == "f":
        return float("nan")
    if isinstance(item, bool) or not isinstance(item, int | float):
        return None
    if dtype.kind == "f":
        return float(item) if abs(item) <= float(np.finfo(dtype).max) else None
    limits = np.iinfo(dtype)
    return int(item) if limits.min <= item <= limits.max and item == int(item) else None


def _decode(text: bytes, at: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InferenceError(f"invalid JSON: {error} - at `{at}.data`") from None


def _flat(value: Any, at: str, depth: int = 0) -> Iterator[Any]:
    """Elements in row-major order; a bare value is a tensor of one."""
    if not isinstance(value, list):
        yield value
        return
    if depth >= _MAX_NESTING:
        raise InferenceError(f"nested deeper than {_MAX_NESTING} dimensions - at `{at}.data`")
    for item in value:
        if isinstance(item, list):
            yield from _flat(item, at, depth + 1)
        else:
            yield item


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {item!r:.40}" if item is not None else "null"
