"""Who may load models, under each `admin_access`, at both doors; and nobody makes the server fetch one."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psutil
import requests

from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import model_repository_pb2 as old
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.grpc.model_repository_pb2_grpc import ModelRepositoryServiceStub
from tests.grpc.client import refusal
from tests.grpc.conftest import port_of
from tests.rest.conftest import make_folder, no_surprise, serve
from tests.seed.serving import Served

TOKEN = "sixteen characters or more"
MODELS = {"sum": {"implementation": "kitchen.Sum"}}
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PATHS = ("models/sum/load", "models/sum/unload", "any/models/sum/unload", "models/none/load", "models", "nothing")
ELSEWHERE = "127.0.0.9"
"""An address that only this machine has, in place of one that only a cloud's machines have."""


@contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Served]:
    """A server of one model."""
    with serve(make_folder(folder / "models", MODELS, **settings)) as server:
        yield server
        server.stop()
        no_surprise(server)


def told(server: Served, path: str, method: str = "POST", host: str = "", **headers: str) -> int:
    """The status of a request to the repository; names of headers have `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    address = f"http://{host or '127.0.0.1'}:{server.port}/v2/repository/{path}"
    return requests.request(method, address, headers=named, timeout=60).status_code


def codes(server: Served, host: str = "127.0.0.1", **metadata: str) -> set[str]:
    """How all calls end that load or unload, by both services."""
    with grpc.insecure_channel(f"{host}:{port_of(server)}") as channel:
        calls = [
            (getattr(stub, f"RepositoryModel{verb}"), getattr(messages, f"RepositoryModel{verb}Request"))
            for stub, messages in ((GRPCInferenceServiceStub(channel), pb), (ModelRepositoryServiceStub(channel), old))
            for verb in ("Unload", "Load")
        ]
        return {_ended(call, request(model_name="sum"), list(metadata.items())) for call, request in calls}


def _ended(call: Any, request: Any, metadata: list[tuple[str, str]]) -> str:
    try:
        call(request, metadata=metadata, timeout=60)
    except grpc.RpcError as error:
        raised: Any = error
        return str(raised.code().name)
    return "OK"


def there(server: Served) -> bool:
    return requests.get(f"{server.url}/v2/models/sum/ready", timeout=60).status_code == 200


def test_off(tmp_path: Path) -> None:
    with serving(tmp_path, admin_access="off") as server:
        for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            assert {told(server, path, verb, **headers) for path in PATHS for verb in VERBS} == {403}
        assert codes(server) == codes(server, authorization=f"Bearer {TOKEN}") == {"PERMISSION_DENIED"}
        assert there(server)


def test_a_token(tmp_path: Path) -> None:
    with serving(tmp_path, admin_access="token", admin_token=TOKEN) as server:
        for wrong in (
            "",
            "Bearer",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN}x",
            f"Basic {TOKEN}",
            TOKEN,
            "Bearer \u00fc",
        ):
            assert {told(server, path, Authorization=wrong.encode()) for path in PATHS} == {403}  # type: ignore[arg-type]
            if wrong.isascii():
                assert codes(server, authorization=wrong) == {"PERMISSION_DENIED"}
        assert {told(server, path, verb) for path in PATHS for verb in VERBS} == {403}
        assert codes(server) == {"PERMISSION_DENIED"}
        assert there(server)
        right = f"Bearer {TOKEN}"
        assert [told(server, path, Authorization=right) for path in PATHS[1::-1]] == [200, 200]
        assert codes(server, authorization=right) == {"OK"}
        assert there(server)
        assert TOKEN not in server.log


def test_loopback(tmp_path: Path) -> None:
    """By default: foreign names and pages on every verb, and another address of this very machine, as from outside."""
    with serving(tmp_path, host="0.0.0.0") as server:
        for header in ({"Host": "rebound.example"}, {"Origin": "https://page.example"}, {"X_Real_IP": "10.0.0.1"}):
            assert {told(server, path, verb, **header) for path in PATHS for verb in VERBS} == {403}
        assert codes(server, forwarded="for=10.0.0.1") == {"PERMISSION_DENIED"}
        for address in _own_addresses():
            assert {told(server, path, verb, address) for path in PATHS for verb in VERBS} == {403}
            assert {told(server, path, host=address, Host="localhost") for path in PATHS} == {403}
            assert codes(server, address) == {"PERMISSION_DENIED"}
        assert there(server)
        assert [told(server, path) for path in PATHS[1::-1]] == [200, 200]
        assert codes(server) == {"OK"}


def _own_addresses() -> list[str]:
    """IPv4 addresses of this machine that are not loopback's; a machine without a network has none."""
    found = [one for interface in psutil.net_if_addrs().values() for one in interface if one.family.name == "AF_INET"]
    return [one.address for one in found if not one.address.startswith("127.")]


