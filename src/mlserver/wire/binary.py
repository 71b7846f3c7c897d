"""Tensors as binary data beside JSON: the protocol's extension `binary_tensor_data`, both ways.

A body is JSON and behind it the buffers of the tensors that say `binary_data_size`, in their order. How long the JSON
is stands outside, in the header `Inference-Header-Content-Length`. Arrays are read-only views of the body: nothing is
copied, and nothing is allocated because a sender says so.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from mlserver.errors import InferenceError
from mlserver.types import MetadataTensor
from mlserver.types.tensors import DTYPES, Array, Elements, Tensor, TensorRequest, TensorResponse
from mlserver.wire.json_reader import InputHead, JsonReader, RequestHead, at, check_names
from mlserver.wire.json_writer import dumped, output_fields, response_fields
from mlserver.wire.raw import bytes_of, data_of
from mlserver.wire.words import BINARY_SIZE, Wishes

HEADER = "Inference-Header-Content-Length"

# More digits than any length has; int() of longer ones takes time.
_MAX_DIGITS = 18


def json_length(value: str, body_bytes: int) -> int:
    """The header's value as a number of bytes; 0 says that the body is one raw tensor.

    Raises InferenceError for what is no length, or longer than the body.
    """
    text = value.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InferenceError(f"expected a number of bytes in {HEADER}, got {value[:64]!r}")
    length = int(text)
    if length > body_bytes:
        raise InferenceError(f"{HEADER} is {length}, but the body has {body_bytes} bytes")
    return length


def binary_inputs(head: RequestHead, rest: memoryview, reader: JsonReader) -> list[Tensor]:
    """The inputs of `head`: those with `binary_data_size` from `rest`, what follows the JSON; the others from JSON.

    The word is taken out of their parameters. Raises InferenceError where anything does not agree with anything else,
    and where `rest` is not used up.
    """
    check_names(head)
    tensors = []
    start = 0
    for index, value in enumerate(head.inputs):
        size = _claimed(value, index)
        if size is None:
            tensors.append(reader.tensor(index, value))
            continue
        if size > len(rest) - start:
            raise InferenceError(
                f"{BINARY_SIZE} is {size}, but only {len(rest) - start} bytes of the body are left - at `{at(index)}`"
            )
        tensors.append(_tensor(value, index, rest[start : start + size]))
        start += size
    if start != len(rest):
        raise InferenceError(f"the binary data of all inputs are {start} bytes, but {len(rest)} follow the JSON")
    return tensors


def raw_request(body: bytes, inputs: Sequence[MetadataTensor], model: str, version: str | None) -> TensorRequest:
    """The request of a body that is nothing but one tensor: shape and datatype are those of the model's only input.

    One dimension may be open, or two where the first is the batch: that is 1 then. BYTES are one element without a
    length. Raises InferenceError.
    """
    if len(inputs) != 1:
        raise InferenceError(f"{HEADER} is 0: expected a model with one input in its metadata, this has {len(inputs)}")
    (only,) = inputs
    shape = list(only.shape)
    if shape.count(-1) == 2 and shape[0] == -1:
        shape[0] = 1
    if only.datatype == "BYTES":
        shape = [1 if dim == -1 else dim for dim in shape]
        data: Array | Elements = [body]
        fits = prod(shape) == 1
    else:
        data, fits = _raw(body, only.datatype, shape)
    if not fits:
        raise InferenceError(f"{HEADER} is 0: a body of {len(body)} bytes is no {only.datatype} of shape {only.shape}")
    return TensorRequest(model, version, [Tensor(only.name, only.datatype, shape, data)])


def response_parts(response: TensorResponse, wishes: Wishes) -> tuple[bytes, list[bytes]]:
    """The JSON of a response, and the buffers that follow it: of the outputs that `wishes` has as binary data.

    Text with null, which has no form in bytes, is JSON all the same. Raises ModelError for what cannot be written.
    """
    outputs: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    for tensor in response.outputs:
        if wishes.is_binary(tensor.name) and not _has_null(tensor):
            buffer = bytes_of(tensor)
            parameters = {**(tensor.parameters or {}), BINARY_SIZE: len(buffer)}
            described = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
            outputs.append({**described, "parameters": parameters})
            buffers.append(buffer)
        else:
            outputs.append(output_fields(tensor))
    return dumped(response_fields(response, outputs), response.model), buffers


def _has_null(tensor: Tensor) -> bool:
    return isinstance(tensor.data, list) and None in tensor.data


def _claimed(value: InputHead, index: int) -> int | None:
    """The size that an input says its binary data have; None for one in JSON."""
    parameters = value.parameters
    if parameters is None or BINARY_SIZE not in parameters:
        return None
    size = parameters.pop(BINARY_SIZE)
    value.parameters = parameters or None
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InferenceError(
            f"expected a number of bytes for {BINARY_SIZE}, got {size!r:.64} - at `{at(index)}.parameters`"
        )
    if bytes(value.data) not in (b"", b"null"):  # KServe's client says null where there are no bytes
        raise InferenceError(f"expected either data or {BINARY_SIZE}, got both - at `{at(index)}`")
    return size


def _tensor(value: InputHead, index: int, buffer: memoryview) -> Tensor:
    data = data_of(buffer, value.datatype, value.shape, at(index))
    return Tensor(value.name, value.datatype, value.shape, data, value.parameters)


def _raw(body: bytes, datatype: str, shape: list[int]) -> tuple[Array | Elements, bool]:
    """The numbers of a raw body, and whether they fit `shape`, whose open dimension is filled in."""
    width = prod(dim for dim in shape if dim != -1) * DTYPES[datatype].itemsize
    if shape.count(-1) > 1 or (-1 in shape and (not width or len(body) % width)):
        return [], False
    shape[:] = [len(body) // width if dim == -1 else dim for dim in shape]
    if prod(shape) * DTYPES[datatype].itemsize != len(body):
        return [], False
    return data_of(body, datatype, shape, "$"), True
