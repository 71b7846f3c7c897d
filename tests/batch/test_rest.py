"""What the client makes of servers of every kind; each here is a real one that says what a test wants it to."""

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mlserver.batch_processing import Summary, process_batch, sender
from mlserver.errors import ConfigurationError

Handler = Callable[[web.Request], Awaitable[web.Response]]
LINE = {"id": "1", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
ANSWER = {"model_name": "m", "id": "1", "outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [3]}]}


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Where a server that calls `handler` is."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    running = TestServer(app, scheme="https" if tls else "http")
    await running.start_server(ssl=tls)
    async with running:
        yield str(running.make_url("/"))


async def ask(
    handler: Handler, folder: Path, tls: ssl.SSLContext | None = None, **options: Any
) -> tuple[dict[str, Any], Summary]:
    """The line of output for one line of input."""
    (folder / "in").write_text(json.dumps(LINE))
    async with server(handler, tls) as url:
        paths = {"input_data_path": str(folder / "in"), "output_data_path": str(folder / "out")}
        summary = await process_batch(**{"url": url, "model_name": "a/b c", "retries": 0} | paths | options)
    (line,) = (folder / "out").read_text().splitlines()
    return json.loads(line), summary


def says(status: int, text: str, **headers: str) -> Handler:
    """A server that always says the same."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return handler


async def test_the_name_of_a_model_stays_one_part_of_the_path(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.raw_path == "/v2/models/a%2Fb%20c/infer"
        assert await request.json() == LINE
        return web.json_response(ANSWER)

    answer, summary = await ask(handler, tmp_path)
    assert answer == ANSWER | {"parameters": {"batch_index": 0, "inference_id": "1"}}
    assert (summary.answered, summary.failed, summary.total, summary.first_failure) == (1, 0, 1, None)


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (404, '{"error": "no such model"}', "404: no such model"),
        (502, "<html>gateway</html>", "502: <html>gateway</html>"),
        (503, "", "503: Service Unavailable"),
        (307, "", "307: Temporary Redirect"),
        (200, "hello", "the answer is no inference response: hello"),
        (200, "[]", "the answer is no inference response: []"),
        (200, '{"outputs": 1}', 'the answer is no inference response: {"outputs": 1}'),
    ],
)
async def test_no_answer(status: int, text: str, message: str, tmp_path: Path) -> None:
    answer, summary = await ask(says(status, text, Location="http://localhost:1/"), tmp_path)
    assert answer["error"] == {"status": "inference error", "msg": message}
    assert summary.first_failure == (0, message)


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (404, 1), (429, 2), (500, 2), (501, 1), (503, 2)])
async def test_what_is_tried_again(status: int, tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_RETRY_SECONDS", 0.01)
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["x-request-id"])
        return web.json_response({"error": "no"}, status=status)

    await ask(handler, tmp_path, retries=1)
    assert seen == ["1"] * tries


async def test_waits_as_long_as_the_server_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_RETRY_SECONDS", 0.01)
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(asyncio.get_running_loop().time())
        return web.json_response(ANSWER) if len(seen) > 1 else web.Response(status=429, headers={"Retry-After": "1"})

    answer, _ = await ask(handler, tmp_path, retries=1)
    assert answer["outputs"] == ANSWER["outputs"]
    assert seen[1] - seen[0] >= 0.99


async def test_headers(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers.getall("x-request-id") == ["mine"]
        assert request.headers.getall("seldon-puid") == ["1"]
        assert request.headers.getall("content-type") == ["application/json"]
        return web.json_response(ANSWER)

    _, summary = await ask(handler, tmp_path, request_headers={"X-Request-ID": "mine"})
    assert summary.answered == 1


async def test_binary_tensors(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        body, size = await request.read(), int(request.headers["Inference-Header-Content-Length"])
        header = json.loads(body[:size])
        assert header["parameters"]["binary_data_output"] is True
        assert header["inputs"][0]["parameters"]["binary_data_size"] == len(body) - size
        total = np.frombuffer(body[size:], "<f4").sum(keepdims=True)
        output = {"name": "y", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
        text = json.dumps({"model_name": "m", "outputs": [output]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        return web.Response(body=text + total.tobytes(), headers=headers)

    answer, _ = await ask(handler, tmp_path, binary_data=True)
    assert answer["outputs"] == [{"name": "y", "shape": [1], "datatype": "FP32", "parameters": {}, "data": [3.0]}]


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server needs for TLS, with a certificate that nobody signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", "key", "-out", "cert"], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


async def test_a_certificate_that_nobody_signed(tmp_path: Path, unsigned: ssl.SSLContext) -> None:
    handler = says(200, json.dumps(ANSWER))
    answer, _ = await ask(handler, tmp_path, unsigned)
    assert "CERTIFICATE_VERIFY_FAILED" in answer["error"]["msg"]
    answer, _ = await ask(handler, tmp_path, unsigned, insecure=True)
    assert answer["outputs"] == ANSWER["outputs"]


async def test_tls_where_the_server_has_none(tmp_path: Path) -> None:
    answer, _ = await ask(says(200, json.dumps(ANSWER)), tmp_path, use_ssl=True)
    assert answer["error"]["msg"].startswith("cannot reach https://127.0.0.1:")


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"retries": -1},
        {"batch_size": 0},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"batch_jitter": -1},
        {"transport": "x"},
        {"model_name": ""},
        {"url": ""},
    ],
)
async def test_options_that_cannot_be(wrong: dict[str, Any], tmp_path: Path) -> None:
    options = {"model_name": "m", "input_data_path": "in", "output_data_path": str(tmp_path / "out")}
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}.*: "):
        await process_batch(**options | wrong)
    assert not (tmp_path / "out").exists()
