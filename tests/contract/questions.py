"""What is asked, in no form yet; and each form that REST, gRPC and Kafka have for it, written by hand."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlserver.grpc.dataplane_pb2 import ModelInferRequest

DTYPES = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "<u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
_FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_KINDS = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}


class NoFormError(Exception):
    """The question cannot be asked in this form at all."""


@dataclass(frozen=True)
class Input:
    """A tensor; `data` are flat, of BYTES they are text."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """An inference request. `outputs` are names and parameters."""

    model: str
    inputs: list[Input]
    version: str = ""
    id: str = "one"
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)


def as_json(question: Question) -> bytes:
    """The body in JSON."""
    return _head(question, [{"data": value.data} for value in question.inputs], question.parameters)


def as_binary(question: Question) -> tuple[bytes, int]:
    """The body with binary tensors, and how many bytes of it are JSON."""
    buffers = [_buffer(value) for value in question.inputs]
    sizes = [
        {"parameters": {**value.parameters, "binary_data_size": len(buffer)}}
        for value, buffer in zip(question.inputs, buffers, strict=True)
    ]
    head = _head(question, sizes, {**question.parameters, "binary_data_output": True})
    return head + b"".join(buffers), len(head)


def as_message(question: Question, *, raw: bool) -> ModelInferRequest:
    """The message, with raw or typed contents."""
    message = ModelInferRequest(model_name=question.model, model_version=question.version, id=question.id)
    _put(question.parameters, message.parameters)
    for value in question.inputs:
        tensor = message.inputs.add(name=value.name, datatype=value.datatype, shape=value.shape)
        _put(value.parameters, tensor.parameters)
        if raw:
            message.raw_input_contents.append(_buffer(value))
        else:
            _fill(value, tensor.contents)
    for name, parameters in question.outputs.items():
        _put(parameters, message.outputs.add(name=name).parameters)
    return message


def values_of(parameters: Any) -> dict[str, Any]:
    """Parameters of a message as plain values."""
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}


def numbers(datatype: str, buffer: bytes) -> list[Any]:
    """The elements of a raw tensor; BYTES as text."""
    if datatype != "BYTES":
        found: list[Any] = np.frombuffer(buffer, DTYPES[datatype]).tolist()
        return found
    texts = []
    while buffer:
        (length,) = struct.unpack("<I", buffer[:4])
        texts.append(buffer[4 : 4 + length].decode())
        buffer = buffer[4 + length :]
    return texts


def rounded(datatype: str, data: list[Any]) -> list[Any]:
    """Numbers of JSON, which have as few digits as tell them apart, as what their datatype has."""
    if datatype == "BYTES":
        return data
    found: list[Any] = np.array(data, DTYPES[datatype]).tolist()
    return found


def typed(datatype: str, contents: Any) -> list[Any]:
    """The elements of typed contents; BYTES as text."""
    found = list(getattr(contents, _FIELDS[datatype]))
    return [item.decode() for item in found] if datatype == "BYTES" else found


def _head(question: Question, bodies: list[dict[str, Any]], parameters: dict[str, Any]) -> bytes:
    inputs = []
    for value, body in zip(question.inputs, bodies, strict=True):
        described = {"name": value.name, "shape": value.shape, "datatype": value.datatype}
        inputs.append({**described, "parameters": value.parameters, **body})
    outputs = [{"name": name, "parameters": asked} for name, asked in question.outputs.items()]
    fields: dict[str, Any] = {"id": question.id, "parameters": parameters, "inputs": inputs}
    return json.dumps(fields | ({"outputs": outputs} if outputs else {})).encode()


def _buffer(value: Input) -> bytes:
    try:
        if value.datatype == "BYTES":
            encoded = [item.encode() for item in value.data]
            return b"".join(struct.pack("<I", len(item)) + item for item in encoded)
        if any(isinstance(item, str) for item in value.data):
            raise NoFormError
        return np.array(value.data, DTYPES.get(value.datatype, "<f8")).tobytes()
    except (OverflowError, AttributeError) as error:
        raise NoFormError from error


def _fill(value: Input, contents: Any) -> None:
    text = any(isinstance(item, str) for item in value.data)
    name = "bytes_contents" if text else _FIELDS.get(value.datatype, "fp64_contents")
    data = [item.encode() for item in value.data] if text else value.data
    if value.datatype == "FP16":
        raise NoFormError
    try:
        getattr(contents, name).extend(data)
    except (ValueError, TypeError) as error:
        raise NoFormError from error


def _put(values: dict[str, Any], into: Any) -> None:
    for name, value in values.items():
        setattr(into[name], _KINDS[type(value)], value)
