"""One server for the whole room, and channels to it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import Door
from tests.rest.conftest import free_port
from tests.seed.serving import Served, environment

LIMIT = 200_000
"""`max_body_bytes` of the server, in bytes."""

_TENSOR = {"name": "x", "datatype": "FP64", "shape": [-1, 2], "parameters": {"content_type": "np"}}
_MODELS: dict[str, dict[str, Any]] = {
    "sum": {"implementation": "kitchen.Sum", "platform": "test", "inputs": [_TENSOR]},
    "echo": {"implementation": "kitchen.Echo"},
    "headers": {"implementation": "kitchen.Headers"},
    "raiser": {"implementation": "kitchen.Raiser"},
    "half": {"implementation": "kitchen.Half"},
    "gate": {"implementation": "kitchen.Gate"},
    "count": {"implementation": "kitchen.Count"},
    "unimplemented": {"implementation": "mlserver.MLModel"},
    "twice-v1": {"name": "twice", "implementation": "kitchen.Echo", "parameters": {"version": "v1"}},
    "twice-v2": {"name": "twice", "implementation": "kitchen.Sum", "parameters": {"version": "v2"}},
}


def make_folder(folder: Path, models: dict[str, dict[str, Any]] = _MODELS, **settings: Any) -> Path:
    """What `mlserver start` serves: each model in a folder of its own, on ports that are free."""
    folder.mkdir(exist_ok=True)
    given = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": "", "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(given | settings))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in models.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    return folder


def serve(folder: Path) -> Served:
    """The server of a folder, not yet entered."""
    return Served(".", cwd=folder, env=environment())


def port_of(served: Served) -> int:
    """Where gRPC answers."""
    return int(served.wait_for("gRPC on ").rpartition(":")[2])


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
    settings: dict[str, Any] = {
        "debug": True,
        "metrics_endpoint": "/metrics",
        "metrics_port": metrics_port,
        "max_body_bytes": LIMIT,
    }
    with serve(make_folder(tmp_path_factory.mktemp("served"), **settings)) as server:
        yield server
        server.stop()
        no_surprise(server)


@pytest.fixture
def connect(served: Served) -> Iterator[Callable[..., grpc.Channel]]:
    """Open a channel to `served`; closed in the end."""
    channels = []

    def opened(**options: Any) -> grpc.Channel:
        channel = grpc.insecure_channel(f"127.0.0.1:{port_of(served)}", **options)
        channels.append(channel)
        return channel

    yield opened
    for channel in channels:
        channel.close()


@pytest.fixture
def channel(connect: Callable[..., grpc.Channel]) -> grpc.Channel:
    """A channel to `served`."""
    return connect()


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    """Our own stub on it."""
    return GRPCInferenceServiceStub(channel)


@pytest.fixture
def door(stub: Any) -> Door:
    """What most tests ask."""
    return Door(stub)
