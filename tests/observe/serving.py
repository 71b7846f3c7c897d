"""A real server with the kitchen of this room, and what it tells."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.rest.test_metrics import Series, scraped
from tests.seed.serving import PATIENCE_SECONDS, Served, environment


def folder_of(folder: Path, models: dict[str, dict[str, Any]], **settings: Any) -> Path:
    """What `mlserver start` serves: each model in a folder of its own, on ports that are free."""
    given = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": "", **settings}
    (folder / "settings.json").write_text(json.dumps(given))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in models.items():
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    return folder


def serve(folder: Path, **env: str) -> Served:
    """The server of a folder, not yet entered."""
    return Served(".", cwd=folder, env=environment() | env)


def grpc_port(server: Served) -> int:
    """Where gRPC answers."""
    return int(server.wait_for("gRPC on ").rpartition(":")[2].rstrip('"}'))


def body(*values: float, **more: Any) -> dict[str, Any]:
    """A request of numbers."""
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": "FP64", "data": list(values)}], **more}


def ask(server: Served, model: str, *values: float, headers: dict[str, str] | None = None, **more: Any) -> int:
    """The status of one request over REST."""
    url = f"{server.url}/v2/models/{model}/infer"
    return requests.post(url, json=body(*values, **more), headers=headers, timeout=30).status_code


def eventually(holds: Callable[[], bool]) -> None:
    """Go on as soon as it is so. Fails where it does not come to be."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until(port: int, holds: Callable[[Series], bool]) -> Series:
    """The page of metrics, as soon as it is so."""
    found: Series = {}

    def holds_now() -> bool:
        nonlocal found
        found = scraped(port)
        return holds(found)

    eventually(holds_now)
    return found


def value_of(found: Series, name: str, **labels: str) -> float:
    """One value; 0 where there is no such series."""
    return found.get((name, tuple(sorted(labels.items()))), 0.0)
