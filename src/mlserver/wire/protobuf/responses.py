"""Inference responses to messages, and responses from messages."""

from mlserver.errors import InferenceError
from mlserver.types.tensors import Tensor, TensorResponse
from mlserver.wire.protobuf import contents, parameters
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferResponse
from mlserver.wire.raw import bytes_of, data_of

InferOutputTensor = ModelInferResponse.InferOutputTensor


def message_of(response: TensorResponse, *, raw: bool) -> ModelInferResponse:
    """The message of a response: with raw contents where asked, or where an output has no other form; headers are
    nobody's here.

    Raises ModelError that names what cannot be sent.
    """
    message = ModelInferResponse(model_name=response.model, model_version=response.version or "", id=response.id or "")
    if response.parameters:
        parameters.put(response.parameters, message.parameters)
    outputs = response.outputs
    raw = raw or any(tensor.datatype not in contents.FIELD for tensor in outputs)
    for tensor in outputs:
        put_output(tensor, message.outputs.add(), raw=raw)
    if raw:
        message.raw_output_contents.extend([bytes_of(tensor) for tensor in outputs])
    return message


def put_output(tensor: Tensor, message: InferOutputTensor, *, raw: bool) -> None:
    """Write an output; its data are left to raw contents where `raw`."""
    message.name, message.datatype = tensor.name, tensor.datatype
    message.shape.extend(tensor.shape)
    if tensor.parameters:
        parameters.put(tensor.parameters, message.parameters)
    if not raw:
        contents.put(tensor.data, tensor.datatype, tensor.name, message.contents)


def response_of(message: ModelInferResponse) -> TensorResponse:
    """The response of a message, for callers. Raises InferenceError where contents and shapes do not agree."""
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise InferenceError(f"expected raw contents for {len(message.outputs)} outputs, got {len(raw)}")
    outputs = [
        output_of(output, raw[index] if raw else None, f"outputs[{index}]")
        for index, output in enumerate(message.outputs)
    ]
    return TensorResponse(
        message.model_name,
        message.model_version or None,
        outputs,
        message.id or None,
        parameters.values_of(message.parameters),
    )


def output_of(message: InferOutputTensor, raw: bytes | None = None, at: str = "output") -> Tensor:
    """The tensor of an output, from its raw contents where there are. Raises InferenceError."""
    datatype, shape = message.datatype, list(message.shape)
    typed = message.contents
    data = contents.data_of(typed, datatype, shape, at) if raw is None else data_of(raw, datatype, shape, at)
    return Tensor(message.name, datatype, shape, data, parameters.values_of(message.parameters))
