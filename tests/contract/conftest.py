"""One server for all doors, with worker processes as people have them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.contract.doors import Doors
from tests.seed.serving import Served, environment

_MODELS: dict[str, dict[str, Any]] = {
    "echo": {"implementation": "kitchen.Echo"},
    "sum": {"implementation": "kitchen.Sum"},
    "versioned": {"implementation": "kitchen.Echo", "parameters": {"version": "2"}},
    "raises": {"implementation": "kitchen.Raises"},
    "count": {"implementation": "kitchen.Count"},
    "never": {"implementation": "kitchen.Never"},
}
MAX_BODY_BYTES = 200_000


def make_folder(folder: Path, **settings: Any) -> Path:
    """What `mlserver start` serves, on ports that are free."""
    given = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": ""}
    limits = {"max_body_bytes": MAX_BODY_BYTES}
    (folder / "settings.json").write_text(json.dumps({**given, **limits, **settings}))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in _MODELS.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    return folder


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """REST and gRPC of a server that is ready."""
    folder = make_folder(tmp_path_factory.mktemp("contract"))
    with Served(".", cwd=folder, env=environment()) as server:
        port = server.wait_for("gRPC on ").rpartition(":")[2]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            asked = Doors(server.url, channel)
            yield asked
            asked.close()
        server.stop()
        assert "unexpected failure" not in server.log
