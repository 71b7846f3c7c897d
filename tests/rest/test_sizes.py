"""Requests that are too large: refused having read little of them, and nothing of them is kept."""

import json
import socket
import time
from typing import Any

import psutil
import pytest

from tests.rest.conftest import LARGE
from tests.rest.raw import Raw, chunked, get, inference, post
from tests.rest.test_connections import healthy
from tests.seed.serving import Served

SUM = "/v2/models/sum/infer"
PIECE = b" " * 65_536


def sent_until_refused(served: Served, head: bytes, piece: bytes, most: int) -> tuple[int, int]:
    """How many bytes of an endless request the server takes, and what it answers."""
    with Raw(served.port) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        raw.send(head)
        raw.socket.setblocking(False)
        sent, rest = len(head), piece
        while sent <= most:
            try:
                raw.socket.recv(1, socket.MSG_PEEK)
                break
            except BlockingIOError:
                pass
            try:
                size = raw.socket.send(rest)
                sent, rest = sent + size, rest[size:] or piece
            except BlockingIOError:
                time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                break
        raw.socket.settimeout(20)
        return sent, raw.answer().status


def test_a_length_that_is_too_large_is_refused_before_the_body(hasty: Served) -> None:
    head = f"POST {SUM} HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE + 1}\r\n\r\n".encode()
    sent, status = sent_until_refused(hasty, head, PIECE, 10 * LARGE)
    assert status == 413
    assert sent < LARGE


@pytest.mark.parametrize(
    ("piece", "status"),
    [(b"10000\r\n" + PIECE + b"\r\n", 413), (b"1\r\nx\r\n" * 10_000, 400), (b"1;" + b"e" * 65_536 + b"\r\nx\r\n", 413)],
    ids=["large chunks", "one byte each", "extensions"],
)
def test_chunks_without_end(hasty: Served, piece: bytes, status: int) -> None:
    head = f"POST {SUM} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    # The sockets' own buffers take some megabytes more than the server does.
    sent, found = sent_until_refused(hasty, head, piece, 10 * LARGE)
    assert found == status
    assert sent < LARGE + 8 * 1024 * 1024


def test_chunks_of_a_byte_up_to_the_bound(hasty: Served) -> None:
    body = json.dumps(inference(1)).encode()
    padded = [bytes([byte]) for byte in body] + [b" "] * (65_536 - len(body))
    with Raw(hasty.port) as raw:
        assert raw.ask(chunked(SUM, *padded)).status == 200
        answer = raw.ask(chunked(SUM, *padded, b" "))
        assert (answer.status, answer.headers["connection"]) == (400, "close")


def test_nothing_is_kept_of_what_was_refused(hasty: Served) -> None:
    large = post(SUM, b" " * (LARGE - 1000))
    endless = f"POST {SUM} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\nx\r\n" * 66_000
    process = psutil.Process(hasty.pid)

    def refused() -> None:
        with Raw(hasty.port) as raw:
            assert raw.ask(large).status == 400
        with Raw(hasty.port) as raw:
            raw.send(endless)
            assert raw.answer().status == 400

    for _ in range(10):  # what the allocator keeps for next time
        refused()
    before = process.memory_info().rss
    for _ in range(30):
        refused()
    assert process.memory_info().rss - before < 2 * LARGE
    assert healthy(hasty)


@pytest.mark.parametrize(
    "head",
    [
        "GET /" + "x" * 65_536 + " HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2 HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{n}: 1\r\n" for n in range(10_000)) + "\r\n",
        "GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + "x" * 65_536 + "\r\n\r\n",
    ],
    ids=["line", "many headers", "header"],
)
def test_431(hasty: Served, head: str) -> None:
    with Raw(hasty.port) as raw:
        answer = raw.ask(head.encode())
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert raw.closed()


def test_a_caller_that_sends_ahead_and_never_reads_is_not_read_for_ever(hasty: Served) -> None:
    one = post("/v2/models/echo/infer", inference(*range(1000)))
    process = psutil.Process(hasty.pid)
    before = process.memory_info().rss
    with Raw(hasty.port) as raw:
        raw.socket.settimeout(5)
        sent = 0
        try:
            while sent < 200_000_000:
                sent += raw.socket.send(one)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass  # closed, in the end, for it reads nothing
        assert sent < 200_000_000
        assert process.memory_info().rss - before < 50_000_000
    assert healthy(hasty)


CORPUS: dict[str, Any] = {
    "100k brackets": b"[" * 100_000,
    "brackets in data": post(SUM, inference(1)).partition(b"\r\n\r\n")[2].replace(b"[1]}", b"[" * 100_000),
    "many keys": json.dumps({"inputs": [], **dict.fromkeys(map(str, range(400_000)))}).encode(),
    "1M keys, all alike": b'{"inputs":[],' + b'"k":1,' * 1_000_000 + b'"k":1}',
    "a long number": json.dumps(inference(1)).encode().replace(b"[1]}", b"[" + b"7" * 100_000 + b"]}"),
    "1e999": json.dumps(inference(1)).encode().replace(b"[1]}", b"[1e999]}"),
    "UTF-16": json.dumps(inference(1)).encode("utf-16"),
    "BOM": b"\xef\xbb\xbf" + json.dumps(inference(1)).encode(),
    "no inputs": {"inputs": []},
}


@pytest.mark.parametrize("body", CORPUS.values(), ids=CORPUS)
def test_json_that_is_meant_to_hurt(hasty: Served, body: Any) -> None:
    with Raw(hasty.port) as raw:
        begun = time.monotonic()
        answer = raw.ask(post(SUM, body))
        assert answer.status == 400
        assert answer.error
        assert time.monotonic() - begun < 10
        assert raw.ask(get("/v2/health/live")).status == 200
