"""Connections that take their time: closed at their deadlines, while everybody else is answered."""

import contextlib
import json
import os
import resource
import select
import socket
import time
from collections.abc import Iterator

import psutil
import pytest

from mlserver.rest.limits import Limits
from mlserver.settings import Settings
from tests.rest.raw import PATIENCE_SECONDS, Raw, get, inference, post
from tests.rest.test_connections import healthy
from tests.seed.serving import Served

ECHO = "/v2/models/echo/infer"
HEAD = b"POST /v2/models/sum/infer HTTP/1.1\r\nHost: x\r\n"
TRICKLE_SECONDS = 0.1


@contextlib.contextmanager
def connected(served: Served, count: int) -> Iterator[list[socket.socket]]:
    """So many connections."""
    with contextlib.ExitStack() as closing:
        yield [
            closing.enter_context(socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS))
            for _ in range(count)
        ]


def seconds_until_closed(served: Served, callers: list[socket.socket], trickle: bytes = b"") -> float:
    """How long it takes until the server has closed all, each of which sends `trickle` now and again meanwhile.

    Somebody else is answered all the time.
    """
    begun = time.monotonic()
    waiting = set(callers)
    while waiting:
        assert time.monotonic() - begun < PATIENCE_SECONDS
        assert healthy(served)
        readable, _, _ = select.select(waiting, [], [], TRICKLE_SECONDS)
        for caller in [*readable]:
            with contextlib.suppress(ConnectionResetError):
                if caller.recv(65536):
                    continue
            waiting.discard(caller)
        for caller in waiting if trickle else ():
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                caller.send(trickle)
    return time.monotonic() - begun


@pytest.mark.parametrize("trickle", [b"x", b""], ids=["slow", "silent"])
def test_heads_that_do_not_end(hasty: Served, trickle: bytes) -> None:
    with connected(hasty, 500) as callers:
        for caller in callers:
            caller.sendall(HEAD + b"X: ")
        assert 0.4 < seconds_until_closed(hasty, callers, trickle) < 10


def test_a_head_that_is_late_is_told_so(hasty: Served) -> None:
    with Raw(hasty.port) as raw:
        answer = raw.ask(HEAD)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert answer.error == "the request's line and headers were not complete in time"
        assert raw.closed()


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_bodies_that_do_not_end(hasty: Served, framing: bytes) -> None:
    trickle = b" " if b"Length" in framing else b"1\r\n \r\n"
    with connected(hasty, 20) as callers:
        for caller in callers:
            caller.sendall(HEAD + framing)
        assert 0.7 < seconds_until_closed(hasty, callers, trickle) < 10
    with Raw(hasty.port) as raw:
        assert raw.ask(HEAD + framing).error == "the request's body was not complete in time"


@pytest.mark.parametrize("beginning", [b"", get("/v2/health/live"), post(ECHO, inference(1)), b"\r\n"])
def test_idle_connections(hasty: Served, beginning: bytes) -> None:
    """Line ends between requests are no request, and keep nothing alive."""
    with connected(hasty, 20) as callers:
        for caller in callers:
            caller.sendall(beginning)
        assert 1.1 < seconds_until_closed(hasty, callers, b"\r\n") < 10


def test_a_request_under_way_has_no_deadline_of_the_connection_s(hasty: Served, tmp_path: os.PathLike[str]) -> None:
    asked = {"begun": str(tmp_path) + "/begun", "open": str(tmp_path) + "/open"}
    with Raw(hasty.port) as raw, connected(hasty, 1) as idle:
        raw.send(post("/v2/models/gate/infer", inference(1, parameters=asked)))
        seconds_until_closed(hasty, idle)  # longer than any of the deadlines
        with open(asked["open"], "w"):
            assert raw.answer().status == 200
        assert raw.ask(post(ECHO, inference(1))).status == 200


def test_readers_that_do_not_read(hasty: Served) -> None:
    """10 MB for each, that stay with the server until it gives the caller up."""
    process = psutil.Process(hasty.pid)
    with connected(hasty, 5) as callers:
        for caller in callers:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.sendall(post("/v2/models/large/infer", inference(1)))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _connections_of(process, callers):
            assert time.monotonic() < deadline
            assert healthy(hasty)


def test_a_reader_that_is_slow_but_reads(hasty: Served) -> None:
    with Raw(hasty.port) as raw:
        answer = raw.ask(post("/v2/models/large/infer", inference(1)))
    assert len(json.loads(answer.body)["outputs"][0]["data"]) == 10**7


def _connections_of(process: psutil.Process, callers: list[socket.socket]) -> int:
    """How many of the callers the server has a connection to."""
    ports = {caller.getsockname()[1] for caller in callers}
    return sum(1 for found in process.net_connections("tcp4") if found.raddr and found.raddr.port in ports)


def test_what_an_idle_connection_costs(served: Served) -> None:
    process = psutil.Process(served.pid)
    # Both ends have a file each; what else they have open are some dozens.
    count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    with connected(served, 50):
        assert healthy(served)
        before = process.memory_info().rss
        with connected(served, count) as callers:
            for caller in callers:
                caller.sendall(get("/v2/health/live"))
            for caller in callers:
                assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert healthy(served)
            assert (process.memory_info().rss - before) / count < 20 * 1024


def test_the_settings_reach_the_connections() -> None:
    settings = Settings(
        max_body_bytes=1, max_header_bytes=2, max_json_depth=5, header_timeout_seconds=4, body_timeout_seconds=5,
        idle_timeout_seconds=6, gzip_enabled=False,
    )  # fmt: skip
    assert Limits.of(settings) == Limits(1, 2, 5, 4, 5, 6, False)
    assert Limits.of(Settings()) == Limits()
