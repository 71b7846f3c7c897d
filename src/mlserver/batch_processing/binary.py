"""The protocol's binary tensors, from the caller's side: a JSON header, then the bytes of the tensors in order."""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import orjson

from mlserver.batch_processing.lines import Message
from mlserver.batch_processing.merging import flattened, is_shape
from mlserver.batch_processing.transport import RequestFailed
from mlserver.types.tensors import DTYPES

HEADER = "Inference-Header-Content-Length"

_LENGTH_BYTES = 4


def encode(request: Message) -> tuple[bytes, int]:
    """The body of `request`, and how many of its bytes are the JSON header; every output is asked for in binary too.

    Raises RequestFailed that names the input whose data does not fit its datatype and shape.
    """
    inputs, tensors = [], []
    for number, tensor in enumerate(request.get("inputs") or []):
        raw = _raw(tensor, f"inputs[{number}]")
        tensors.append(raw)
        parameters = {**(tensor.get("parameters") or {}), "binary_data_size": len(raw)}
        inputs.append({name: value for name, value in tensor.items() if name != "data"} | {"parameters": parameters})
    wanted = {"binary_data_output": True, **(request.get("parameters") or {})}
    header = orjson.dumps({**request, "parameters": wanted, "inputs": inputs})
    return b"".join([header, *tensors]), len(header)


def decode(body: bytes, header_bytes: int) -> Message:
    """The response in `body`, its tensors as lists. Raises RequestFailed where it is cut or says what is not so."""
    try:
        response: Message = orjson.loads(body[:header_bytes])
        start = header_bytes
        for tensor in response["outputs"]:
            parameters = tensor.get("parameters") or {}
            size = parameters.pop("binary_data_size", None)
            if size is not None:
                tensor["data"] = _elements(body[start : start + size], tensor)
                start += size
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RequestFailed(f"the answer's binary tensors cannot be read: {error}", again=False) from None
    return response


def _raw(tensor: Any, place: str) -> bytes:
    """The bytes of an input's data."""
    try:
        datatype, shape = tensor["datatype"], tensor["shape"]
        elements = flattened(tensor["data"])
        if not is_shape(shape) or len(elements) != prod(shape):
            raise ValueError(f"shape {shape} does not fit {len(elements)} elements")
        if datatype == "BYTES":
            return b"".join(_prefixed(element) for element in elements)
        return _numbers(elements, datatype)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        missing = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise RequestFailed(f"{place}: cannot be sent as a binary tensor: {missing}", again=False) from None


def _numbers(elements: list[Any], datatype: str) -> bytes:
    """Numbers little-endian, null as NaN; what the datatype cannot hold is refused and never made to fit."""
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise ValueError(f"datatype {datatype!r:.40} has no binary form here")
    if dtype.kind == "f":
        with np.errstate(over="raise"):
            try:
                return np.array(elements, dtype).tobytes()
            except FloatingPointError:
                raise ValueError(f"a number is too large for {datatype}") from None
    if not all(isinstance(element, bool | int) for element in elements):
        raise ValueError(f"expected values of {datatype}, got something else among them")
    array = np.array(elements, dtype)
    if array.tolist() != elements:
        raise ValueError(f"a value does not fit {datatype}")
    return array.tobytes()


def _prefixed(element: Any) -> bytes:
    if not isinstance(element, str):
        raise ValueError(f"expected text for BYTES, got {element!r:.40}")
    text = element.encode()
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _elements(raw: bytes, tensor: Message) -> list[Any]:
    """The elements in `raw`. Raises ValueError, TypeError or KeyError."""
    name, datatype, shape = tensor["name"], tensor["datatype"], tensor["shape"]
    if not is_shape(shape):
        raise ValueError(f"output {name!r} has no shape")
    elements = list(_texts(raw)) if datatype == "BYTES" else np.frombuffer(raw, DTYPES[datatype]).tolist()
    if len(elements) != prod(shape):
        raise ValueError(f"output {name!r} of shape {shape} has {len(elements)} elements")
    return elements


def _texts(raw: bytes) -> Iterator[str]:
    start = 0
    while start < len(raw):
        size = int.from_bytes(raw[start : start + _LENGTH_BYTES], "little")
        start += _LENGTH_BYTES
        if len(raw) < start + size:
            raise ValueError("a text is cut")
        yield raw[start : start + size].decode()
        start += size
