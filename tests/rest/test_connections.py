"""Connections: order, keep-alive, chunks, interim answers, and callers who leave or talk nonsense."""

import contextlib
import json
import socket
import time
from pathlib import Path

import pytest

from tests.rest.raw import Raw, chunked, get, inference, post
from tests.seed.serving import PATIENCE_SECONDS, Served

SUM = "/v2/models/sum/infer"
HALVES = [json.dumps(inference(1, 2)).encode()[half] for half in (slice(30), slice(30, None))]


def healthy(served: Served) -> bool:
    """Whether a new connection gets a right answer."""
    with Raw(served.port) as raw:
        answer = raw.ask(post(SUM, inference(1, 2)))
    return answer.status == 200 and json.loads(answer.body)["outputs"][0]["data"] == [3.0]


def wait_until_there(file: Path) -> None:
    """Until another process has made the file."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_hundred_requests_at_once_are_answered_in_order(served: Served) -> None:
    asked = [
        get("/v2/health/live") if n % 7 == 0 else post("/v2/models/echo/infer", inference(n, id=str(n)))
        for n in range(100)
    ]
    with Raw(served.port) as raw:
        raw.send(b"".join(asked))
        answers = [raw.answer() for _ in asked]
    assert [answer.status for answer in answers] == [200] * 100
    ids = [json.loads(answer.body).get("id") for answer in answers]
    assert ids == [None if n % 7 == 0 else str(n) for n in range(100)]


def test_a_caller_that_reads_nothing_until_the_sockets_are_full(served: Served) -> None:
    one = post("/v2/models/echo/infer", inference(*range(1000)))
    with Raw(served.port) as raw:
        raw.socket.setblocking(False)
        sent, stream = 0, one * 2000
        while sent < len(stream):
            try:
                sent += raw.socket.send(stream[sent:])
            except BlockingIOError:
                break
        assert healthy(served)
        raw.socket.settimeout(20)
        for _ in range(sent // len(one)):
            assert raw.answer().status == 200


def test_after_an_error_of_the_model_s_the_connection_goes_on(served: Served) -> None:
    with Raw(served.port) as raw:
        assert raw.ask(post(SUM, b"{")).status == 400
        assert raw.ask(post("/v2/models/none/infer", inference(1))).status == 404
        assert raw.ask(post(SUM, inference(1))).status == 200


def test_what_is_malformed_is_answered_in_its_turn_and_ends_the_connection(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.send(post(SUM, inference(1)) + b"nonsense\r\n\r\n" + post(SUM, inference(1)))
        assert raw.answer().status == 200
        answer = raw.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.error.startswith("malformed HTTP request: ")
        assert raw.closed()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_malformed(served: Served, data: bytes) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(data)
        assert answer.status == 400
        assert answer.error.startswith("malformed HTTP request: ")
        assert raw.closed()


def test_a_head_without_end(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.send(b"GET /v2 HTTP/1.1\r\nX: ")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be answered before all is sent
            for _ in range(6):
                raw.send(b"x" * 65536)
        assert raw.answer().status == 431
        assert raw.closed()


def test_connection_close(served: Served) -> None:
    for data in (post(SUM, inference(1), "Connection: close"), get("/v2", "Connection: close")):
        with Raw(served.port) as raw:
            answer = raw.ask(data + get("/v2"))
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert raw.closed()


def test_http_1_0(served: Served) -> None:
    for data in (post(SUM, inference(1)), get("/v2")):
        with Raw(served.port) as raw:
            assert raw.ask(data.replace(b"HTTP/1.1", b"HTTP/1.0")).headers["connection"] == "close"
            assert raw.closed()


def test_http_1_0_that_wants_to_stay(served: Served) -> None:
    asked = (post(SUM, inference(1), "Connection: keep-alive"), get("/v2", "Connection: keep-alive"))
    with Raw(served.port) as raw:
        for data in asked * 2:
            assert raw.ask(data.replace(b"HTTP/1.1", b"HTTP/1.0")).headers["connection"] == "keep-alive"


def test_chunks(served: Served) -> None:
    whole = b"".join(HALVES)
    for chunks in (HALVES, [bytes([byte]) for byte in whole]):
        with Raw(served.port) as raw:
            answer = raw.ask(chunked(SUM, *chunks) + get("/v2"))
            assert json.loads(answer.body)["outputs"][0]["data"] == [3.0]
            assert raw.answer().status == 200


def test_byte_by_byte(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(SUM, inference(1, 2)):
            raw.send(bytes([byte]))
        assert json.loads(raw.answer().body)["outputs"][0]["data"] == [3.0]


def test_expect_continue(served: Served) -> None:
    data = post(SUM, inference(1), "Expect: 100-Continue")
    head, _, body = data.partition(b"\r\n\r\n")
    with Raw(served.port) as raw:
        # After another answer, not before it: an interim answer belongs to the next final one.
        raw.send(get("/v2") + head + b"\r\n\r\n")
        assert [raw.answer().status, raw.answer().status] == [200, 100]
        assert raw.ask(body).status == 200
        assert raw.ask(data).status == 200


def test_expect_continue_of_what_will_be_refused(served: Served) -> None:
    with Raw(served.port) as raw:
        assert raw.ask(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n").status == 413


@pytest.mark.parametrize("framing", ["length", "chunks", "none"])
def test_an_upgrade_is_ignored_and_the_body_read(served: Served, framing: str) -> None:
    """The HTTP clients of Java, and curl with --http2, ask for it with every request."""
    wish = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA"
    asked = {"length": post(SUM, inference(1)), "chunks": chunked(SUM, *HALVES), "none": get("/v2")}[framing]
    with Raw(served.port) as raw:
        raw.send(asked.replace(b"Host: x", wish) * 3 + get("/v2"))
        assert [raw.answer().status for _ in range(4)] == [200] * 4


def test_a_caller_that_leaves_within_its_request(served: Served) -> None:
    data = post(SUM, inference(1))
    for size in (1, 20, len(data) - 1):
        with Raw(served.port) as raw:
            raw.send(data[:size])
    assert healthy(served)


def test_a_caller_that_leaves_while_its_request_is_under_way(served: Served, tmp_path: Path) -> None:
    asked = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open")}
    with Raw(served.port) as raw:
        raw.send(post("/v2/models/gate/infer", inference(1, parameters=asked)))
        wait_until_there(tmp_path / "begun")
    assert healthy(served)
    (tmp_path / "open").touch()
    assert healthy(served)


def test_a_caller_that_resets_the_connection(served: Served, tmp_path: Path) -> None:
    asked = {"begun": str(tmp_path / "begun"), "open": str(tmp_path / "open")}
    with Raw(served.port) as raw:
        raw.send(post("/v2/models/gate/infer", inference(1, parameters=asked)))
        wait_until_there(tmp_path / "begun")
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    (tmp_path / "open").touch()
    assert healthy(served)


def test_a_caller_that_has_said_all_is_answered(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.send(post(SUM, inference(1)) * 3)
        raw.socket.shutdown(socket.SHUT_WR)
        assert [raw.answer().status for _ in range(3)] == [200] * 3
        assert raw.closed()
