"""What the checks of the scripts should find, the same for every client as far as that can be."""

from typing import Any

# A client that is told no, clearly, and not because it does something wrong.
REFUSED = ("changes of trace and log settings", "shared memory")

_ALL_DATATYPES = dict.fromkeys(
    ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64", "BYTES"), True
)
_SHAPES = dict.fromkeys(("empty", "empty text", "scalar", "deep"), True)
_PARAMETERS = {"text": "a", "whole": -3, "flag": True, "real": 0.5}
_SUMS = [float(number) for number in range(1, 21)]

EVERYBODY: dict[str, dict[str, Any]] = {
    "health": {
        "live_and_ready": [True, True],
        "model_ready": [True, True],
        "unknown_model_is_not_ready": False,
    },
    "metadata": {
        "server": ["mlserver", True],
        "model": ["rows", "FP64", [-1, 2]],
        "version": ["2"],
        "validate": None,
    },
    "configuration": {"configuration": ["sum", "rows", "TYPE_FP64", [-1, 2]]},
    "statistics": {"count_of_inferences": 1, "of_all_models": True},
    "repository": {"index": "READY", "unload_and_load": ["UNAVAILABLE", "READY", True]},
    "JSON data": {
        "json_datatypes": _ALL_DATATYPES,
        "json_shapes": _SHAPES,
        "json_half": True,
        "mixed": [True, True],
        "tensors": True,
        "nested": [1.0, 2.0, 3.0, 5.0],
        "nested_text": ["ab", "c"],
    },
    "binary data": {
        "datatypes": _ALL_DATATYPES,
        "no_json_has_them": {"FP16": True, "FP32": True, "BYTES": True},
        "bf16": True,
        "shapes": _SHAPES,
        "large": True,
        "by_hand": [0.5, -2.0],
    },
    "typed contents": {"json_datatypes": _ALL_DATATYPES, "json_shapes": _SHAPES},
    "requested outputs": {"all_of_them": [[3.0, 8.0], [1.5, 4.0]], "one_of_them": ["means", [1.5, 4.0]]},
    "ids, versions and parameters": {
        "request_id": "one",
        "version_asked_for": ["versioned", "2"],
        "parameters": _PARAMETERS,
        "headers": "sum",
    },
    "classes": {"best_of_each_row": [["0.7:1:green", "0.2:2:blue"]]},
    "compression": {"both_ways": {"gzip": True, "deflate": True}},
    "asynchronous calls": {"several_at_once": _SUMS},
    "trace and log settings": {"trace_settings": ["OFF"], "log_settings": True},
}

_NONE = "model 'none' not found"
_SEVEN = "ZeroDivisionError: division by zero (request seven)"
_TRACE = "trace_level cannot be changed while the server runs: set `tracing_server` in settings.json instead"
_LOG = "log_verbose_level cannot be changed while the server runs: set `debug` and `logging_settings` in settings.json"
_LATE = "the deadline of the request for model 'never' passed while it was predicted"
_NO_MEMORY_REST = "shared memory is not supported; send tensors in the request"
_NO_MEMORY_GRPC = "shared memory is not supported: send the tensors themselves"


def _triton(code: str, message: str) -> list[Any]:
    return ["InferenceServerException", [code, message]]


_TRITON: dict[str, dict[str, Any]] = {
    "requested outputs": {"one_of_them": [[1.5, 4.0], True]},
    # What the protocol has words for is the server's: models do not see it.
    "ids, versions and parameters": {"parameters": _PARAMETERS | {"priority": None, "timeout": None}},
}
_TRITON_HTTP = {
    **_TRITON,
    "repository": {"load_unknown": _triton("404", _NONE)},
    "errors": {
        "unknown_model": _triton("404", _NONE),
        "unknown_version": _triton("404", "model 'versioned' not found in version '7'"),
        "wrong_shape": _triton("400", "shape [3, 2] of FP64 needs 48 bytes, got 32 - at `$.inputs[0]`"),
        "refused_by_the_model": _triton("400", "rows have two numbers each; the shape is [1, 3]"),
        "model_failed": _triton("500", _SEVEN),
    },
    "timeouts": {"of_the_request": _triton("504", _LATE), "of_the_client": ["TimeoutError", True]},
    "changes of trace and log settings": {
        "change_trace_settings": _triton("403", _TRACE),
        "change_log_settings": _triton("403", f"{_LOG} instead"),
    },
    "shared memory": {
        **dict.fromkeys(("register_system", "register_cuda", "status"), _triton("501", _NO_MEMORY_REST)),
        "as_input": _triton(
            "400", "shared memory is not supported: send the tensor's data - at `$.inputs[0].parameters`"
        ),
    },
}
_TRITON_GRPC = {
    **_TRITON,
    "health": {"unknown_model_is_not_ready": _triton("StatusCode.NOT_FOUND", _NONE)},
    "repository": {"load_unknown": _triton("StatusCode.NOT_FOUND", _NONE)},
    "errors": {
        "unknown_model": _triton("StatusCode.NOT_FOUND", _NONE),
        "unknown_version": _triton("StatusCode.NOT_FOUND", "model 'versioned' not found in version '7'"),
        "wrong_shape": _triton(
            "StatusCode.INVALID_ARGUMENT", "shape [3, 2] of FP64 needs 48 bytes, got 32 - at `inputs[0]`"
        ),
        "refused_by_the_model": _triton(
            "StatusCode.INVALID_ARGUMENT", "rows have two numbers each; the shape is [1, 3]"
        ),
        "model_failed": _triton("StatusCode.INTERNAL", _SEVEN),
    },
    "timeouts": {
        "of_the_request": _triton("StatusCode.DEADLINE_EXCEEDED", _LATE),
        "of_the_client": ["InferenceServerException", True],
    },
    "streams": {
        "several_requests": [*[["a", 1, False]] * 3, ["a", 0, True], _NONE, ["c", 2, False]],
        "cancelled": True,
    },
    "changes of trace and log settings": {
        "change_trace_settings": _triton("StatusCode.PERMISSION_DENIED", _TRACE),
        "change_log_settings": _triton("StatusCode.PERMISSION_DENIED", f"{_LOG} instead"),
    },
    "shared memory": {
        **dict.fromkeys(
            ("register_system", "register_cuda", "status"), _triton("StatusCode.UNIMPLEMENTED", _NO_MEMORY_GRPC)
        ),
        "as_input": _triton(
            "StatusCode.INVALID_ARGUMENT",
            "shared memory is not supported: send the data themselves - at `inputs[0].parameters`",
        ),
    },
}
_KSERVE: dict[str, dict[str, Any]] = {
    "health": {"model_ready": True},
    "ids, versions and parameters": {"parameters": {"text": "a", "whole": -3, "flag": True}},
}
_WRONG_SHAPE = "shape [3, 2] needs 6 elements, the data of input '{}' has {} - at `$.inputs[0].data`"
_OPENAPI: dict[str, dict[str, Any]] = {
    "health": {
        "live_and_ready": [None, None],
        "model_ready": [None, None],
        "unknown_model_is_not_ready": ["NotFoundError", [404, _NONE]],
    },
    # It sends BOOL and integers as floats, which are what they were.
    "JSON data": {"json_datatypes": dict.fromkeys(("BOOL", "INT8", "UINT16", "FP32", "FP64", "BYTES"), True)},
    "errors": {
        # Its own exceptions are for the statuses that the protocol's document lists.
        "unknown_model": ["ApiError", [404, _NONE]],
        "wrong_shape": ["BadRequestError", [400, _WRONG_SHAPE.format("rows", 4)]],
        "model_failed": ["ApiError", [500, _SEVEN]],
    },
}

