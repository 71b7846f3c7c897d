"""Rows that are predicted together: which requests may be, merging them, and splitting the answer.

Pure: nothing here waits, calls a model or knows who asked.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from mlserver.types.tensors import Array, Tensor, TensorRequest, TensorResponse

_pack = msgspec.msgpack.encode


class _Input(Protocol):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None


class _Output(Protocol):
    name: str
    parameters: dict[str, Any] | None


class Described(Protocol):
    """What a request says of itself; its tensors' data need not be decoded yet."""

    @property
    def inputs(self) -> Sequence[_Input]: ...

    @property
    def outputs(self) -> Sequence[_Output] | None: ...

    @property
    def parameters(self) -> dict[str, Any] | None: ...


def batch_key(model: str, version: str | None, request: Described) -> Hashable | None:
    """Requests with equal keys may share one `predict` of a row-wise model; None means never.

    The key is (model, version, input names, dtypes, row shapes, requested outputs, parameters): whatever a model could
    tell apart. A request without a leading dimension, or whose inputs disagree in it, has no rows.
    """
    rows = row_count(request)
    if rows < 1:
        return None
    if len(request.inputs) == 1 and not (request.parameters or request.outputs):
        # Nearly always, and then there is no need to look for what it has not. No key of the others is like that.
        (tensor,) = request.inputs
        if tensor.datatype != "BYTES" and not tensor.parameters:
            return (model, version, tensor.name, tensor.datatype, *tensor.shape[1:])
    inputs = []
    for tensor in request.inputs:
        if not tensor.shape or tensor.shape[0] != rows:
            return None
        kind = _kind(tensor) if tensor.datatype == "BYTES" else tensor.datatype
        inputs.append((tensor.name, kind, tuple(tensor.shape[1:]), _packed(tensor.parameters)))
    return (model, version, tuple(inputs), _outputs(request.outputs), _packed(request.parameters))


def _kind(tensor: _Input) -> str:
    """JSON brings text, the binary forms bytes: a codec can make another array of a stack of both than of each.

    What is not decoded yet is JSON.
    """
    data = getattr(tensor, "data", None)
    return "bytes" if isinstance(data, list) and any(isinstance(item, bytes) for item in data) else "BYTES"


def _outputs(outputs: Sequence[_Output] | None) -> Hashable:
    return tuple((output.name, _packed(output.parameters)) for output in outputs) if outputs else None


def _packed(parameters: dict[str, Any] | None) -> bytes | str | None:
    if not parameters:
        return None
    try:
        return _pack(parameters)
    except (OverflowError, TypeError):
        return repr(parameters)  # integers above 64 bits, which JSON has and msgpack has not


def row_count(request: Described) -> int:
    """The leading dimension of the first input; 0 where there is none."""
    return request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 0


def merge(requests: Sequence[TensorRequest]) -> TensorRequest:
    """One request with the rows of all, in order. They must have equal batch keys; ids and headers stay behind.

    It is a part of the first one's trace.
    """
    first = requests[0]
    if len(requests) == 1:
        return first
    inputs = [_merged([request.inputs[i] for request in requests]) for i in range(len(first.inputs))]
    merged = TensorRequest(first.model, first.version, inputs, None, first.parameters, first.outputs)
    merged.trace = first.trace
    return merged


def _merged(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    shape = [sum(tensor.shape[0] for tensor in tensors), *first.shape[1:]]
    data: Array | list[Any]
    if isinstance(first.data, np.ndarray):
        data = np.concatenate([tensor.data for tensor in tensors])
    else:
        data = [item for tensor in tensors for item in tensor.data]
    return Tensor(first.name, first.datatype, shape, data, first.parameters)


def rows_of(request: TensorRequest, start: int, stop: int) -> TensorRequest:
    """The rows `start:stop` of a request, as a request of its own around views of the same data."""
    inputs = [tensor.rows(start, stop) for tensor in request.inputs]
    return TensorRequest(
        request.model, request.version, inputs, request.id, request.parameters, request.outputs, request.headers
    )


def has_rows(response: TensorResponse, rows: int) -> bool:
    """Whether every output has one row per input row, so that the response can be split."""
    return all(tensor.shape and tensor.shape[0] == rows for tensor in response.outputs)


def split(response: TensorResponse, rows: Sequence[int]) -> list[TensorResponse]:
    """The inverse of `merge`: one response for each count of rows, around views of the same arrays."""
    parts = []
    start = 0
    for count in rows:
        outputs = [tensor.rows(start, start + count) for tensor in response.outputs]
        parts.append(
            TensorResponse(response.model, response.version, outputs, None, response.parameters, response.headers)
        )
        start += count
    return parts
