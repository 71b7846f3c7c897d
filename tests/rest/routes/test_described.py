"""What the server says of itself and of its models, beyond the protocol's own metadata."""

import json
from typing import Any

import pytest
import requests

from mlserver.errors import Kind
from mlserver.events import BatchRun, Hub, RequestDone
from mlserver.extensions import EXTENSIONS, extensions, model_config
from mlserver.observe.statistics import Statistics
from mlserver.types import MetadataModelResponse, MetadataTensor
from tests.rest.raw import Answer, Raw, get, post
from tests.rest.routes.test_generate import model
from tests.rest.routes.test_streams import ask
from tests.seed.serving import Served

MODELS = {"a-waiter", "b-cook", "endless", "hose", "rows", "speaker", "stepper"}
TRACE = {
    "trace_file": "", "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0",
}  # fmt: skip
LOGGING = {
    "log_file": "", "log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0,
    "log_format": "default",
}  # fmt: skip


def fetch(served: Served, path: str) -> Answer:
    """A GET on a connection of its own."""
    with Raw(served.port) as raw:
        return raw.ask(get(path))


def told(served: Served, path: str) -> Any:
    """The JSON at a path."""
    answer = fetch(served, path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return json.loads(answer.body)


def test_extensions_are_ours_and_those_of_the_settings(routed: Served) -> None:
    assert told(routed, "/v2")["extensions"] == [*EXTENSIONS, "own"]
    assert extensions(["own", EXTENSIONS[0]]) == [*EXTENSIONS, "own"]
    assert not [name for name in EXTENSIONS if "shared_memory" in name]


@pytest.mark.parametrize("path", ["/v2/models", "/v2/models/"])
def test_the_names_of_models(routed: Served, path: str) -> None:
    found = told(routed, path)
    assert found.keys() == {"models"}
    assert (len(found["models"]), set(found["models"])) == (len(MODELS), MODELS)


@pytest.mark.parametrize("path", ["/v2/models/rows", "/v2/models/rows/versions/v1", "/v2/models/rows?model_version=v1"])
def test_configuration_of_a_model_that_batches(routed: Served, path: str) -> None:
    path, _, query = path.partition("?")
    assert told(routed, f"{path}/config{'?' + query if query else ''}") == {
        "name": "rows",
        "platform": "test",
        "backend": "mlserver",
        "version_policy": {"all": {}},
        "max_batch_size": 32,
        "input": [{"name": "x", "data_type": "TYPE_FP64", "dims": [4]}],
        "output": [{"name": "sums", "data_type": "TYPE_FP64", "dims": []}],
        "dynamic_batching": {"preferred_batch_size": [], "max_queue_delay_microseconds": 0},
    }


def test_configuration_of_a_model_that_does_not(routed: Served) -> None:
    config = told(routed, "/v2/models/speaker/config")
    assert (config["max_batch_size"], config["input"][1]["dims"]) == (0, [-1, 1])
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert "dynamic_batching" not in config


@pytest.mark.parametrize(("shape", "rows", "size", "dims"), [
    ([-1, 4], 8, 8, [4]), ([-1, 4], 1, 0, [-1, 4]), ([2, 4], 8, 0, [2, 4]), ([], 8, 0, []),
])  # fmt: skip
def test_the_batch_dimension_is_in_shapes_and_not_in_dims(
    shape: list[int], rows: int, size: int, dims: list[int]
) -> None:
    config = model_config(model(("x", "FP32", shape)), rows)
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (size, dims)


def test_a_model_without_metadata_has_a_configuration() -> None:
    assert model_config(MetadataModelResponse(name="m", platform=""), 8)["input"] == []
    only_out = MetadataModelResponse(
        name="m", platform="", outputs=[MetadataTensor(name="y", datatype="INT8", shape=[1])]
    )
    assert model_config(only_out, 8)["max_batch_size"] == 0


def test_statistics_of_a_model(routed: Served) -> None:
    asked = {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP64", "data": [1] * 8}]}
    wrong = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    path = "/v2/models/rows/versions/v1"
    (before,) = told(routed, f"{path}/stats")["model_stats"]
    assert [ask(routed, f"{path}/infer", body).status for body in (asked, asked, wrong)] == [200, 200, 500]
    (after,) = told(routed, "/v2/models/rows/stats")["model_stats"]
    assert (after["name"], after["version"]) == ("rows", "v1")
    for stage, count in (("success", 2), ("fail", 1)):
        was, now = before["inference_stats"][stage], after["inference_stats"][stage]
        assert now["count"] - was["count"] == count
        assert now["ns"] > was["ns"]


def test_statistics_of_every_model(routed: Served) -> None:
    found = told(routed, "/v2/models/stats")["model_stats"]
    assert {stats["name"] for stats in found} == MODELS
    (unused,) = [stats for stats in found if stats["name"] == "b-cook"]
    assert (unused["version"], unused["inference_count"], unused["batch_stats"]) == ("1", 0, [])
    assert unused["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}


def test_a_batch_counts_its_rows_and_each_request_of_it() -> None:
    statistics = Statistics()
    tell = Hub(statistics).tell
    tell(RequestDone("m", None, 0.5, None, 3))
    tell(RequestDone("m", None, 0.25, Kind.MODEL))
    tell(BatchRun("m", None, 8, 3, 0.75, 0.25))
    tell(BatchRun("m", "", 8, 1, 0.0, 0.25))
    tell(BatchRun("m", "2", 1, 1, 0.0, 0.25))
    first, second = statistics.of([("m", None), ("m", "2")])
    assert (first["inference_count"], first["execution_count"], second["execution_count"]) == (16, 2, 1)
    assert first["last_inference"] > 1_600_000_000_000
    stages = first["inference_stats"]
    assert stages["success"] == {"count": 3, "ns": 1_500_000_000}
    assert stages["fail"] == {"count": 1, "ns": 250_000_000}
    assert stages["queue"] == {"count": 4, "ns": 750_000_000}
    assert stages["compute_infer"] == {"count": 4, "ns": 1_000_000_000}
    (batch,) = first["batch_stats"]
    assert (batch["batch_size"], batch["compute_infer"]) == (8, {"count": 2, "ns": 500_000_000})


@pytest.mark.parametrize(
    ("path", "settings"),
    [("/v2/trace/setting", TRACE), ("/v2/models/rows/trace/setting", TRACE), ("/v2/logging", LOGGING)],
)
def test_settings_are_read_and_not_changed(routed: Served, path: str, settings: dict[str, Any]) -> None:
    assert told(routed, path) == settings
    for same in (settings, dict.fromkeys(settings), {}, b""):
        answer = ask(routed, path, same)
        assert (answer.status, json.loads(answer.body)) == (200, settings)
    name = next(iter(settings))
    answer = ask(routed, path, {name: "other"})
    assert answer.status == 403
    assert answer.error.startswith(f"{name} cannot be changed while the server runs: set `")
    answer = ask(routed, path, {"colour": 1})
    assert answer.status == 400
    assert answer.error.startswith("unknown setting 'colour'; expected one of ")
    assert ask(routed, path, b"[").status == 400


@pytest.mark.parametrize("path", ["config", "stats", "trace/setting", "docs", "docs/dataplane.json"])
def test_404_of_an_unknown_model(routed: Served, path: str) -> None:
    assert fetch(routed, f"/v2/models/none/{path}").error == "model 'none' not found"


@pytest.mark.parametrize("path", ["systemsharedmemory/status", "cudasharedmemory/region/a/register"])
def test_shared_memory_is_refused(routed: Served, path: str) -> None:
    for method in ("get", "post"):
        answer = requests.request(method, f"{routed.url}/v2/{path}", timeout=20)
        assert (answer.status_code, answer.json()) == (
            501, {"error": "shared memory is not supported; send tensors in the request"},
        )  # fmt: skip


def test_the_prefix_of_a_proxy(routed: Served) -> None:
    assert told(routed, "/behind/v2/models/rows")["name"] == "rows"
    assert fetch(routed, "/behindv2").status == 404
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
    with Raw(routed.port) as raw:
        assert raw.ask(post("/behind/v2/models/rows/infer", body)).status == 200
        assert raw.ask(post("/behind/v2/models/rows/versions/v1/infer/", body)).status == 200
        assert raw.ask(post("/elsewhere/v2/models/rows/infer", body)).status == 404
