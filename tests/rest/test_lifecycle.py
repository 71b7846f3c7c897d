"""The beginning and the end of a server's life."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.commands import mlserver
from tests.rest.conftest import make_folder, serve
from tests.rest.raw import Raw, get, inference, post
from tests.rest.test_connections import wait_until_there
from tests.seed.serving import Served

GATE = {"gate": {"implementation": "kitchen.Gate"}}


def test_sigterm_answers_what_is_under_way(tmp_path: Path) -> None:
    asked = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open")}
    request = post("/v2/models/gate/infer", inference(1, id="late", parameters=asked))
    folder = make_folder(tmp_path / "models", GATE)
    with serve(folder) as server, Raw(server.port) as idle, Raw(server.port) as raw, Raw(server.port) as gone:
        assert idle.ask(get("/v2")).status == 200
        raw.send(request * 2)
        gone.send(request)
        wait_until_there(tmp_path / "begun")
        gone.close()
        with ThreadPoolExecutor() as pool:
            stopped = pool.submit(server.stop)
            assert idle.closed()
            (tmp_path / "open").touch()
            first, last = raw.answer(), raw.answer()
            stopped.result()
        assert [json.loads(answer.body)["id"] for answer in (first, last)] == ["late", "late"]
        assert "connection" not in first.headers
        assert last.headers["connection"] == "close"
        assert "Traceback" not in server.log


def test_a_request_that_outlasts_the_grace(tmp_path: Path) -> None:
    asked = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open")}
    folder = make_folder(tmp_path / "models", GATE, shutdown_grace_seconds=0.5)
    with serve(folder) as server, Raw(server.port) as raw:
        raw.send(post("/v2/models/gate/infer", inference(1, parameters=asked)))
        wait_until_there(tmp_path / "begun")
        server.stop()
        assert raw.closed()


@pytest.mark.parametrize("setting", ["http_port", "grpc_port", "metrics_port"])
def test_a_port_in_use(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"metrics_endpoint": "/metrics", "metrics_port": 0, setting: port}
        done = mlserver("start", str(make_folder(tmp_path, {}, **settings)))
    assert (done.returncode, done.stderr) == (1, f"error: {setting}: port {port} on 127.0.0.1 is in use\n")


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    done = mlserver("start", str(make_folder(tmp_path, {"m": {"implementation": "kitchen.Unloadable"}})))
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("error: model 'm' failed to load: ValueError: no weights\\nhere")
    assert "Traceback" not in done.stdout + done.stderr


def test_going_on_without_a_model(ailing: Served) -> None:
    assert "ERROR - model 'unloadable' failed to load: ValueError: no weights\\nhere" in ailing.log
    with Raw(ailing.port) as raw:
        assert raw.ask(post("/v2/models/sum/infer", inference(1))).status == 200
