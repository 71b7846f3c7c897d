"""Web pages of other origins: what they may read and send, the infer route included."""

from typing import Any

import pytest
from starlette.responses import Response

from mlserver.rest.cors import Cors
from mlserver.rest.headers import pairs
from mlserver.settings.server import CORSSettings
from tests.rest.raw import Answer, Raw, get, post
from tests.rest.routes.conftest import ORIGIN
from tests.seed.serving import Served

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
INFER, META = post("/v2/models/rows/infer", BODY), get("/v2")


def ask(served: Served, request: bytes, *headers: str) -> Answer:
    """A request with more headers."""
    first, rest = request.split(b"\r\n", 1)
    with Raw(served.port) as raw:
        return raw.ask(b"\r\n".join([first, *(header.encode() for header in headers), rest]))


@pytest.mark.parametrize("request_", [INFER, META], ids=["infer", "metadata"])
@pytest.mark.parametrize("origin", [ORIGIN, "https://a.pages.example"])
def test_an_allowed_origin_may_read(routed: Served, request_: bytes, origin: str) -> None:
    answer = ask(routed, request_, f"Origin: {origin}")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "ce-id"
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("request_", [INFER, META], ids=["infer", "metadata"])
@pytest.mark.parametrize("headers", [(), ("Origin: https://evil.example",)])
def test_others_may_not(routed: Served, request_: bytes, headers: tuple[str, ...]) -> None:
    answer = ask(routed, request_, *headers)
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_errors_of_infer_can_be_read_too(routed: Served) -> None:
    answer = ask(routed, post("/v2/models/none/infer", BODY), f"Origin: {ORIGIN}")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, ORIGIN)


def preflight(path: str, method: str, *headers: str) -> bytes:
    """What a browser asks before it asks."""
    return get(path, f"Access-Control-Request-Method: {method}", *headers, method="OPTIONS")


@pytest.mark.parametrize("path", ["/v2/models/rows/infer", "/v2/models/speaker/infer_stream", "/sum"])
def test_preflight(routed: Served, path: str) -> None:
    answer = ask(
        routed, preflight(path, "POST", "Access-Control-Request-Headers: x-own, content-type"), f"Origin: {ORIGIN}"
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-max-age"] == "60"
    assert "x-own" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("origin", "method", "header", "what"),
    [
        ("https://evil.example", "POST", "x-own", "origin"),
        (ORIGIN, "DELETE", "x-own", "method"),
        (ORIGIN, "POST", "x-other", "headers"),
    ],
)
def test_a_preflight_that_is_refused(routed: Served, origin: str, method: str, header: str, what: str) -> None:
    request = preflight("/v2/models/rows/infer", method, f"Access-Control-Request-Headers: {header}")
    answer = ask(routed, request, f"Origin: {origin}")
    assert (answer.status, answer.error) == (400, f"Disallowed CORS {what}")


@pytest.mark.parametrize("path", ["/v2/repository/models/rows/unload", "/v2/repository/models/none/load"])
def test_no_web_page_may_change_the_server(routed: Served, path: str) -> None:
    for request in (preflight(path, "POST"), post(path, b"")):
        answer = ask(routed, request, f"Origin: {ORIGIN}")
        assert answer.status == 403
        assert answer.error
        assert "access-control-allow-origin" not in answer.headers


def test_without_the_setting_nothing_is_said(served: Served) -> None:
    for request in (get("/v2"), post("/v2/models/none/infer", BODY)):
        assert not {name for name in ask(served, request, f"Origin: {ORIGIN}").headers if "access-control" in name}
    assert ask(served, preflight("/v2", "GET"), f"Origin: {ORIGIN}").status == 405


@pytest.mark.parametrize("cookie", [(), ((b"cookie", b"a=b"),)])
@pytest.mark.parametrize("origin", [(), ((b"origin", b"https://a.example"),), ((b"origin", b"null"),)])
@pytest.mark.parametrize(
    "settings",
    [
        {"allow_origins": ["*"]},
        {"allow_origins": ["*"], "allow_credentials": True, "expose_headers": ["x", "y"]},
        {"allow_origins": ["https://a.example"]},
        {"allow_origin_regex": "https://.*"},
        {},
    ],
)
async def test_lines_are_what_the_middleware_adds(settings: dict[str, Any], origin: Any, cookie: Any) -> None:
    headers = [*origin, *cookie]
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    cors = Cors(Response(b""), CORSSettings(**settings))
    await cors({"type": "http", "method": "GET", "headers": headers}, receive, send)
    added = [pair for pair in sent[0]["headers"] if pair[0].lower() != b"content-length"]
    assert pairs(cors.lines(headers)) == [(name.lower(), value) for name, value in added]
