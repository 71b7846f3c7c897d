"""Names never become paths, and no link leads out of the repository: an audit hook sees what a real server opens."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc
import pytest

from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import refusal
from tests.seed.serving import Served, environment

# Imported by every Python process before anything else: notes each path that is opened or listed, and by what.
HOOK = """
import os, sys
log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, args):
    if event in ("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove") and args:
        path = os.fsdecode(args[0]) if isinstance(args[0], (str, bytes)) else None
        if path is not None:
            os.write(log, os.fsencode(os.path.abspath(path)).replace(b"\\n", b"?") + b"\\n")
sys.addaudithook(note)
"""
MODEL = {"implementation": "mlserver.MLModel"}
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a model and links that lead out of it, and a model beside it that must not be touched."""
    for folder in ("outside", "models/good", "models/linked"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "outside/model-settings.json").write_text(json.dumps(MODEL))
    (tmp_path / "models/good/model-settings.json").write_text(json.dumps(MODEL))
    (tmp_path / "models/folder").symlink_to("../outside")
    (tmp_path / "models/absolute").symlink_to(tmp_path / "outside")
    (tmp_path / "models/up").symlink_to("..")
    (tmp_path / "models/linked/model-settings.json").symlink_to("../../outside/model-settings.json")
    settings = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": ""}
    (tmp_path / "models/settings.json").write_text(json.dumps(settings))
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    return tmp_path


@pytest.fixture
def served(root: Path) -> Iterator[Served]:
    env = environment() | {"PYTHONPATH": str(root / "hook"), "AUDIT_LOG": str(root / "audit")}
    with Served("models", cwd=root, env=env) as server:
        yield server


def opened(root: Path) -> list[str]:
    """Every path that the server opened, or tried to."""
    return (root / "audit").read_text(errors="replace").splitlines()


def hostile(root: Path) -> list[str]:
    """Names as they stand in a URL."""
    outside = str(root / "outside").replace("/", "%2f")
    return [
        "..", ".", "../outside", "%2e%2e", "%2e%2e%2foutside", "%2e%2e/outside", "%252e%252e%252foutside",
        "..%2foutside", "..%5coutside", outside, "%2f" + outside, "file:%2f%2f" + outside,
        "good%2f..%2f..%2foutside", "good/../../outside", "good%00", "%00", "%c0%ae%c0%ae%c0%afoutside", "%uff0e%uff0e",
        "folder", "absolute", "up", "linked", "outside", "~", "$HOME", "`id`", "n" * 10_240, "%0d%0aoutside", "",
    ]  # fmt: skip


def ask(port: int, method: str, path: str) -> int:
    """The status of a request whose path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        body = BODY.encode() if method == "POST" else b""
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


def ask_grpc(served: Served, root: Path) -> None:
    """The same names as they are, to all that takes one over gRPC."""
    port = served.wait_for("gRPC on ").rpartition(":")[2]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        for name in {unquote(name, errors="replace") for name in hostile(root)}:
            for call, request in (
                (stub.ModelInfer, pb.ModelInferRequest(model_name=name)),
                (stub.ModelInfer, pb.ModelInferRequest(model_name="good", model_version=name or "x")),
                (stub.ModelReady, pb.ModelReadyRequest(name=name)),
                (stub.ModelMetadata, pb.ModelMetadataRequest(name=name)),
                (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name=name)),
                (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name=name)),
            ):
                assert refusal(call, request).code in ("NOT_FOUND", "INVALID_ARGUMENT"), name


def test_no_name_reaches_a_path(served: Served, root: Path) -> None:
    assert any(path.endswith("models/good/model-settings.json") for path in opened(root))
    assert "folder: leads out of the repository, not followed" in served.log
    assert "linked/model-settings.json: leads out of the repository, not followed" in served.log
    assert ask(served.port, "GET", "/v2/models/good/ready") == 200
    before = len(opened(root))
    for name in hostile(root):
        for method, path in (
            ("POST", f"/v2/models/{name}/infer"),
            ("GET", f"/v2/models/{name}" if name else "/v2/models//versions/1"),
            ("GET", f"/v2/models/{name}/ready"),
            ("POST", f"/v2/models/good/versions/{name}/infer"),
            ("POST", f"/v2/repository/models/{name}/load"),
            ("POST", f"/v2/repository/models/{name}/unload"),
        ):
            assert 400 <= ask(served.port, method, path) < 500, (method, path)
    ask_grpc(served, root)
    found = opened(root)
    assert [path for path in found[before:] if "outside" in path or "\0" in path or "nnnn" in path] == []
    real = {os.path.realpath(path) for path in found if path.startswith(str(root))}
    assert [path for path in real if path.startswith(str(root / "outside"))] == []
    assert ask(served.port, "GET", "/v2/models/good/ready") == 200
