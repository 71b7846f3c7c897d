"""The routes of the protocol, as one table: what is served is made from it, and what the OpenAPI documents say."""

from collections.abc import Iterator
from typing import NamedTuple

_MODEL = "/v2/models/{model_name}"
_VERSION = _MODEL + "/versions/{model_version}"


class Operation(NamedTuple):
    """One verb of one path.

    `handler` is the name of the method that answers, `body` and `answer` are names of schemas, None where there is no
    body; `stream` answers with events of that schema, `binary` takes and gives binary data behind its JSON. `statuses`
    are those of its errors, besides what any request may get; `any_status` where a model may choose one. `counted`:
    metrics tell of it.
    """

    method: str
    path: str
    handler: str
    summary: str
    answer: str | None
    body: str | None = None
    statuses: tuple[int, ...] = ()
    stream: bool = False
    binary: bool = False
    any_status: bool = False
    counted: bool = True
    body_required: bool = True
    tag: str = "server"


_READ = (404, 503)
_PREDICT = (404, 429, 500, 501, 503, 504)
_ADMIN = (403, 404, 500, 503)

_SERVER = [
    Operation("GET", "/v2/health/live", "live", "Whether the process answers", "Live", counted=False),
    Operation("GET", "/v2/health/ready", "ready", "Whether every model is ready", "Ready", None, (503,), counted=False),
    Operation("GET", "/v2", "server_metadata", "Name, version and extensions of the server", "MetadataServerResponse"),
    Operation("GET", "/v2/models", "models", "Names of the models", "ModelList"),
    Operation("GET", "/v2/models/stats", "all_statistics", "Statistics of every model", "Statistics"),
    Operation("GET", "/v2/trace/setting", "trace_settings", "Trace settings", "TraceSettings"),
    Operation(
        "POST", "/v2/trace/setting", "trace_settings", "Trace settings; a change is refused", "TraceSettings",
        "TraceSettings", (403,), body_required=False,
    ),
    Operation("GET", "/v2/logging", "log_settings", "Log settings", "LogSettings"),
    Operation(
        "POST", "/v2/logging", "log_settings", "Log settings; a change is refused", "LogSettings", "LogSettings",
        (403,), body_required=False,
    ),
]  # fmt: skip

# Below the path of a model, with its version or without.
_OF_A_MODEL = [
    Operation("GET", "", "model_metadata", "Name, versions and tensors", "MetadataModelResponse", None, _READ),
    Operation("GET", "/ready", "model_ready", "Whether the model is ready", "ModelReady", None, _READ, counted=False),
    Operation("GET", "/config", "model_config", "Configuration, as Triton has it", "ModelConfig", None, _READ),
    Operation("GET", "/stats", "model_statistics", "Statistics", "Statistics", None, (404,)),
    Operation(
        "POST", "/infer", "infer", "Predict", "InferenceResponse", "InferenceRequest", _PREDICT, any_status=True,
        binary=True,
    ),
    Operation(
        "POST", "/infer_stream", "infer_stream", "Predict; each answer is an event as soon as it is there",
        "InferenceResponse", "InferenceRequest", _PREDICT, stream=True, any_status=True,
    ),
    Operation(
        "POST", "/generate", "generate", "Predict, by fields or by an inference request", "GenerateResponse",
        "GenerateRequest", _PREDICT, any_status=True, binary=True,
    ),
    Operation(
        "POST", "/generate_stream", "generate_stream", "The same; each answer is an event", "GenerateResponse",
        "GenerateRequest", _PREDICT, stream=True, any_status=True,
    ),
]  # fmt: skip

_TRACE_OF_A_MODEL = [
    Operation("GET", f"{_MODEL}/trace/setting", "trace_settings", "Trace settings", "TraceSettings", None, (404,)),
    Operation(
        "POST", f"{_MODEL}/trace/setting", "trace_settings", "Trace settings; a change is refused", "TraceSettings",
        "TraceSettings", (403, 404), body_required=False,
    ),
]  # fmt: skip


def _repository() -> Iterator[Operation]:
    """Triton's clients may name a repository in the path; there is one, whatever its name."""
    for prefix in ("/v2/repository", "/v2/repository/{repository}"):
        yield Operation(
            "POST", f"{prefix}/index", "index", "The models of the repository and their states",
            "RepositoryIndexResponse", "RepositoryIndexRequest", body_required=False,
        )  # fmt: skip
        for verb, summary in (("load", "Load or reload a model"), ("unload", "Unload a model")):
            yield Operation(
                "POST", f"{prefix}/models/{{model_name}}/{verb}", verb, summary, None, "RepositoryChange", _ADMIN,
                body_required=False, any_status=True,
            )  # fmt: skip


def _of_models() -> Iterator[Operation]:
    for prefix in (_MODEL, _VERSION):
        for operation in _OF_A_MODEL:
            yield operation._replace(path=prefix + operation.path, tag="model")
    yield from (operation._replace(tag="model") for operation in _TRACE_OF_A_MODEL)


OPERATIONS: tuple[Operation, ...] = (
    *_SERVER,
    *_of_models(),
    *(operation._replace(tag="repository") for operation in _repository()),
)
