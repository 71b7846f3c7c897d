"""A server with what the routes need: models that stream, tensors in metadata, web pages, a prefix."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rest.conftest import make_folder, no_surprise, serve
from tests.seed.serving import Served

ORIGIN = "https://page.example"
CORS: dict[str, Any] = {
    "allow_origins": [ORIGIN],
    "allow_origin_regex": r"https://.*\.pages\.example",
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["x-own"],
    "expose_headers": ["ce-id"],
    "allow_credentials": True,
    "max_age": 60,
}


def _tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


_MODELS: dict[str, dict[str, Any]] = {
    "speaker": {
        "implementation": "menu.Speaker",
        "inputs": [_tensor("text_input", "BYTES", 1), _tensor("temperature", "FP32", -1, 1)],
        "outputs": [_tensor("text_output", "BYTES", 1)],
    },
    "stepper": {"implementation": "menu.Stepper"},
    "endless": {"implementation": "menu.Endless"},
    "hose": {"implementation": "menu.Hose"},
    "rows": {
        "implementation": "menu.Rows",
        "platform": "test",
        "max_batch_size": 32,
        "inputs": [_tensor("x", "FP64", -1, 4)],
        "outputs": [_tensor("sums", "FP64", -1)],
        "parameters": {"version": "v1"},
    },
    "a-waiter": {"implementation": "menu.Waiter"},
    "b-cook": {"implementation": "menu.Cook"},
}


@pytest.fixture(scope="session")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of these models that is ready."""
    folder = tmp_path_factory.mktemp("routed")
    shutil.copy(Path(__file__).with_name("menu.py"), folder)
    settings = {"cors_settings": CORS, "root_path": "/behind", "server_name": "tavern", "extensions": ["own"]}
    make_folder(folder, _MODELS, **settings)
    with serve(folder) as server:
        yield server
        server.stop()
        no_surprise(server)


@pytest.fixture(scope="session")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose models are in a worker."""
    folder = tmp_path_factory.mktemp("worked")
    shutil.copy(Path(__file__).with_name("menu.py"), folder)
    models = {name: _MODELS[name] for name in ("speaker", "stepper", "endless", "hose", "a-waiter", "b-cook")}
    make_folder(folder, models | {"sick": {"implementation": "menu.Sick"}}, parallel_workers=1)
    with serve(folder) as server:
        yield server
        server.stop()


def events(body: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, which are all it has."""
    *blocks, rest = body.split(b"\n\n")
    assert rest == b""
    assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
    return [json.loads(block.removeprefix(b"data: ")) for block in blocks]
