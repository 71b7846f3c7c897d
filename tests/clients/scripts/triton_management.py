"""What tritonclient asks beside inference."""

from typing import Any

from tests.clients.scripts.checks import Checks, raised
from tests.clients.scripts.triton_kinds import Triton, told

CHECKS = Checks()


@CHECKS("health")
def live_and_ready(triton: Triton) -> Any:
    return [triton.client.is_server_live(), triton.client.is_server_ready()]


@CHECKS("health")
def model_ready(triton: Triton) -> Any:
    return [triton.client.is_model_ready("echo"), triton.client.is_model_ready("versioned", "2")]


@CHECKS("health")
def unknown_model_is_not_ready(triton: Triton) -> Any:
    """Over HTTP it says no, over gRPC it raises."""
    if triton.http:
        return triton.client.is_model_ready("none")
    return raised(lambda: triton.client.is_model_ready("none"), told)


@CHECKS("metadata")
def server(triton: Triton) -> Any:
    metadata = triton.client.get_server_metadata(**triton.as_json)
    return [metadata["name"], "binary_tensor_data" in metadata["extensions"]]


@CHECKS("metadata")
def model(triton: Triton) -> Any:
    (tensor,) = triton.client.get_model_metadata("sum", **triton.as_json)["inputs"]
    return [tensor["name"], tensor["datatype"], [int(size) for size in tensor["shape"]]]


@CHECKS("metadata")
def version(triton: Triton) -> Any:
    return triton.client.get_model_metadata("versioned", "2", **triton.as_json)["versions"]


@CHECKS("configuration")
def configuration(triton: Triton) -> Any:
    answer = triton.client.get_model_config("sum", **triton.as_json)
    config = answer if triton.http else answer["config"]
    (tensor,) = config["input"]
    return [config["name"], tensor["name"], tensor["data_type"], [int(size) for size in tensor["dims"]]]


@CHECKS("statistics")
def count_of_inferences(triton: Triton) -> Any:
    before = _successes(triton)
    triton.client.infer("sum", [triton.rows()])
    return _successes(triton) - before


@CHECKS("statistics")
def of_all_models(triton: Triton) -> Any:
    found = triton.client.get_inference_statistics(**triton.as_json)["model_stats"]
    return {"echo", "sum"} <= {model["name"] for model in found}


def _successes(triton: Triton) -> int:
    (model,) = triton.client.get_inference_statistics("sum", **triton.as_json)["model_stats"]
    return int(model["inference_stats"]["success"].get("count", 0))


@CHECKS("repository")
def index(triton: Triton) -> Any:
    return _states(triton)["shelf"]


@CHECKS("repository")
def unload_and_load(triton: Triton) -> Any:
    triton.client.unload_model("shelf")
    after = _states(triton)["shelf"]
    triton.client.load_model("shelf")
    return [after, _states(triton)["shelf"], triton.client.is_model_ready("shelf")]


@CHECKS("repository")
def load_unknown(triton: Triton) -> Any:
    return raised(lambda: triton.client.load_model("none"), told)


def _states(triton: Triton) -> dict[str, str]:
    answer = triton.client.get_model_repository_index(**triton.as_json)
    return {model["name"]: model["state"] for model in (answer if triton.http else answer["models"])}


@CHECKS("trace and log settings")
def trace_settings(triton: Triton) -> Any:
    level = triton.client.get_trace_settings(**triton.as_json)
    return level["trace_level"] if triton.http else level["settings"]["trace_level"]["value"]


@CHECKS("trace and log settings")
def log_settings(triton: Triton) -> Any:
    info = triton.client.get_log_settings(**triton.as_json)
    return info["log_info"] if triton.http else info["settings"]["log_info"]["bool_param"]


@CHECKS("changes of trace and log settings")
def change_trace_settings(triton: Triton) -> Any:
    return raised(lambda: triton.client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), told)


@CHECKS("changes of trace and log settings")
def change_log_settings(triton: Triton) -> Any:
    return raised(lambda: triton.client.update_log_settings({"log_verbose_level": 1}), told)


@CHECKS("shared memory")
def register_system(triton: Triton) -> Any:
    return raised(lambda: triton.client.register_system_shared_memory("region", "/key", 64), told)


@CHECKS("shared memory")
def register_cuda(triton: Triton) -> Any:
    return raised(lambda: triton.client.register_cuda_shared_memory("region", b"", 0, 64), told)


@CHECKS("shared memory")
def status(triton: Triton) -> Any:
    return raised(lambda: triton.client.get_system_shared_memory_status(**triton.as_json), told)


@CHECKS("shared memory")
def as_input(triton: Triton) -> Any:
    tensor = triton.module.InferInput("x", [1, 2], "FP64")
    tensor.set_shared_memory("region", 16)
    return raised(lambda: triton.client.infer("echo", [tensor]), told)
