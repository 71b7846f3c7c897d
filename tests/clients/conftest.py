"""One server for the clients, as people start it: worker processes, everything at its default."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.environments import CACHE
from tests.clients.running import SCRIPTS, Addresses, run
from tests.seed.serving import Served, environment

_ROWS = {"name": "rows", "datatype": "FP64", "shape": [-1, 2]}
_PER_ROW = [{"name": name, "datatype": "FP64", "shape": [-1]} for name in ("sums", "means")]
_SCORES = {"name": "scores", "datatype": "FP32", "shape": [-1, 3]}
_LABELS = {"parameters": {"labels": ["red", "green", "blue"]}}
MODELS: dict[str, dict[str, Any]] = {
    "echo": {"implementation": "kitchen.Echo"},
    "sum": {"implementation": "kitchen.Sum", "platform": "test", "inputs": [_ROWS], "outputs": _PER_ROW},
    "versioned": {"implementation": "kitchen.Sum", "parameters": {"version": "2"}},
    "scores": {"implementation": "kitchen.Echo", "inputs": [_SCORES], "outputs": [_SCORES | _LABELS]},
    "count": {"implementation": "kitchen.Count"},
    "fails": {"implementation": "kitchen.Fails"},
    "never": {"implementation": "kitchen.Never"},
    "shelf": {"implementation": "kitchen.Echo"},
}
_FREE_PORTS = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_port": 0}


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that is ready."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "settings.json").write_text(json.dumps(_FREE_PORTS))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in MODELS.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    with Served(".", cwd=folder, env=environment()) as server:
        yield server
        server.stop()
        assert "unexpected failure" not in server.log
        assert server.stderr == ""


@pytest.fixture(scope="session")
def results(served: Served) -> dict[str, Any]:
    """Client -> capability -> check -> result, of all clients."""
    grpc_port = int(served.wait_for("gRPC on ").rpartition(":")[2])
    addresses = Addresses(f"127.0.0.1:{served.port}", f"127.0.0.1:{grpc_port}")
    found: dict[str, Any] = {}
    for script in SCRIPTS:
        found |= run(script, addresses)
    (CACHE / "results.json").write_text(json.dumps(found, indent=1))
    return found
