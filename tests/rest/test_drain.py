"""A stop under load: whoever was connected and had sent a request is answered."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from mlserver.rest.sockets import begin_no_more, bind, queued
from tests.rest.conftest import make_folder, serve
from tests.rest.raw import Raw, get, inference, post
from tests.seed.serving import Served

SUM = post("/v2/models/sum/infer", inference(1, 2))
CALLERS = 20
"""As many of each kind, each with a request every 0.2 s: 200 per second."""
INTERVAL_SECONDS = 0.2
# What is sent this soon after the signal is sent while the server still looks for it.
SURE_SECONDS = 0.1


class Asked(NamedTuple):
    """One request: when it was on its way, and whether it was answered."""

    sent: float
    answered: bool


class Load:
    """Callers that keep their connection, and callers that make one for each request, until nobody answers."""

    def __init__(self, server: Served) -> None:
        self.asked: list[Asked] = []
        self._port = server.port
        self._ended = threading.Event()
        kinds = (self._keeping, self._anew)
        self._threads = [threading.Thread(target=kinds[n % 2], args=(n,)) for n in range(2 * CALLERS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Until so many have been answered."""
        deadline = time.monotonic() + 20
        while len(self.asked) < count:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def end(self) -> None:
        """Nobody asks any more."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _keeping(self, number: int) -> None:
        with Raw(self._port) as raw:
            self._ended.wait(number / CALLERS / 2 * INTERVAL_SECONDS)
            while self._ask(raw) and not self._ended.wait(INTERVAL_SECONDS):
                pass

    def _anew(self, number: int) -> None:
        self._ended.wait(number / CALLERS / 2 * INTERVAL_SECONDS)
        while not self._ended.wait(INTERVAL_SECONDS):
            try:
                raw = Raw(self._port)
            except OSError:
                return  # never connected, so nothing is owed
            with raw:
                self._ask(raw)

    def _ask(self, raw: Raw) -> bool:
        """One request; whether the connection can take another."""
        try:
            raw.send(SUM)
        except OSError:
            return False  # closed before: it was never on its way
        sent = time.monotonic()
        try:
            answer = raw.answer()
        except (AssertionError, OSError):
            self.asked.append(Asked(sent, answered=False))
            return False
        right = answer.status == 200 and json.loads(answer.body)["outputs"][0]["data"] == [3.0]
        self.asked.append(Asked(sent, answered=right))
        return answer.headers.get("connection") != "close"


@pytest.mark.parametrize("run", range(3))
def test_nothing_that_was_accepted_is_lost(tmp_path: Path, run: int) -> None:
    folder = make_folder(tmp_path / "models", {"sum": {"implementation": "kitchen.Sum"}})
    with serve(folder) as server:
        load = Load(server)
        load.wait_for(100 + 37 * run)
        signalled = time.monotonic()
        server.stop()
        load.end()
        assert "Traceback" not in server.log
    owed = [asked for asked in load.asked if asked.sent < signalled + SURE_SECONDS]
    assert len(owed) >= 100
    assert [asked.sent - signalled for asked in owed if not asked.answered] == []


def test_a_connection_in_the_queue_is_answered_whenever_it_was_made(tmp_path: Path) -> None:
    """Made while the loop is held up by a model, with the signal already on its way."""
    models = {"sum": {"implementation": "kitchen.Sum"}, "blocker": {"implementation": "kitchen.Blocker"}}
    begun, go_on = tmp_path / "begun", tmp_path / "open"
    asked = {"begun": str(begun), "open": str(go_on)}
    folder = make_folder(tmp_path / "models", models)
    with serve(folder) as server, contextlib.ExitStack() as closing, ThreadPoolExecutor() as pool:
        raw, idle = (closing.enter_context(Raw(server.port)) for _ in range(2))
        assert idle.ask(get("/v2")).status == 200
        raw.send(post("/v2/models/blocker/infer", inference(1, parameters=asked)))
        deadline = time.monotonic() + 20
        while not begun.exists():
            assert time.monotonic() < deadline
        stopped = pool.submit(server.stop)
        late = [closing.enter_context(Raw(server.port)) for _ in range(50)]
        for caller in (idle, *late):
            caller.send(SUM)
        go_on.touch()
        for caller in (raw, idle, *late):
            assert caller.answer().status == 200
            assert caller.closed()
        stopped.result()


def test_a_listener_that_begins_no_more_keeps_who_is_there() -> None:
    listener = bind("127.0.0.1", 0, "http_port")
    address = listener.getsockname()
    with listener, socket.create_connection(address) as first:
        begin_no_more(listener)
        with socket.socket() as second:
            second.settimeout(0.05)
            with pytest.raises(TimeoutError):
                second.connect(address)
        (only,) = queued(listener)
        with only:
            assert only.getpeername() == first.getsockname()
