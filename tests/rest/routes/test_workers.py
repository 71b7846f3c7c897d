"""The same where the models are in processes of their own."""

import json
import time
from pathlib import Path

import pytest

from tests.rest.raw import Raw, post
from tests.rest.routes.conftest import events
from tests.rest.routes.test_custom import fetch
from tests.rest.routes.test_streams import INPUTS, ask, spoken
from tests.rest.test_connections import wait_until_there
from tests.seed.serving import Served


def test_events_and_an_error_at_their_end(worked: Served) -> None:
    answer = ask(worked, "/v2/models/speaker/infer_stream", spoken("ab", id="it", parameters={"fail": True}))
    first, second, last = events(answer.body)
    assert [event["outputs"][0]["data"] for event in (first, second)] == [["a"], ["b"]]
    assert last == {"error": "ValueError: lost my voice (request it)"}


def test_an_error_before_the_first_event(worked: Served) -> None:
    answer = ask(worked, "/v2/models/speaker/infer_stream", spoken("a", parameters={"refuse": True}))
    assert (answer.status, answer.error) == (400, "not this text")


@pytest.mark.parametrize("first", [0, 3], ids=["while nothing is sent", "between events"])
def test_who_leaves_ends_the_model_s_work(worked: Served, tmp_path: Path, first: int) -> None:
    waiting, closed = tmp_path / "waiting", tmp_path / "closed"
    asked = {"inputs": INPUTS, "parameters": {"first": first, "waiting": str(waiting), "closed": str(closed)}}
    with Raw(worked.port) as raw:
        raw.send(post("/v2/models/endless/infer_stream", asked))
        wait_until_there(waiting)
        left = time.monotonic()
    wait_until_there(closed)
    assert float(closed.read_text()) - left < 1.0


def test_a_slow_reader_holds_the_model_back(worked: Served, tmp_path: Path) -> None:
    count = tmp_path / "count"
    with Raw(worked.port) as raw:
        raw.send(post("/v2/models/hose/infer_stream", {"inputs": INPUTS, "parameters": {"count": str(count)}}))
        wait_until_there(count)
        read = 0
        while read < 32 * 2**20:
            read += len(raw.socket.recv(2**16))
            # Sockets' buffers on two ways, and the 16 messages that a worker may be ahead of what was taken.
            assert int(count.read_text()) - read / 2**20 < 28
    assert int(count.read_text()) == 32


def test_routes_of_a_model(worked: Served) -> None:
    answer = ask(worked, "/sum", {"left": 2, "right": 3}, "User-Agent: me")
    assert json.loads(answer.body) == {"sum": 5, "by": "me", "model": "a-waiter"}
    answer = fetch(worked, "/text")
    assert (answer.status, answer.body, answer.headers["x-own"]) == (202, b"\x00\xff", "yes")
    assert ask(worked, "/sum", {}).error.startswith("the request does not fit: body.left: ")
    assert ask(worked, "/fail?how=refuse", b"").status == 400
    answer = ask(worked, "/fail?how=zero", b"")
    assert (answer.status, answer.error) == (500, "ZeroDivisionError: division by zero")
    worked.wait_for("model 'a-waiter' failed on POST /fail")


def test_a_worker_that_dies_answers_nobody_for_ever(worked: Served, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    before = fetch(worked, "/where").body
    with Raw(worked.port) as hung:
        hung.send(post(f"/hang?begun={begun}", b""))
        wait_until_there(begun)
        answer = ask(worked, "/die", b"")
        assert (answer.status, answer.error) == (503, "the worker of model 'sick' ended before it answered")
        assert hung.answer().status == 503
    deadline = time.monotonic() + 60
    while (answer := fetch(worked, "/where")).status != 200:
        assert (answer.status, time.monotonic() < deadline) == (503, True)
    assert answer.body != before