class Trap:
    """Two HTTP servers, the first of which sends everybody to the second; `hits` are the paths that were asked for."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self._closing = ExitStack()

    def __enter__(self) -> str:
        second = self._open(ELSEWHERE, None)
        return self._open("127.0.0.1", second)

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _open(self, host: str, target: str | None) -> str:
        hits = self.hits

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hits.append(self.path)
                self.send_response(302 if target else 200)
                if target:
                    self.send_header("Location", target)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer((host, 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds until it sees its end
        thread.start()
        self._closing.callback(server.server_close)
        self._closing.callback(thread.join)
        self._closing.callback(server.shutdown)
        return f"http://{host}:{server.server_port}/latest/meta-data"


def test_the_trap_catches() -> None:
    trap = Trap()
    with trap as url:
        assert requests.get(url, timeout=60).status_code == 200
    assert trap.hits == ["/latest/meta-data"] * 2


RUNTIMES = ("mlserver_sklearn.SKLearnModel", "mlserver_xgboost.XGBoostModel", "mlserver_lightgbm.LightGBMModel")


def test_nothing_is_fetched(tmp_path: Path) -> None:
    """Neither where a request names a place, nor where a model's settings do."""
    trap = Trap()
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    with trap as url, serve(make_folder(tmp_path / "models", MODELS)) as server:
        for place in (url, f"file://{secret}"):
            _ask_for(server, place)
        for number, runtime in enumerate(RUNTIMES):
            folder = tmp_path / f"models/remote-{number}"
            folder.mkdir()
            settings = {"name": folder.name, "implementation": runtime, "parameters": {"uri": url}}
            (folder / "model-settings.json").write_text(json.dumps(settings))
            answer = requests.post(f"{server.url}/v2/repository/models/{folder.name}/load", timeout=60)
            assert answer.status_code in (400, 500)  # as each library tells it
            assert url in answer.json()["error"]
        assert secret.read_text() not in server.log
        assert there(server)
        server.stop()
    assert trap.hits == []


def _ask_for(server: Served, place: str) -> None:
    """Load what is at `place`, in all the ways that somebody's API has had for it."""
    base = f"{server.url}/v2/repository/models"
    config = json.dumps(
        {"name": "sum", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": place}}
    )
    for parameters in ({"config": config}, {"uri": place}, {"model_uri": place}, {f"file:{place}": "AAAA"}):
        answer = requests.post(f"{base}/sum/load", json={"parameters": parameters}, timeout=60)
        assert (answer.status_code, [*answer.json()]) == (400, ["error"])
    name = place.replace("/", "%2f")
    for path in (f"{base}/{name}/load", f"{base}/{place}/load", f"{base}/none/load?uri={place}&url={place}"):
        assert requests.post(path, json={"uri": place}, timeout=60).status_code == 404
    with grpc.insecure_channel(f"127.0.0.1:{port_of(server)}") as channel:
        stub: Any = GRPCInferenceServiceStub(channel)
        request = pb.RepositoryModelLoadRequest(model_name="sum", repository_name=place)
        request.parameters["config"].string_param = config
        assert refusal(stub.RepositoryModelLoad, request).code == "INVALID_ARGUMENT"
        named = pb.RepositoryModelLoadRequest(model_name=place, repository_name=place)
        assert refusal(stub.RepositoryModelLoad, named).code == "NOT_FOUND"
