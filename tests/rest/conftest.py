"""Two servers for the whole room: one that is well, and one half of whose models are not."""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.seed.serving import Served, environment

LIMIT = 100_000
"""`max_body_bytes` of the servers, in bytes."""

LARGE = 8 * 1024 * 1024
"""`max_body_bytes` of the hasty one."""

WELL: dict[str, dict[str, Any]] = {
    "sum": {"implementation": "kitchen.Sum", "platform": "test"},
    "echo": {"implementation": "kitchen.Echo"},
    "headers": {"implementation": "kitchen.Headers"},
    "raiser": {"implementation": "kitchen.Raiser"},
    "gate": {"implementation": "kitchen.Gate"},
    "large": {"implementation": "kitchen.Large"},
    "doubler": {"implementation": "kitchen.Doubler"},
    "relying": {"implementation": "kitchen.Echo", "versions": ["numpy 2.4", "own 1.0"]},
    "raw": {"implementation": "kitchen.Echo", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]},
    "scores": {
        "implementation": "kitchen.Echo",
        "outputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3], "parameters": {"labels": ["cat", "dog"]}}],
    },
    "unimplemented": {"implementation": "mlserver.MLModel"},
    "twice-v1": {"name": "twice", "implementation": "kitchen.Echo", "parameters": {"version": "v1"}},
    "twice-v2": {"name": "twice", "implementation": "kitchen.Sum", "parameters": {"version": "v2"}},
}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def make_folder(folder: Path, models: dict[str, dict[str, Any]], **settings: Any) -> Path:
    """What `mlserver start` serves: each model in a folder of its own, on ports that are free."""
    folder.mkdir(exist_ok=True)
    ports = {"http_port": 0, "grpc_port": 0, "metrics_endpoint": ""}
    given = {"host": "127.0.0.1", "parallel_workers": 0, **ports, **settings}
    (folder / "settings.json").write_text(json.dumps(given))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in models.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    return folder


def serve(folder: Path) -> Served:
    """The server of a folder, not yet entered."""
    return Served(".", cwd=folder, env=environment())


def no_surprise(served: Served) -> None:
    """Nothing went wrong that the caller was not told of, and nothing is left over."""
    assert served.stderr == ""
    for word in ("unexpected failure", "never retrieved", "never awaited", "Task was destroyed", "Cancel"):
        assert word not in served.log


@pytest.fixture(scope="session")
def metrics_port() -> int:
    """Where `served` has its metrics."""
    return free_port()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[Served]:
    """A server that is ready, with debug on."""
    settings = {"debug": True, "metrics_endpoint": "/metrics", "metrics_port": metrics_port}
    folder = make_folder(tmp_path_factory.mktemp("served"), WELL, max_body_bytes=LIMIT, **settings)
    with serve(folder) as server:
        yield server
        server.stop()
        no_surprise(server)


@pytest.fixture(scope="session")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that waits for callers no longer than it takes to see it, and takes large bodies."""
    models = {name: WELL[name] for name in ("sum", "echo", "gate", "large")}
    timeouts = {"header_timeout_seconds": 0.5, "body_timeout_seconds": 0.8, "idle_timeout_seconds": 1.2}
    folder = make_folder(tmp_path_factory.mktemp("hasty"), models, max_body_bytes=LARGE, **timeouts)
    with serve(folder) as server:
        yield server
        server.stop()
        no_surprise(server)


@pytest.fixture(scope="session")
def ailing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that goes on without some of its models, with debug off."""
    models = {
        "sum": {"implementation": "kitchen.Sum"},
        "unready": {"implementation": "kitchen.Unready"},
        "unloadable": {"implementation": "kitchen.Unloadable"},
    }
    folder = make_folder(tmp_path_factory.mktemp("ailing"), models, on_load_failure="continue", gzip_enabled=False)
    with serve(folder) as server:
        yield server
        server.stop()
        no_surprise(server)
