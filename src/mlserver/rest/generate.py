"""Triton's generate: a flat JSON object in, whose fields are tensors or parameters, and a flat one out."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from mlserver.errors import CodecError, InferenceError
from mlserver.types import MetadataModelResponse, MetadataTensor
from mlserver.types.arrays import array_of, flat
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse
from mlserver.wire.depth import MAX_DEPTH, check_nesting
from mlserver.wire.json import encoded

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def fields_of(body: bytes) -> Mapping[str, msgspec.Raw]:
    """The fields of a JSON object, their values as text. Raises InferenceError."""
    try:
        return _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InferenceError(f"invalid request: {error}") from None


def generate_request(
    fields: Mapping[str, msgspec.Raw], metadata: MetadataModelResponse, version: str | None, max_depth: int = MAX_DEPTH
) -> TensorRequest:
    """The inference request that `fields` stand for.

    Fields named as an input of the model are tensors of that input's datatype and number of dimensions, `id` is the
    request's, and others are parameters; those inside of an object `parameters` count as fields. Raises InferenceError.
    """
    values = {name: _value(name, text, max_depth) for name, text in fields.items()}
    request_id = values.pop("id", None)
    if request_id is not None and not isinstance(request_id, str):
        raise InferenceError("expected a string - at `$.id`")
    nested = values.pop("parameters", None) or {}
    if not isinstance(nested, dict):
        raise InferenceError("expected an object - at `$.parameters`")
    values = nested | values
    known = {tensor.name: tensor for tensor in metadata.inputs or []}
    inputs = [_tensor(known[name], value) for name, value in values.items() if name in known]
    if not inputs:
        raise InferenceError(_expected(metadata.name, list(known)))
    parameters = {name: value for name, value in values.items() if name not in known}
    return TensorRequest(metadata.name, version, inputs, request_id, parameters or None)


def generated_bytes(response: TensorResponse) -> bytes:
    """The answer: outputs as fields, those of one element as a bare value; parameters too. Raises ModelError."""
    body: dict[str, Any] = {"model_name": response.model}
    if response.version:
        body["model_version"] = response.version
    if response.id is not None:
        body["id"] = response.id
    body |= {name: value for name, value in (response.parameters or {}).items() if name not in body}
    body |= {tensor.name: _shown(tensor) for tensor in response.outputs}
    return encoded(body)


def _expected(model: str, known: list[str]) -> str:
    if not known:
        return f"model {model!r} names no inputs in its metadata: send an inference request, with `inputs`"
    names = ", ".join(f"`{name}`" for name in known[:16])
    return f"no field is an input of model {model!r}; expected one of {names}, or an inference request, with `inputs`"


def _value(name: str, text: msgspec.Raw, max_depth: int) -> Any:
    at = f"`$.{name:.64}`"
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InferenceError(f"invalid request: {error} - at {at}") from None
    check_nesting(value, max_depth, at)
    return value


def _tensor(described: MetadataTensor, value: Any) -> Tensor:
    """A value as a tensor of as many dimensions as the metadata say; those that it has too few come first, as 1."""
    shape = _shape(value)
    if None in shape:
        raise InferenceError(f"expected rows of equal length - at `$.{described.name}`")
    whole = [1] * (max(1, len(described.shape)) - len(shape)) + [dim for dim in shape if dim is not None]
    datatype = str(described.datatype)
    try:
        if datatype == "BYTES":
            return Tensor(described.name, datatype, whole, _strings(value), None)
        return Tensor(described.name, datatype, whole, array_of(value, datatype).reshape(whole), None)
    except CodecError as error:
        raise InferenceError(f"{error} - at `$.{described.name}`") from None


def _shape(value: Any) -> list[int | None]:
    """The lengths of nested lists, outermost first; None for a dimension whose lists differ."""
    if not isinstance(value, list):
        return []
    inner = [_shape(item) for item in value]
    if not inner:
        return [0]
    return [len(value), *(inner[0] if all(shape == inner[0] for shape in inner) else [None])]


def _strings(value: Any) -> list[Any]:
    items = flat(value)
    wrong = next((item for item in items if not isinstance(item, str)), None)
    if wrong is not None:
        raise CodecError(f"expected strings for BYTES, found {type(wrong).__name__} {wrong!r:.40}")
    return items


def _shown(tensor: Tensor) -> Any:
    data = tensor.data
    values = data.ravel().tolist() if isinstance(data, np.ndarray) else [_text(item) for item in data]
    return values[0] if len(values) == 1 else values


def _text(item: Any) -> Any:
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else item
