"""Which lines of the log belong to which request."""

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import raw_request
from tests.observe.conftest import MODELS
from tests.observe.serving import ask, folder_of, grpc_port, serve
from tests.seed.serving import Served


def entries(served: Served, text: str) -> list[dict[str, Any]]:
    """The lines with `text`, of which there is one at least."""
    served.wait_for(text)
    return [json.loads(line) for line in served.lines if text in line]


def test_lines_of_models_name_their_request(served: Served) -> None:
    assert ask(served, "talker", 31, id="over-rest") == 200
    (entry,) = entries(served, "asked 31.0")
    assert (entry["model_name"], entry["request_id"]) == ("talker", "over-rest")
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(served)}") as channel:
        GRPCInferenceServiceStub(channel).ModelInfer(
            raw_request("talker", np.full(1, 32.0), id="over-grpc"), timeout=30
        )
    (entry,) = entries(served, "asked 32.0")
    assert (entry["model_name"], entry["request_id"]) == ("talker", "over-grpc")


def test_a_failure_names_its_request(served: Served) -> None:
    assert ask(served, "talker", -31, id="that-fails") == 500
    found = entries(served, "on request that-fails")
    assert [(entry["level"], entry["request_id"]) for entry in found] == [("ERROR", "that-fails")]


@pytest.mark.parametrize("workers", [0, 1])
def test_text_cannot_be_forged(tmp_path: Path, workers: int) -> None:
    with serve(folder_of(tmp_path, MODELS, parallel_workers=workers)) as server:
        ask(server, "talker", -1, id="a\r\nFORGED\x1b[31m")
        ask(server, "talker", 33, id="last")
        assert "[mlserver][talker][last] INFO - asked 33.0" in server.wait_for("asked 33.0")
        assert any("FORGED" in line for line in server.lines)
        assert not any(line.startswith("FORGED") or "\x1b" in line for line in server.lines)
        server.stop()
