"""`mlserver infer --transport grpc`, the real command against a real server."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import mlserver, put
from tests.rest.conftest import free_port
from tests.seed.serving import Served, environment

pytestmark = pytest.mark.usefixtures("here")

LINES = [
    {"id": "a", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]},
    {"id": "b", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [7, 1]}]},
    {"id": "c", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [[3, 4]]}]},
    {"id": "d", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "no such", "data": [3, 4]}]},
]


@pytest.mark.parametrize("options", [["-s", "1"], ["-s", "4"], ["-b"]])
def test_answers(here: Path, options: list[str]) -> None:
    put("models/settings.json", {"host": "127.0.0.1", "http_port": 0, "metrics_port": 0, "parallel_workers": 0})
    put("models/double/model-settings.json", {"name": "double", "implementation": "kitchen.Double"})
    put("models/headers/model-settings.json", {"name": "headers", "implementation": "kitchen.Headers"})
    put("models/kitchen.py", Path(__file__).with_name("kitchen.py").read_text())
    put("in", "\n".join(map(json.dumps, LINES)))
    port = free_port()
    with Served("models", cwd=here, env=environment(grpc_port=port)):
        arguments = ["-t", "grpc", "-u", f"127.0.0.1:{port}", "-i", "in", "-o", "out", "-r", "0"]
        done = mlserver("infer", *arguments, "-m", "double", *options)
        assert done.returncode == 1, done.stderr
        found = {answer["id"]: answer for answer in map(json.loads, Path("out").read_text().splitlines())}
        mlserver("infer", *arguments, "-m", "headers", "-H", "X-Tenant: t")
        headers = [json.loads(line) for line in Path("out").read_text().splitlines()]
    assert found["a"]["outputs"][0]["data"] == [2.0, 4.0]
    assert found["c"]["outputs"][0]["data"] == [6.0, 8.0]
    assert found["b"]["error"]["msg"] == "INVALID_ARGUMENT: 7 is refused"
    assert found["d"]["error"]["msg"].startswith("cannot be sent over gRPC: ")
    texts = [json.loads(answer["outputs"][0]["data"][0]) for answer in headers if "outputs" in answer]
    assert len(texts) == 3
    assert all(text["x-tenant"] == "t" and text["x-request-id"] for text in texts)
