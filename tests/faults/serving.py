"""A real server with the engine's kitchen of models, and its workers by process id."""

import json
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.seed.serving import Served, environment

ROOT = Path(__file__).parents[2]


def put_model(folder: Path, name: str, **settings: Any) -> None:
    """A model of the kitchen, by the name of its class, in a folder of its own."""
    where = folder / name.lower()
    where.mkdir(exist_ok=True)
    given = {"name": name.lower(), "implementation": f"tests.engine.kitchen.{name}", **settings}
    (where / "model-settings.json").write_text(json.dumps(given))


def folder_of(folder: Path, *models: str, **settings: Any) -> Path:
    """A folder to serve, with these models as they are."""
    folder.mkdir(exist_ok=True)
    given = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": "", **settings}
    (folder / "settings.json").write_text(json.dumps(given))
    for name in models:
        put_model(folder, name)
    return folder


def serve(folder: Path) -> Served:
    """The server of a folder, not yet entered."""
    return Served(".", cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT)})


def workers(server: Served) -> list[psutil.Process]:
    """The worker processes of a server, oldest first."""
    children = psutil.Process(server.pid).children()
    found = [child for child in children if "mlserver.engine.worker" in " ".join(_command(child))]
    return sorted(found, key=lambda child: child.pid)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def body(values: list[Any]) -> dict[str, Any]:
    """A request of numbers, or of text."""
    datatype = "BYTES" if values and isinstance(values[0], str) else "FP64"
    return {"inputs": [{"name": "x", "shape": [len(values)], "datatype": datatype, "data": values}]}


def infer(server: Served, model: str, values: list[Any], timeout: float = 60, **headers: str) -> requests.Response:
    """One request, on a connection of its own."""
    url = f"{server.url}/v2/models/{model}/infer"
    return requests.post(url, json=body(values), timeout=timeout, headers=headers)


def put_gate(folder: Path, **settings: Any) -> tuple[Path, Path]:
    """The model `gated`: the file that has a line for each call that has begun, and the one that lets them all end."""
    trace, opened = folder / "trace", folder / "open"
    put_model(folder, "Gated", parameters={"extra": {"trace": str(trace), "open": str(opened)}}, **settings)
    return trace, opened


def begun(trace: Path) -> int:
    """How many calls have begun."""
    return len(trace.read_text().splitlines()) if trace.exists() else 0


def ready(server: Served) -> bool:
    return requests.get(f"{server.url}/v2/health/ready", timeout=30).status_code == 200
