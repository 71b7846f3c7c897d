"""Inference requests from messages, and messages from requests."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from mlserver.errors import InferenceError
from mlserver.types.tensors import OutputRequest, Tensor, TensorRequest
from mlserver.wire.protobuf import contents, parameters
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest
from mlserver.wire.raw import bytes_of, data_of

Headers = Callable[[], Mapping[str, str]]
InferInputTensor = ModelInferRequest.InferInputTensor


def parsed(data: bytes) -> ModelInferRequest:
    """The message of `data`. Raises InferenceError."""
    try:
        return ModelInferRequest.FromString(data)
    except DecodeError as error:
        raise InferenceError(f"invalid ModelInferRequest: {error}") from None


def request_of(message: ModelInferRequest, headers: Headers | None = None) -> TensorRequest:
    """The request of a message; empty strings mean that there is none. Raises InferenceError that says where and what
    was expected.
    """
    sent = message.inputs
    if not sent:
        raise InferenceError("expected at least one input - at `inputs`")
    raw = message.raw_input_contents
    inputs = _raw(sent, raw) if raw else [input_of(value, f"inputs[{index}]") for index, value in enumerate(sent)]
    if len(inputs) > 1 and len({tensor.name for tensor in inputs}) < len(inputs):
        raise InferenceError("two inputs have the same name - at `inputs`")
    asked = message.outputs
    return TensorRequest(
        message.model_name,
        message.model_version or None,
        inputs,
        message.id or None,
        parameters.values_of(message.parameters),
        [OutputRequest(output.name, parameters.values_of(output.parameters)) for output in asked] if asked else None,
        headers,
    )


def input_of(message: InferInputTensor, at: str = "input") -> Tensor:
    """The tensor of an input with typed contents. Raises InferenceError."""
    datatype, shape = message.datatype, list(message.shape)
    values = parameters.values_of(message.parameters)
    if values is not None:
        _no_shared_memory(values, at)
    data = contents.data_of(message.contents, datatype, shape, at)
    return Tensor(message.name, datatype, shape, data, values)


def _raw(sent: Sequence[InferInputTensor], raw: Sequence[bytes]) -> list[Tensor]:
    for index, message in enumerate(sent):
        if message.parameters:
            _no_shared_memory(message.parameters, f"inputs[{index}]")
        if message.HasField("contents"):
            raise InferenceError(f"expected no contents beside raw_input_contents - at `inputs[{index}].contents`")
    if len(raw) != len(sent):
        raise InferenceError(f"expected raw contents for {len(sent)} inputs, got {len(raw)} - at `raw_input_contents`")
    tensors = []
    for index, (message, buffer) in enumerate(zip(sent, raw, strict=True)):
        datatype, shape = message.datatype, list(message.shape)
        data = data_of(buffer, datatype, shape, f"inputs[{index}]")
        tensors.append(Tensor(message.name, datatype, shape, data, parameters.values_of(message.parameters)))
    return tensors


def _no_shared_memory(values: Mapping[str, Any], at: str) -> None:
    if "shared_memory_region" in values:
        raise InferenceError(f"shared memory is not supported: send the data themselves - at `{at}.parameters`")


def message_of(request: TensorRequest, *, raw: bool = False) -> ModelInferRequest:
    """The message of a request, for callers: with raw contents where asked, or where an input has no other form."""
    message = ModelInferRequest(model_name=request.model, model_version=request.version or "", id=request.id or "")
    parameters.put(request.parameters, message.parameters)
    raw = raw or any(tensor.datatype not in contents.FIELD for tensor in request.inputs)
    for tensor in request.inputs:
        put_input(tensor, message.inputs.add(), raw=raw)
        if raw:
            message.raw_input_contents.append(bytes_of(tensor))
    for output in request.outputs or ():
        asked = message.outputs.add(name=output.name)
        parameters.put(output.parameters, asked.parameters)
    return message


def put_input(tensor: Tensor, message: InferInputTensor, *, raw: bool) -> None:
    """Write an input; its data are left to raw contents where `raw`."""
    message.name, message.datatype = tensor.name, tensor.datatype
    message.shape.extend(tensor.shape)
    parameters.put(tensor.parameters, message.parameters)
    if not raw:
        contents.put(tensor.data, tensor.datatype, tensor.name, message.contents)