OWN: dict[str, dict[str, dict[str, Any]]] = {
    "tritonclient http": _TRITON_HTTP,
    "tritonclient http.aio": _TRITON_HTTP,
    "tritonclient grpc": _TRITON_GRPC,
    "tritonclient grpc.aio": {
        **_TRITON_GRPC,
        # It has no way to ask for a last message.
        "streams": {"several_requests": [*[["a", 1, False]] * 3, _NONE, ["c", 2, False]], "cancelled": True},
    },
    "kserve REST": {
        **_KSERVE,
        "binary data": {"no_json_has_them": {"FP16": True, "FP32": True}},
        "errors": {
            "unknown_model": ["HTTPStatusError", f"{_NONE}, '404 Not Found'"],
            "wrong_shape": ["HTTPStatusError", f"{_WRONG_SHAPE.format('x', 2)}, '400 Bad Request'"],
            "model_failed": ["HTTPStatusError", f"{_SEVEN}, '500 Internal Server Error'"],
        },
        "timeouts": {"of_the_client": ["ReadTimeout", True]},
    },
    "kserve gRPC": {
        **_KSERVE,
        "health": {"model_ready": True, "unknown_model_is_not_ready": ["AioRpcError", ["NOT_FOUND", _NONE]]},
        "errors": {
            "unknown_model": ["AioRpcError", ["NOT_FOUND", _NONE]],
            "wrong_shape": [
                "AioRpcError",
                ["INVALID_ARGUMENT", "shape [3, 2] needs 6 elements, fp64_contents has 2 - at `inputs[0]`"],
            ],
            "model_failed": ["AioRpcError", ["INTERNAL", _SEVEN]],
        },
        "timeouts": {"of_the_client": ["AioRpcError", True]},
    },
    "open-inference-openapi": _OPENAPI,
    "open-inference-openapi async": _OPENAPI,
    "pydantic-open-inference": {
        "ids, versions and parameters": {"version_asked_for": [1.5, 4.0]},
        # It tells the status alone.
        "errors": {
            "unknown_model": ["BadStatusCodeFromServerError", 404],
            "model_failed": ["BadStatusCodeFromServerError", 500],
        },
        "timeouts": {"of_the_client": ["OpenInferenceHTTPClientAPIError", True]},
    },
    "requests": {
        "classes": {"best_of_each_row": ["0.5:1:green", "0.25:0:red"]},
        "errors": {
            "unknown_model": [404, "application/json", _NONE],
            "wrong_shape": [400, "application/json", _WRONG_SHAPE.format("rows", 4)],
            "no_json": [400, "application/json", "invalid inference request: Input data was truncated"],
            "model_failed": [500, "application/json", _SEVEN],
        },
        "timeouts": {"of_the_request": [504, "application/json", _LATE], "of_the_client": ["ReadTimeout", True]},
        "streams": {"server_sent_events": [[0], [1], [2]]},
        "changes of trace and log settings": {"change_log_settings": [403, "application/json", f"{_LOG} instead"]},
        "shared memory": {"register_system": [501, "application/json", _NO_MEMORY_REST]},
    },
}


def expected(client: str, capability: str, check: str) -> Any:
    """What `check` of `client` finds; KeyError for one that is not known here."""
    own = OWN[client].get(capability, {})
    return own[check] if check in own else EVERYBODY[capability][check]
