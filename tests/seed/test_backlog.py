"""Records that wait before the server is there, and a server that is ended and started anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.seed.serving import Served, environment
from tests.seed.topics import fresh, records, send, settings_of


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A folder of this test's own, to be served."""
    return shutil.copytree(trained, tmp_path / "model")


def request(number: int) -> bytes:
    """A request with an id of its own; the picture is white."""
    tensor: dict[str, Any] = {"name": "predict", "shape": [1, 64], "datatype": "FP32", "data": [0] * 64}
    return json.dumps({"id": f"request-{number}", "inputs": [tensor]}).encode()


def test_every_record_is_answered_once_across_a_restart(folder: Path, tmp_path: Path, kafka_bootstrap: str) -> None:
    """The first server is told the folder from elsewhere, the second runs in it."""
    topics = fresh(kafka_bootstrap)
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | settings_of(topics)))
    env = environment(http_port=0, metrics_port=0)

    send(topics, map(request, range(5)))
    with Served(folder, cwd=tmp_path, env=env) as first:
        records(topics, 5)
        first.stop()
    send(topics, map(request, range(5, 8)))
    with Served(".", cwd=folder, env=env) as second:
        found = records(topics, 8)
        second.stop()

    answers = [json.loads(record.value) for record in found]
    assert [answer["id"] for answer in answers] == [f"request-{number}" for number in range(8)]
    assert {answer["model_version"] for answer in answers} == {"v0.1.0"}
    assert [dict(record.headers)["mlserver-status"] for record in found] == [b"ok"] * 8
    assert [any("retained records" in line for line in served.lines) for served in (first, second)] == [True, False]
