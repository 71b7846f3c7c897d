"""Schemas and an example for one model, from its metadata."""

from math import prod
from typing import Any

from mlserver.rest.schemas import Schema, listed, record, ref
from mlserver.types import MetadataModelResponse, MetadataTensor

# Elements of an example, at most: an image would be a page of zeros.
_MOST_ELEMENTS = 256

_VALUES: dict[str, Any] = {"BOOL": True, "BYTES": "text", "FP16": 0.0, "FP32": 0.0, "FP64": 0.0}


def model_schemas(metadata: MetadataModelResponse) -> Schema:
    """The schemas of requests and answers that are this model's own; those of any model where it names no tensors."""
    schemas: Schema = {}
    if metadata.inputs:
        schemas["InferenceRequest"] = _request(metadata.inputs)
        schemas["GenerateRequest"] = _generate(metadata.inputs)
    if metadata.outputs:
        outputs = _tensors(metadata.outputs, {"parameters": _optional("Parameters")})
        response = {"model_name": {"const": metadata.name}, "outputs": outputs}
        more = {"model_version": {"type": "string"}, "id": {"type": "string"}, "parameters": _optional("Parameters")}
        schemas["InferenceResponse"] = record(response, more)
    return schemas


def example(tensor: MetadataTensor) -> dict[str, Any]:
    """An input as it may be sent: -1 is 1, and every element the same."""
    shape = [1 if dim == -1 else dim for dim in tensor.shape]
    size = prod(shape)
    value = _VALUES.get(str(tensor.datatype), 0)
    data = [value] * size if size <= _MOST_ELEMENTS else [value]
    return {"name": tensor.name, "shape": shape, "datatype": str(tensor.datatype), "data": data}


def _request(inputs: list[MetadataTensor]) -> Schema:
    optional = {
        "id": {"type": ["string", "null"]},
        "parameters": _optional("Parameters"),
        "outputs": {"anyOf": [listed(ref("RequestOutput")), {"type": "null"}]},
    }
    tensors = _tensors(inputs, {"parameters": _optional("Parameters")})
    return record({"inputs": tensors}, optional, example={"inputs": [example(tensor) for tensor in inputs]})


def _generate(inputs: list[MetadataTensor]) -> Schema:
    fields = {tensor.name: _field(tensor) for tensor in inputs}
    shown = {tensor.name: _VALUES.get(str(tensor.datatype), 0) for tensor in inputs}
    by_field = {"type": "object", "properties": fields, "additionalProperties": True, "not": {"required": ["inputs"]}}
    return {"anyOf": [ref("InferenceRequest"), by_field], "example": shown}


def _field(tensor: MetadataTensor) -> Schema:
    one = _element(str(tensor.datatype))
    return {"anyOf": [one, {"type": "array"}], "description": _described(tensor)}


def _tensors(tensors: list[MetadataTensor], optional: Schema) -> Schema:
    """A list of these tensors."""
    return listed({"oneOf": [_tensor(tensor, optional) for tensor in tensors]})


def _tensor(tensor: MetadataTensor, optional: Schema) -> Schema:
    required = {
        "name": {"const": tensor.name},
        "shape": listed({"type": "integer"}) | {"description": _described(tensor)},
        "datatype": {"const": str(tensor.datatype)},
        "data": {"description": "Elements in row-major order, nested or flat."},
    }
    return record(required, optional, title=tensor.name)


def _described(tensor: MetadataTensor) -> str:
    return f"{tensor.datatype} of shape {tensor.shape}; -1 is a dimension of any length"


def _element(datatype: str) -> Schema:
    if datatype in ("BOOL", "BYTES"):
        return {"type": "boolean" if datatype == "BOOL" else "string"}
    return {"type": "number" if datatype.startswith("FP") else "integer"}


def _optional(name: str) -> Schema:
    return {"anyOf": [ref(name), {"type": "null"}]}
