"""What right answers look like: health, metadata and inference."""

import gzip
import json
import re
from typing import Any

import pytest
import requests

from mlserver.extensions import EXTENSIONS
from mlserver.version import __version__
from tests.rest.conftest import LIMIT, WELL
from tests.rest.raw import Raw, get, inference, post
from tests.seed.serving import Served

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def infer(served: Served, body: Any, path: str = "/v2/models/sum/infer", **headers: str) -> requests.Response:
    """A POST with JSON, or with bytes as they are; names of headers have `_` for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(served.url + path, data=data, headers=given, timeout=20)


def fetch(served: Served, path: str) -> requests.Response:
    """A GET that follows no redirect."""
    return requests.get(served.url + path, allow_redirects=False, timeout=20)


ROUTES: dict[str, Any] = {
    "/v2/health/live": {"live": True},
    "/v2/health/ready": {"live": True, "ready": True},
    "/v2": {"name": "mlserver", "version": __version__, "extensions": list(EXTENSIONS)},
    "/v2/models": {"models": sorted({model.get("name", name) for name, model in WELL.items()})},
    "/v2/models/sum": {"name": "sum", "versions": [], "platform": "test", "inputs": [], "outputs": []},
    "/v2/models/sum/ready": {"name": "sum", "ready": True},
    "/v2/models/twice": {"name": "twice", "versions": ["v1", "v2"], "platform": "", "inputs": [], "outputs": []},
    "/v2/models/twice/versions/v1": {
        "name": "twice", "versions": ["v1", "v2"], "platform": "", "inputs": [], "outputs": [],
    },
    "/v2/models/relying": {
        "name": "relying", "versions": ["numpy 2.4", "own 1.0"], "platform": "", "inputs": [], "outputs": [],
    },
    "/v2/models/twice/versions/v1/ready": {"name": "twice", "ready": True},
}  # fmt: skip


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ROUTES)
def test_health_and_metadata(served: Served, path: str, slash: str) -> None:
    answer = fetch(served, path + slash)
    assert (answer.status_code, answer.json()) == (200, ROUTES[path])
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ROUTES)
def test_head_is_get_without_the_body(served: Served, path: str) -> None:
    with Raw(served.port) as raw:
        raw.send(get(path, method="HEAD") + get(path))
        head, full = raw.answer(bodiless=True), raw.answer()
    assert (head.status, head.headers["content-length"]) == (200, str(len(full.body)))


def test_health_of_a_server_that_is_not_ready(ailing: Served) -> None:
    assert fetch(ailing, "/v2/health/live").status_code == 200
    answer = fetch(ailing, "/v2/health/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["error"] == "the server is not ready"
    model = fetch(ailing, "/v2/models/unready/ready")
    assert (model.status_code, model.json()["ready"]) == (503, False)
    assert fetch(ailing, "/v2/models/sum/ready").json() == {"name": "sum", "ready": True}


def test_the_answer_is_compact_and_in_the_order_of_the_protocol(served: Served) -> None:
    answer = infer(served, inference(1, 2, id="it"), "/v2/models/twice/versions/v2/infer")
    assert answer.content == (
        b'{"model_name":"twice","model_version":"v2","id":"it","parameters":null,'
        b'"outputs":[{"name":"sums","shape":[1],"datatype":"FP64","parameters":null,"data":[3.0]}]}'
    )
    usual = {name for name in answer.headers if not name.startswith("ce-")}
    assert usual == {"date", "content-type", "content-length"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["date"].endswith(" GMT")


def test_a_version_is_left_out_where_there_is_none(served: Served) -> None:
    assert list(infer(served, inference(1)).json()) == ["model_name", "id", "parameters", "outputs"]


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v2/models/twice/infer", "v2"),
        ("/v2/models/twice/infer/", "v2"),
        ("/v2/models/twice/infer?model_version=v1", "v1"),
        ("/v2/models/twice/infer?a=b&model_version=%761#fragment", "v1"),
        ("/v2/models/twice/versions/v1/infer", "v1"),
        ("/v2/models/t%77ice/versions/%761/infer", "v1"),
        ("http://somewhere/v2/models/twice/versions/v1/infer", "v1"),
    ],
)
def test_which_version_answers(served: Served, path: str, version: str) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(post(path, inference(1, 2)))
    assert (answer.status, json.loads(answer.body)["model_version"]) == (200, version)


def test_an_id_is_echoed_or_made(served: Served) -> None:
    assert infer(served, inference(1, id="mine")).json()["id"] == "mine"
    ids = {infer(served, inference(1)).json()["id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(UUID.fullmatch(made) for made in ids)


def test_null_and_nan(served: Served) -> None:
    body = {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [None, 1.5, 2]}]}
    answer = infer(served, body, "/v2/models/echo/infer")
    assert answer.json()["outputs"][0]["data"] == [None, 1.5, 2.0]
    # JSON has no word for it, whatever Python's own encoder says.
    assert infer(served, inference(float("nan"))).status_code == 400


def test_the_response_is_whole_when_it_is_large(served: Served) -> None:
    data = list(range(20_000))
    body = {"inputs": [{"name": "x", "shape": [20_000], "datatype": "FP64", "data": data}]}
    packed = json.dumps(body, separators=(",", ":")).encode()
    assert 64 * 1024 < len(packed) > LIMIT
    packed = gzip.compress(packed.replace(b",1999", b",9")) if len(packed) <= LIMIT else packed
    assert infer(served, packed, "/v2/models/echo/infer").status_code == 413
    body["inputs"][0] |= {"shape": [15_000], "data": data[:15_000]}
    answer = infer(served, body, "/v2/models/echo/infer")
    assert answer.json()["outputs"][0]["data"] == data[:15_000]


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda body: gzip.compress(body[:9]) + gzip.compress(b"") + gzip.compress(body[9:]),
    ],
    ids=["one member", "several members"],
)
def test_gzip(served: Served, pack: Any) -> None:
    packed = pack(json.dumps(inference(1, 2)).encode())
    for name in ("gzip", "GZIP"):
        answer = infer(served, packed, content_encoding=name)
        assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [3.0])


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (gzip.compress(b'{"inputs": []}')[:-9], "the body is not valid gzip: it ends too early"),
        (b'{"inputs": []}', "the body is not valid gzip: "),
        (gzip.compress(b'{"inputs": []}') + b"more", "the body is not valid gzip: "),
        (b"", "the body is not valid gzip: it ends too early"),
    ],
)
def test_gzip_that_is_none(served: Served, packed: bytes, message: str) -> None:
    answer = infer(served, packed, content_encoding="gzip")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)


def test_a_model_sees_the_request_s_headers(served: Served) -> None:
    data = post("/v2/models/headers/infer", inference(1), "X-One: 1", "X-Many: a", "x-many: b", "X-Bytes: \xe9")
    with Raw(served.port) as raw:
        output = json.loads(raw.ask(data).body)["outputs"][0]
    seen = json.loads(output["data"][0])
    assert {name: value for name, value in seen.items() if not name.startswith("Ce-")} == {
        "host": "x",
        "content-length": seen["content-length"],
        "x-one": "1",
        "x-many": "a, b",
        "x-bytes": "Ã©",
    }


def test_headers_that_nobody_looked_at_do_not_come_back(served: Served) -> None:
    answer = infer(served, inference(1, parameters={"kept": 1}), "/v2/models/echo/infer", x_mine="1")
    assert "x-mine" not in answer.headers
    assert answer.json()["parameters"] == {"kept": 1}


def test_a_model_that_sends_the_headers_back(served: Served) -> None:
    body = inference(1, parameters={"look": True})
    answer = infer(served, body, "/v2/models/echo/infer", x_mine="1", content_type="text/x", connection="keep-alive")
    assert (answer.status_code, answer.headers["x-mine"]) == (200, "1")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.json()["parameters"] == {"look": True}


def test_headers_that_a_model_sets(served: Served) -> None:
    body = inference(1, parameters={"answer": {"X-Answer": "forty two", "x-number": 42}})
    answer = infer(served, body, "/v2/models/headers/infer")
    assert (answer.headers["x-answer"], answer.headers["x-number"]) == ("forty two", "42")


@pytest.mark.parametrize("header", [{"x": "a\r\nb: c"}, {"x\n": "a"}, {"x y": "a"}, {"x": "\u4f60"}, {"": ""}])
def test_headers_that_would_break_the_answer(served: Served, header: dict[str, str]) -> None:
    answer = infer(served, inference(1, parameters={"answer": header}), "/v2/models/headers/infer")
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("the model set a header that cannot be sent: ")
