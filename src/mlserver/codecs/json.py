"""Values as JSON text: the cells of data frames that are neither numbers nor text, and helpers for runtimes."""

import datetime
import json
from typing import Any

import numpy as np
import orjson

from mlserver.codecs.text import text_of
from mlserver.codecs.utils import InputOrOutput
from mlserver.errors import CodecError
from mlserver.types import TensorData
from mlserver.types.arrays import flat


def _plain(value: Any) -> Any:
    """A value that JSON knows for one that it does not. Raises TypeError where there is none."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class JSONEncoderWithArray(json.JSONEncoder):
    """Writes arrays as lists, numpy's scalars as numbers, bytes as UTF-8 text and dates in ISO 8601."""

    def default(self, o: Any) -> Any:
        """What stands for `o`. Raises TypeError where nothing does."""
        return _plain(o)


def encode_to_json(v: Any, use_bytes: bool = True) -> bytes | str:
    """`v` as compact JSON, UTF-8 bytes or `str`. Raises CodecError for NaN, infinity, and what JSON does not know."""
    try:
        text = json.dumps(v, cls=JSONEncoderWithArray, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode() if use_bytes else text
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError(f"expected what JSON can say: {error}") from None


def encode_to_json_bytes(v: Any) -> bytes:
    """`v` as compact JSON in UTF-8, NaN and infinity as null. Raises CodecError for what JSON does not know."""
    try:
        return orjson.dumps(v, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise CodecError(f"expected what JSON can say: {error}") from None


def decode_from_bytelike_json_to_dict(v: bytes | str) -> Any:
    """The value of a JSON text. Raises CodecError where it is none."""
    if not isinstance(v, bytes | str):
        raise CodecError(f"expected JSON text, found {type(v).__name__}")
    try:
        return json.loads(v)
    except RecursionError:
        raise CodecError("expected JSON text, found one that is nested too deeply") from None
    except ValueError as error:
        raise CodecError(f"expected JSON text, found {v[:40]!r}: {error}") from None


def decode_json_input_or_output(input_or_output: InputOrOutput) -> list[Any]:
    """The values of a tensor whose elements are JSON texts each; None where an element is null."""
    elements = flat(TensorData.of(input_or_output.data).root)
    return [None if element is None else decode_from_bytelike_json_to_dict(element) for element in elements]
