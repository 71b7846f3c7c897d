"""What is there beyond the protocol's core, and what it says of models: Triton's extensions."""

import logging
from typing import Any

from mlserver.errors import Forbidden, InferenceError
from mlserver.types import MetadataModelResponse, MetadataTensor

# The one list of what server metadata name, in Triton's words, on every door. In it is what works here and nothing
# else: clients look here before they use something. So neither shared memory, which no caller may point this server at,
# nor `trace` and `logging`, whose settings can be read but not changed while it runs.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
)

# Triton's settings of a trace, as they are where none is made on request.
TRACE_SETTINGS: dict[str, Any] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
}
TRACE_INSTEAD, LOG_INSTEAD = "`tracing_server`", "`debug` and `logging_settings`"
"""The settings of ours that do what Triton's would."""


def log_settings() -> dict[str, Any]:
    """Triton's log settings, as the server's logger is set."""
    logger = logging.getLogger("mlserver")
    return {
        "log_file": "",
        "log_info": logger.isEnabledFor(logging.INFO),
        "log_warning": logger.isEnabledFor(logging.WARNING),
        "log_error": logger.isEnabledFor(logging.ERROR),
        "log_verbose_level": int(logger.isEnabledFor(logging.DEBUG)),
        "log_format": "default",
    }


def see_no_change(changes: dict[str, Any], settings: dict[str, Any], instead: str) -> None:
    """Raises Forbidden for a change of a setting, InferenceError for what is none. None asks for the default."""
    for name, value in changes.items():
        if name not in settings:
            raise InferenceError(f"unknown setting {name[:64]!r}; expected one of {', '.join(settings)}")
        if value is not None and value != settings[name]:
            raise Forbidden(f"{name} cannot be changed while the server runs: set {instead} in settings.json instead")


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
