"""Callers who leave, who only have nothing more to say, and who want their answer in time."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mlserver.dataplane import DataPlane
from mlserver.errors import InferenceError
from mlserver.registry import Registry
from mlserver.rest.asked import Asked, read
from mlserver.rest.requests import Request, RequestReader
from mlserver.settings import Settings
from mlserver.wire.json import JsonReader
from tests.rest.raw import Raw, inference, post
from tests.rest.test_connections import healthy, wait_until_there
from tests.seed.serving import Served

GATE = "/v2/models/gate/infer"
RESET = b"\x01\x00\x00\x00\x00\x00\x00\x00"
"""SO_LINGER that makes a close a reset."""


class Doings:
    """The files by which the model tells what it does, and is told."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.open, self.cancelled = folder / "begun", folder / "open", folder / "cancelled"

    @property
    def request(self) -> bytes:
        """What asks the model to wait."""
        asked = {"begun": str(self.begun), "open": str(self.open), "cancelled": str(self.cancelled)}
        return post(GATE, inference(1, id="it", parameters=asked))


@pytest.fixture
def doings(tmp_path: Path) -> Doings:
    """For one request."""
    return Doings(tmp_path)


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_inference_for_a_caller_who_has_left_is_cancelled(served: Served, doings: Doings, reset: bool) -> None:
    with Raw(served.port) as raw:
        raw.send(doings.request)
        wait_until_there(doings.begun)
        if reset:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    wait_until_there(doings.cancelled)
    assert healthy(served)


def test_a_caller_who_has_nothing_more_to_say_is_answered(served: Served, doings: Doings) -> None:
    """It gets interim answers meanwhile, which is how the server finds out that it is still there."""

    with Raw(served.port) as raw:
        raw.send(doings.request)
        wait_until_there(doings.begun)
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.answer().status == 100
        assert raw.answer().status == 100
        doings.open.touch()
        answer = raw.answer()
        while answer.status == 100:
            answer = raw.answer()
        assert (answer.status, json.loads(answer.body)["id"]) == (200, "it")
        assert raw.closed()
    assert not doings.cancelled.exists()


def test_http_1_0_knows_no_interim_answers(served: Served, doings: Doings) -> None:

    with Raw(served.port) as raw:
        raw.send(doings.request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        wait_until_there(doings.begun)
        raw.socket.shutdown(socket.SHUT_WR)
        assert healthy(served)
        doings.open.touch()
        assert raw.answer().status == 200


def asked(*headers: str, **parameters: Any) -> Asked:
    """A request with headers and parameters, as the infer route reads it."""
    reader = RequestReader(10_000, 10_000)
    reader.feed(post("/", inference(1, parameters=parameters), *headers))
    (request,) = reader.ready
    assert isinstance(request, Request)
    dataplane = DataPlane(Settings(), Registry(None, lambda: None))  # type: ignore[arg-type]
    return read(request, request.body, ("m", None), JsonReader(), dataplane)


@pytest.mark.parametrize(
    ("headers", "parameters", "seconds"),
    [
        (["X-Request-Timeout-Ms: 5000"], {}, 5.0),
        ([], {"timeout": 2_000_000}, 2.0),
        (["x-request-timeout-ms: 5000"], {"timeout": 2_000_000}, 2.0),
        (["x-request-timeout-ms: 1000"], {"timeout": 2_000_000}, 1.0),
        (["x-request-timeout-ms: 1000"], {"timeout": 0}, 1.0),
    ],
)
def test_the_sooner_deadline_counts(headers: list[str], parameters: dict[str, int], seconds: float) -> None:
    before = time.monotonic()
    request = asked(*headers, **parameters).request
    assert request.deadline is not None
    assert before <= request.deadline - seconds <= time.monotonic()
    assert request.parameters is None


def test_no_deadline() -> None:
    assert asked(timeout=0).request.deadline is None
    assert asked().request.deadline is None


@pytest.mark.parametrize("value", ["-1", "0", "1.5", "soon", "1, 2", "9" * 20])
def test_deadlines_that_cannot_be(value: str) -> None:
    with pytest.raises(InferenceError, match="expected a whole number of milliseconds above 0 in X-Request-Timeout-Ms"):
        asked(f"X-Request-Timeout-Ms: {value}")


def test_bad_deadlines_are_the_caller_s_mistake(served: Served) -> None:
    with Raw(served.port) as raw:
        assert raw.ask(post("/v2/models/sum/infer", inference(1), "X-Request-Timeout-Ms: soon")).status == 400
        assert raw.ask(post("/v2/models/sum/infer", inference(1, parameters={"timeout": -1}))).status == 400
        assert raw.ask(post("/v2/models/sum/infer", inference(1), "X-Request-Timeout-Ms: 60000")).status == 200


def test_overload_says_when_to_try_again(served: Served) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(post("/v2/models/raiser/infer", inference(1, parameters={"how": "overloaded"})))
    assert (answer.status, answer.headers["retry-after"], answer.error) == (429, "1", "too many are waiting")
