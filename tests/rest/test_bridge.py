"""The server around ASGI applications: framing, streams, and applications that fail."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mlserver.rest.asgi import App
from mlserver.rest.server import HttpServer, bind
from tests.rest.raw import Answer, Raw, get, post

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/x")]}


@asynccontextmanager
async def running(app: App) -> AsyncIterator[HttpServer]:
    """A server for the application, in this loop; stopped at the end."""
    server = HttpServer(app, bind("127.0.0.1", 0, "http_port"), access_log=False, grace_seconds=5)
    server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(app: App, *requests: bytes, bodiless: bool = False) -> list[Answer]:
    """The answers to requests on one connection, sent one after the other."""

    def talk() -> list[Answer]:
        with Raw(server.port) as raw:
            answers = []
            for data in requests:
                raw.send(data)
                answers.append(raw.answer(bodiless=bodiless))
            return answers

    async with running(app) as server:
        return await asyncio.to_thread(talk)


def sending(*messages: dict[str, Any]) -> App:
    """An application that sends these messages, come what may."""

    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        for message in messages:
            await send(message)

    return app


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    """An ASGI message."""
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_a_request_as_an_application_sees_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        seen = [
            request.method,
            request.url.path,
            request.url.query,
            scope["http_version"],
            (await request.body()).decode(),
        ]
        seen += [request.headers["x-one"], request.client.host if request.client else ""]
        await Response("|".join(seen))(scope, receive, send)

    (answer,) = await ask(app, post("/a%20b?c=d%20e", b"content", "X-One: 1"))
    assert answer.body.decode() == "POST|/a b|c=d%20e|1.1|content|1|127.0.0.1"


async def test_a_body_of_known_length() -> None:
    first, second = await ask(sending(START, body(b"whole")), get("/"), get("/"))
    assert (first.body, first.headers["content-length"]) == (b"whole", "5")
    assert second.body == b"whole"


async def test_a_body_in_pieces_is_sent_in_chunks() -> None:
    first, second = await ask(
        sending(START, body(b"a", True), body(b"", True), body(b"bc", True), body(b"")), get("/"), get("/")
    )
    assert (first.headers["transfer-encoding"], first.body, second.body) == ("chunked", b"abc", b"abc")


async def test_http_1_0_knows_no_chunks() -> None:
    data = get("/", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    (answer,) = await ask(sending(START, body(b"a", True), body(b"bc")), data)
    assert (answer.headers["connection"], answer.body) == ("close", b"abc")
    assert "transfer-encoding" not in answer.headers


async def test_head_has_the_head_of_get() -> None:
    answers = await ask(sending(START, body(b"whole")), get("/", method="HEAD"), get("/", method="HEAD"), bodiless=True)
    assert [answer.headers["content-type"] for answer in answers] == ["text/x", "text/x"]


async def test_no_content() -> None:
    app = sending({"type": "http.response.start", "status": 204, "headers": []}, body(b""))
    answers = await ask(app, get("/"), get("/"), bodiless=True)
    assert [answer.status for answer in answers] == [204, 204]
    assert "content-length" not in answers[0].headers


async def test_headers_of_the_connection_are_the_server_s() -> None:
    headers = [(b"Connection", b"keep-alive"), (b"Transfer-Encoding", b"gzip"), (b"Date", b"never"), (b"X-One", b"1")]
    (answer,) = await ask(sending(START | {"headers": headers}, body(b"")), get("/"))
    assert set(answer.headers) == {"date", "x-one", "content-length"}
    assert answer.headers["date"] != "never"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [body(b"without a start")],
        [START | {"headers": [(b"x", b"a\r\nb: c")]}, body(b"")],
        [START | {"headers": [(b"x y", b"a")]}, body(b"")],
    ],
)
async def test_an_application_that_makes_no_answer(messages: list[dict[str, Any]]) -> None:
    first, second = await ask(sending(*messages), get("/"), get("/"))
    assert first.status == second.status == 500
    assert first.error == "internal error; the server's log says more"


async def test_an_application_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("the secret")

    with caplog.at_level(logging.ERROR):
        (answer,) = await ask(app, get("/?a"))
    assert (answer.status, answer.error) == (500, "internal error; the server's log says more")
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("mlserver.rest", "unexpected failure while answering /?a")
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("messages", "received"),
    [
        ([START, body(b"abc", True)], b"3\r\nabc\r\n"),
        ([START | {"headers": [(b"content-length", b"5")]}, body(b"abc")], b"abc"),
        ([START | {"headers": [(b"content-length", b"5")]}, body(b"abc", True), body(b"defg")], b"abc"),
    ],
)
async def test_half_an_answer_ends_the_connection(messages: list[dict[str, Any]], received: bytes) -> None:
    async with running(sending(*messages)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get("/") * 2)
        answer = await reader.read()
        writer.close()
    assert answer.partition(b"\r\n\r\n")[2] == received


async def test_a_stream_reaches_its_reader_piece_by_piece_and_ends_when_he_leaves() -> None:
    more, ended = asyncio.Event(), asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await more.wait()
            yield b"second"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(pieces())(scope, receive, send)

    async with running(app) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get("/"))
        await reader.readuntil(b"5\r\nfirst\r\n")
        more.set()
        await reader.readuntil(b"6\r\nsecond\r\n")
        writer.close()
        await ended.wait()


async def test_a_stream_waits_for_a_slow_reader() -> None:
    """What is made ahead of the reader is bounded by the sockets' buffers, not by what the application has to say."""
    size, count, made = 1_000_000, 100, 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal made
        await send(START)
        for _ in range(count):
            made += 1
            await send(body(b"x" * size, True))
        await send(body(b""))

    async with running(app) as server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get("/"))
        await reader.readuntil(b"\r\n\r\n")
        assert made < count
        received = await _through(reader)
        writer.close()
    assert made == count
    assert received >= size * count


async def _through(reader: asyncio.StreamReader) -> int:
    """How many bytes there are up to the end of the chunks."""
    total, end = 0, b""
    while not end.endswith(b"0\r\n\r\n"):
        data = await reader.read(2**20)
        total += len(data)
        end = (end + data)[-5:]
    return total


async def test_a_stop_waits_for_the_answer_under_way() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await Response("done")(scope, receive, send)

    async with asyncio.timeout(20):
        server = HttpServer(app, bind("127.0.0.1", 0, "http_port"), access_log=False, grace_seconds=5)
        server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(get("/"))
        await begun.wait()
        stopped = asyncio.create_task(server.stop())
        go_on.set()
        answer = await reader.read()
        await stopped
        writer.close()
    assert answer.endswith(b"\r\n\r\ndone")
