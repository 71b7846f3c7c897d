"""Parameters: maps of strings to values of five kinds."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
import orjson

from mlserver.errors import ModelError
from mlserver.wire.protobuf.dataplane_pb2 import InferParameter

_INT64, _UINT64 = range(-(2**63), 2**63), range(2**64)


def values_of(parameters: Mapping[str, InferParameter]) -> dict[str, Any] | None:
    """Names and values; None where there are none. A parameter without a value is left out."""
    if not parameters:
        return None
    values = {}
    for name, parameter in parameters.items():
        kind = parameter.WhichOneof("parameter_choice")
        if kind is not None:
            values[name] = getattr(parameter, kind)
    return values


def put(values: Mapping[str, Any] | None, into: MutableMapping[str, InferParameter]) -> None:
    """Write `values` into a message's map. What is none of the five kinds - lists, objects - goes as JSON text, and
    None stays away. Raises ModelError for what has no JSON.
    """
    for name, value in (values or {}).items():
        if value is not None:
            _put(name, value.item() if isinstance(value, np.generic) else value, into[name])


def _put(name: str, value: Any, parameter: InferParameter) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int) and value in _INT64:
        parameter.int64_param = value
    elif isinstance(value, int) and value in _UINT64:
        parameter.uint64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value if isinstance(value, str) else _json(name, value)


def _json(name: str, value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError as error:
        raise ModelError(f"parameter {name!r} cannot be sent: {error}") from None
