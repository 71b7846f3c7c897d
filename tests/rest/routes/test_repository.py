"""Loading, unloading and the index, in front of a data plane that keeps a list of what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
import requests

from mlserver import Settings
from mlserver.dataplane import DataPlane
from mlserver.errors import Forbidden, ModelNotFound
from mlserver.events import nobody
from mlserver.observe.statistics import Statistics
from mlserver.registry import Registry
from mlserver.rest.app import RestApp
from mlserver.rest.backing import Backing
from mlserver.rest.headers import InferenceHeaders
from mlserver.rest.server import HttpServer, bind
from mlserver.types import RepositoryIndexResponse, RepositoryIndexResponseItem, State
from mlserver.wire.cloudevents import CloudEvents
from tests.rest.raw import Raw, get

READY = RepositoryIndexResponseItem(name="a", version="v1", state=State.READY, reason="")
AWAY = RepositoryIndexResponseItem(name="b", state=State.UNAVAILABLE, reason="")


class Stocked(DataPlane):
    """Two models, one of them ready."""

    def __init__(self) -> None:
        async def nothing(*_: object) -> Any:
            raise AssertionError

        super().__init__(Settings(), Registry(nothing))
        self.asked: list[Any] = []

    async def repository_index(self, ready: bool | None = None) -> RepositoryIndexResponse:
        self.asked.append(ready)
        return RepositoryIndexResponse([READY] if ready else [READY, AWAY])

    async def load(self, name: str) -> None:
        self.asked.append(("load", name))
        if name == "none":
            raise ModelNotFound(name)

    async def unload(self, name: str) -> None:
        self.asked.append(("unload", name))


class NoPages:
    """Whoever comes from this machine and from no web page."""

    def check(self, peer: str | None, headers: Mapping[str, str]) -> None:
        if peer != "127.0.0.1" or "origin" in headers:
            raise Forbidden("not from there")


class Shop:
    """A REST door on a port, and what its data plane was asked."""

    def __init__(self) -> None:
        self.dataplane = Stocked()
        headers = InferenceHeaders(CloudEvents("shop"))
        backing = Backing(Settings(), self.dataplane, Statistics(), headers, nobody, NoPages())
        sock = bind("127.0.0.1", 0, "http_port")
        self.server = HttpServer(RestApp(backing), sock, access_log=False, grace_seconds=1)

    async def ask(self, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> requests.Response:
        """One request, from a thread: the door is on this loop."""
        url = f"http://127.0.0.1:{self.server.port}/v2/repository{path}"
        return await asyncio.to_thread(requests.request, method, url, data=body, headers=headers, timeout=20)


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    """A door that is open."""
    opened = Shop()
    opened.server.start()
    yield opened
    await opened.server.stop()


@pytest.mark.parametrize(
    ("path", "body", "ready"),
    [("/index", b"", None), ("/any/index", b"{}", None), ("/index/", b' {"ready": false}', False)],
)
async def test_the_index(shop: Shop, path: str, body: bytes, ready: bool | None) -> None:
    answer = await shop.ask(path, body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == [
        {"name": "a", "version": "v1", "state": "READY", "reason": ""},
        {"name": "b", "state": "UNAVAILABLE", "reason": ""},
    ]
    assert shop.dataplane.asked == [ready]


async def test_the_index_of_what_is_ready(shop: Shop) -> None:
    answer = await shop.ask("/index", b'{"ready": true}')
    assert [item["name"] for item in answer.json()] == ["a"]


async def test_the_index_changes_nothing_and_is_for_everybody(shop: Shop) -> None:
    assert (await shop.ask("/index", Origin="https://page.example")).status_code == 200


async def test_400_of_the_index(shop: Shop) -> None:
    for body in (b"{", b"[]", b'{"ready": 1}', b"\xff"):
        answer = await shop.ask("/index", body)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("invalid request: ")


@pytest.mark.parametrize("prefix", ["/models", "/any/models"])
@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_load_and_unload(shop: Shop, prefix: str, verb: str) -> None:
    for body in (b"", b"{}", b'{"parameters": null}', b'{"parameters": {"unload_dependents": true}}'):
        answer = await shop.ask(f"{prefix}/a/{verb}", body)
        assert (answer.status_code, answer.content) == (200, b"")
    assert shop.dataplane.asked == [(verb, "a")] * 4


async def test_404(shop: Shop) -> None:
    answer = await shop.ask("/models/none/load")
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'none' not found"})


@pytest.mark.parametrize("name", ["config", "file:1/model.onnx", "uri", "another"])
async def test_a_model_is_not_loaded_from_a_request(shop: Shop, name: str) -> None:
    answer = await shop.ask("/models/a/load", json.dumps({"parameters": {name: "{}"}}).encode())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"parameter '{name}': a model is loaded as the repository has it")
    assert shop.dataplane.asked == []


@pytest.mark.parametrize(
    "path", ["/models/a/load", "/any/models/a/unload", "/models/a/load/", "/models/a", "/nothing", ""]
)
async def test_who_may_not_is_refused_whatever_the_verb(shop: Shop, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = await shop.ask(path, method=method, Origin="https://page.example")
        assert answer.status_code == 403
    assert shop.dataplane.asked == []


async def test_no_spelling_goes_around(shop: Shop) -> None:
    def ask(target: str) -> int:
        with Raw(shop.server.port) as raw:
            return raw.ask(get(target, "Origin: https://page.example", method="POST")).status

    for target in (
        "/v2/%72epository/models/a/load",
        "/v2/repository/models/a/%6Coad",
        "http://x/v2/repository/models/a/load",
    ):
        assert await asyncio.to_thread(ask, target) == 403
    assert shop.dataplane.asked == []


async def test_a_wrong_verb_of_somebody_who_may(shop: Shop) -> None:
    answer = await shop.ask("/models/a/load", method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
