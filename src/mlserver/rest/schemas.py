"""JSON schemas of what the REST door takes and gives; those of the protocol's messages are made from their classes."""

from typing import Any

from pydantic.json_schema import models_json_schema

from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
)

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_BOOL: Schema = {"type": "boolean"}
_INT: Schema = {"type": "integer"}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:
    """An object with these properties."""
    return {"type": "object", "properties": required | (optional or {}), "required": list(required), **more}


def listed(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def _messages() -> Schema:
    """The protocol's messages."""
    classes = (
        InferenceRequest, InferenceResponse, MetadataModelResponse, MetadataServerResponse, RepositoryIndexRequest,
        RepositoryIndexResponse,
    )  # fmt: skip
    _, schemas = models_json_schema(
        [(message, "validation") for message in classes], ref_template="#/components/schemas/{model}"
    )
    found: Schema = schemas["$defs"]
    return found


def _settings(**types: str) -> Schema:
    """Settings by name; null asks for the default."""
    return record({}, {name: {"type": [kind, "null"]} for name, kind in types.items()}, additionalProperties=False)


_DURATION = record({"count": _INT, "ns": _INT})
_TENSOR_CONFIG = record({"name": _STRING, "data_type": _STRING, "dims": listed(_INT)})
_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
_COUNTS = {
    "name": _STRING,
    "version": _STRING,
    "last_inference": _INT,
    "inference_count": _INT,
    "execution_count": _INT,
    "inference_stats": record(dict.fromkeys(_STAGES, _DURATION)),
    "batch_stats": listed({"type": "object"}),
}
_FIELDS = {"type": "object", "additionalProperties": True}

COMPONENTS: Schema = _messages() | {
    "Error": record({"error": _STRING}),
    "Live": record({"live": _BOOL}),
    "Ready": record({"live": _BOOL, "ready": _BOOL}, {"error": _STRING}),
    "ModelReady": record({"name": _STRING, "ready": _BOOL}, {"error": _STRING}),
    "ModelList": record({"models": listed(_STRING)}),
    "ModelConfig": record({
        "name": _STRING,
        "platform": _STRING,
        "backend": _STRING,
        "max_batch_size": _INT,
        "input": listed(_TENSOR_CONFIG),
        "output": listed(_TENSOR_CONFIG),
    }),
    "Statistics": record({"model_stats": listed(record(_COUNTS))}),
    "TraceSettings": _settings(
        trace_file="string", trace_level="array", trace_rate="string", trace_count="string", log_frequency="string"
    ),
    "LogSettings": _settings(
        log_file="string", log_info="boolean", log_warning="boolean", log_error="boolean", log_verbose_level="integer",
        log_format="string",
    ),
    "RepositoryChange": record({}, {"parameters": {"type": ["object", "null"], "additionalProperties": True}}),
    "GenerateRequest": {
        "description": "Fields named as inputs of the model are its tensors, others are parameters; or an inference "
        "request, with `inputs`.",
        "anyOf": [ref("InferenceRequest"), _FIELDS | {"not": {"required": ["inputs"]}}],
    },
    "GenerateResponse": {
        "description": "The outputs as fields; or an inference response, where an inference request was sent.",
        "anyOf": [ref("InferenceResponse"), record({"model_name": _STRING}, {"id": _STRING})],
    },
}  # fmt: skip
