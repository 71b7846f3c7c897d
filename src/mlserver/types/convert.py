"""The bridge between the slotted values inside and the pydantic messages that a model sees: the same arrays in both."""

import re
from math import prod
from types import NoneType
from typing import Any

import numpy as np

from mlserver.errors import CodecError, MLServerError, ModelError
from mlserver.types.arrays import counts_bytes, flat, shaped
from mlserver.types.base import construct
from mlserver.types.data import TensorData
from mlserver.types.dataplane import InferenceRequest, InferenceResponse, RequestInput, RequestOutput, ResponseOutput
from mlserver.types.parameters import Parameters, lazy_parameters, seen, values_of
from mlserver.types.tensors import Elements, OutputRequest, Tensor, TensorRequest, TensorResponse

# What a BYTES tensor is made of; None is JSON's null.
_TEXT = (str, bytes, NoneType)
# JSON text of a flat list: what follows the bracket opens no other.
_FLAT = re.compile(rb"\s*\[\s*[^\[\s]").match


def to_public(request: TensorRequest) -> InferenceRequest:
    """The message a model's `predict` gets, around the same arrays; made once per call, nothing is validated."""
    asked = request.outputs
    outputs = None
    if asked is not None:
        outputs = [
            construct(RequestOutput, {"name": output.name, "parameters": lazy_parameters(output.parameters)})
            for output in asked
        ]
    return construct(
        InferenceRequest,
        {
            "id": request.id,
            "parameters": lazy_parameters(request.parameters, request.headers),
            "inputs": [construct(RequestInput, _fields(tensor)) for tensor in request.inputs],
            "outputs": outputs,
        },
    )


def response_to_public(response: TensorResponse) -> InferenceResponse:
    """The message for a caller in code, around the same arrays; headers are in `parameters.headers`."""
    headers = response.headers
    return construct(
        InferenceResponse,
        {
            "model_name": response.model,
            "model_version": response.version,
            "id": response.id,
            "parameters": lazy_parameters(response.parameters, (lambda: headers) if headers else None),
            "outputs": [construct(ResponseOutput, _fields(tensor)) for tensor in response.outputs],
        },
    )


def request_from_public(request: InferenceRequest, model: str, version: str | None) -> TensorRequest:
    """What the engine runs for a caller in code, around the same arrays.

    Raises CodecError that names the input whose data does not fit its shape and datatype.
    """
    inputs = [_tensor(value, "input") for value in request.inputs]
    outputs = None
    if request.outputs is not None:
        outputs = [OutputRequest(output.name, _values(output.parameters)[0]) for output in request.outputs]
    parameters, headers = _values(request.parameters)
    return TensorRequest(
        model, version, inputs, request.id, parameters, outputs, (lambda: headers) if headers else None
    )


def from_public(response: InferenceResponse, *, model: str, version: str | None) -> TensorResponse:
    """A model's answer for the way back, around the same arrays; `parameters.headers` move to `headers`.

    Headers of a request that the model passed on without a look are none of its answer's. `model` and `version` stand
    in where the answer names none. Raises ModelError that names the output whose data does not fit its shape and
    datatype: that is the model's mistake, not its caller's.
    """
    if not isinstance(response, InferenceResponse):
        raise ModelError(f"predict of model {model!r} returned {type(response).__name__}, expected InferenceResponse")
    try:
        outputs = [_tensor(value, "output") for value in response.outputs]
    except MLServerError as error:
        raise ModelError(f"model {model!r}: {error}") from None
    parameters, headers = _values(response.parameters, unseen=False)
    return TensorResponse(
        response.model_name or model, response.model_version or version, outputs, response.id, parameters, headers
    )


def _fields(tensor: Tensor) -> dict[str, Any]:
    """The fields of a public tensor around that of `tensor`."""
    source = tensor.source
    # Strings that were sent nested, or as one value, look that way; those sent flat are in the list already.
    as_sent = source is not None and isinstance(tensor.data, list) and not _FLAT(source)
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "datatype": tensor.datatype,
        "parameters": lazy_parameters(tensor.parameters),
        "data": TensorData.over(None if as_sent else tensor.data, source),
    }


def _tensor(value: RequestInput | ResponseOutput, role: str) -> Tensor:
    """The slotted tensor of `value`; raises CodecError that names it."""
    data, datatype = TensorData.of(value.data), str(value.datatype)
    parameters = _values(value.parameters)[0]
    try:
        if datatype == "BYTES":
            elements, shape = _elements(data, list(value.shape), parameters)
            return Tensor(value.name, datatype, shape, elements, parameters)
        array = data.as_array(datatype, value.shape, writable=False)
    except (CodecError, TypeError, ValueError) as error:
        raise CodecError(f"{role} {value.name!r}: {error}") from None
    return Tensor(value.name, datatype, list(array.shape), array, parameters)


def _values(
    parameters: Parameters | dict[str, Any] | None, *, unseen: bool = True
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Parameters but for the headers, and the headers; None for what is not set.

    Without `unseen`, headers that a door received and nobody looked at do not count. Assignment is not validated, so
    `parameters` may be a plain dict.
    """
    if not parameters:
        return None, None
    if isinstance(parameters, Parameters):
        headers = parameters.headers if unseen or seen(parameters) else None
        return values_of(parameters) or None, headers or None
    values = dict(parameters)
    headers = values.pop("headers", None)
    return values or None, headers or None


def _elements(data: TensorData, shape: list[int], parameters: dict[str, Any] | None) -> tuple[Elements, list[int]]:
    """The strings of a BYTES tensor, flat, and a shape of as many."""
    if data.array is not None:
        raise CodecError(f"expected strings for BYTES, found numbers of {data.array.dtype}")
    elements = flat(data.root)
    wrong = next((item for item in elements if not isinstance(item, _TEXT)), None)
    if wrong is not None:
        raise CodecError(f"expected strings for BYTES, found {type(wrong).__name__} {wrong!r:.40}")
    if len(elements) == 1 and parameters is not None and parameters.get("content_type") == "np":
        elements = _split(elements[0], shape)
    if counts_bytes(prod(shape), elements):
        return elements, [1] * len(shape)
    # -1 and what does not fit are numpy's to work out.
    return elements, list(shaped(np.empty(len(elements), np.bool_), shape).shape)


def _split(buffer: Any, shape: list[int]) -> Elements:
    """The items of a bytes array, which the numpy codec writes as one value: outside, a tensor has as many values as
    its shape says.
    """
    size = prod(shape)
    if size < 2 or not buffer or not isinstance(buffer, bytes) or len(buffer) % size:
        return [buffer]
    width = len(buffer) // size
    return [buffer[start : start + width] for start in range(0, len(buffer), width)]
