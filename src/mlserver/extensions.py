"""What is there beyond the protocol's core, and what it says of models: Triton's extensions."""

from typing import Any

from mlserver.types import MetadataModelResponse, MetadataTensor

# The one list of what server metadata name, in Triton's words, on every door. In it is what works here and nothing
# else: clients look here before they use something. So neither shared memory, which no caller may point this server at,
# nor `trace` and `logging`, whose settings can be read but not changed while it runs.
EXTENSIONS = (
    "generate",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "statistics",
)


def extensions(more: list[str]) -> list[str]:
    """The names that server metadata show: ours, and those of the setting `extensions`, each once."""
    return list(dict.fromkeys([*EXTENSIONS, *more]))


def model_config(metadata: MetadataModelResponse, max_rows: int) -> dict[str, Any]:
    """Triton's ModelConfig of a model, as JSON.

    Where requests may be stacked - up to `max_rows` rows, and every tensor has a leading dimension of any length - that
    dimension is the batch: `max_batch_size` tells its bound and `dims` leave it out, while shapes in metadata have it.
    Else `max_batch_size` is 0, and `dims` are the shapes.
    """
    inputs, outputs = metadata.inputs or [], metadata.outputs or []
    batches = max_rows > 1 and all(tensor.shape and tensor.shape[0] == -1 for tensor in [*inputs, *outputs])
    config: dict[str, Any] = {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": "mlserver",
        "version_policy": {"all": {}},
        "max_batch_size": max_rows if batches else 0,
        "input": [_tensor(tensor, batches) for tensor in inputs],
        "output": [_tensor(tensor, batches) for tensor in outputs],
    }
    if batches:
        config["dynamic_batching"] = {"preferred_batch_size": [], "max_queue_delay_microseconds": 0}
    return config


def _tensor(tensor: MetadataTensor, batches: bool) -> dict[str, Any]:
    name = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return {"name": tensor.name, "data_type": f"TYPE_{name}", "dims": tensor.shape[1 if batches else 0 :]}
