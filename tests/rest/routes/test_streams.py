"""Server-sent events."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.rest.raw import Answer, Raw, post
from tests.rest.routes.conftest import events
from tests.rest.test_connections import wait_until_there
from tests.rest.test_metrics import scraped
from tests.seed.serving import Served

INPUTS = [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]


def spoken(text: str, **fields: Any) -> dict[str, Any]:
    """A request to the speaker."""
    return {"inputs": [{"name": "text_input", "shape": [1], "datatype": "BYTES", "data": [text]}], **fields}


def ask(served: Served, path: str, body: Any, *headers: str) -> Answer:
    """One request on a connection of its own."""
    with Raw(served.port) as raw:
        return raw.ask(post(path, body, *headers))


@pytest.mark.parametrize("path", ["/infer_stream", "/generate_stream", "/infer_stream/"])
def test_each_answer_is_an_event(routed: Served, path: str) -> None:
    answer = ask(routed, f"/v2/models/speaker{path}", spoken("abc", id="it"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["ce-id"] == "it"
    assert answer.body.startswith(b'data: {"model_name":"speaker","id":"it","parameters":null,"outputs":[{"name":')
    assert [event["outputs"][0]["data"] for event in events(answer.body)] == [["a"], ["b"], ["c"]]


def test_with_a_version_and_the_connection_stays(routed: Served) -> None:
    asked = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
    request = post("/v2/models/rows/versions/v1/infer_stream", asked)
    with Raw(routed.port) as raw:
        for _ in range(2):
            (event,) = events(raw.ask(request).body)
            assert (event["model_version"], event["outputs"][0]["data"]) == ("v1", [10.0])


def test_headers_of_the_model_are_in_its_events(routed: Served) -> None:
    answer = ask(routed, "/v2/models/speaker/infer_stream", spoken("ab", parameters={"signed": True}))
    assert [event["parameters"] for event in events(answer.body)] == [
        {"headers": {"X-Letter": "a"}},
        {"headers": {"X-Letter": "b"}},
    ]
    assert "x-letter" not in answer.headers


def test_no_answer_at_all(routed: Served) -> None:
    answer = ask(routed, "/v2/models/speaker/infer_stream", spoken(""))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v2/models/none/infer_stream", spoken("a"), 404, "model 'none' not found"),
        ("/v2/models/rows/versions/v2/infer_stream", spoken("a"), 404, "model 'rows' not found in version 'v2'"),
        ("/v2/models/speaker/infer_stream", b"{", 400, "invalid inference request: "),
        ("/v2/models/speaker/generate_stream", b"{", 400, "invalid request: "),
        ("/v2/models/speaker/infer_stream", spoken("a", parameters={"refuse": True}), 400, "not this text"),
        (
            "/v2/models/speaker/infer_stream",
            spoken("", id="it", parameters={"fail": True}),
            500,
            "ValueError: lost my voice (request it)",
        ),
    ],
)
def test_an_error_before_the_first_event(routed: Served, path: str, body: Any, status: int, message: str) -> None:
    answer = ask(routed, path, body)
    assert answer.status == status
    assert answer.error.startswith(message)


def test_an_error_after_it_is_the_last_event(routed: Served) -> None:
    answer = ask(routed, "/v2/models/speaker/infer_stream", spoken("ab", id="it", parameters={"fail": True}))
    assert answer.status == 200
    *answers, last = events(answer.body)
    assert len(answers) == 2
    assert last == {"error": "ValueError: lost my voice (request it)"}


def test_an_event_leaves_before_the_next_one_is_made(routed: Served, tmp_path: Path) -> None:
    asked = {"inputs": INPUTS, "parameters": {"open": str(tmp_path / "open")}}
    with Raw(routed.port) as raw:
        raw.send(post("/v2/models/stepper/infer_stream", asked))
        received = b""
        while b"data: " not in received:
            received += raw.socket.recv(65536)
        (tmp_path / "open").touch()
        while not received.endswith(b"0\r\n\r\n"):
            received += raw.socket.recv(65536)
    assert received.count(b"data: ") == 2


@pytest.mark.parametrize("first", [0, 3], ids=["while nothing is sent", "between events"])
def test_who_leaves_ends_the_model_s_work(routed: Served, tmp_path: Path, first: int) -> None:
    waiting, closed = tmp_path / "waiting", tmp_path / "closed"
    asked = {"inputs": INPUTS, "parameters": {"first": first, "waiting": str(waiting), "closed": str(closed)}}
    with Raw(routed.port) as raw:
        raw.send(post("/v2/models/endless/infer_stream", asked))
        wait_until_there(waiting)
        left = time.monotonic()
    wait_until_there(closed)
    assert float(closed.read_text()) - left < 1.0


def test_who_leaves_while_events_come_ends_the_model_s_work(routed: Served, tmp_path: Path) -> None:
    asked = {"inputs": INPUTS, "parameters": {"first": -1, "closed": str(tmp_path / "closed")}}
    with Raw(routed.port) as raw:
        raw.send(post("/v2/models/endless/infer_stream", asked))
        assert raw.socket.recv(1024)
        left = time.monotonic()
    wait_until_there(tmp_path / "closed")
    assert float((tmp_path / "closed").read_text()) - left < 1.0


@pytest.mark.parametrize("place", ["routed", "worked"])
@pytest.mark.parametrize("path", ["infer_stream", "generate_stream"])
@pytest.mark.parametrize("word", ["header", "parameter"])
def test_a_deadline_ends_the_model_s_work(
    request: pytest.FixtureRequest, place: str, path: str, word: str, tmp_path: Path
) -> None:
    served = request.getfixturevalue(place)
    closed = tmp_path / "closed"
    parameters = {"first": 2, "waiting": str(tmp_path / "waiting"), "closed": str(closed)}
    headers = ["X-Request-Timeout-Ms: 300"] if word == "header" else []
    timeout = {"timeout": 300_000} if word == "parameter" else {}
    asked = {"inputs": INPUTS, "parameters": parameters | timeout}
    answer = ask(served, f"/v2/models/endless/{path}", asked, *headers)
    assert answer.status == 200
    *answers, last = events(answer.body)
    assert len(answers) == 2
    assert last["error"].startswith("the deadline of the request for model 'endless' passed before its last answer")
    wait_until_there(closed)


@pytest.mark.parametrize("place", ["routed", "worked"])
def test_a_deadline_before_the_first_event_is_a_status(
    request: pytest.FixtureRequest, place: str, tmp_path: Path
) -> None:
    parameters = {"first": 0, "waiting": str(tmp_path / "waiting"), "closed": str(tmp_path / "closed")}
    asked = {"inputs": INPUTS, "parameters": parameters}
    served = request.getfixturevalue(place)
    answer = ask(served, "/v2/models/endless/infer_stream", asked, "X-Request-Timeout-Ms: 300")
    assert (answer.status, answer.headers["content-type"]) == (504, "application/json")
    wait_until_there(tmp_path / "closed")


def test_a_slow_reader_holds_the_model_back(routed: Served, tmp_path: Path) -> None:
    count = tmp_path / "count"
    asked = {"inputs": INPUTS, "parameters": {"count": str(count)}}
    with Raw(routed.port) as raw:
        raw.send(post("/v2/models/hose/infer_stream", asked))
        read = 0
        while read < 32 * 2**20:
            read += len(raw.socket.recv(2**16))
            # Both ends' socket buffers hold some MiB, the server itself no more than the event at hand.
            assert int(count.read_text()) - read / 2**20 < 16
    assert int(count.read_text()) == 32


def test_many_at_once(routed: Served) -> None:
    connections = [Raw(routed.port) for _ in range(64)]
    for number, raw in enumerate(connections):
        raw.send(post("/v2/models/speaker/infer_stream", spoken("ab", id=str(number))))
    for number, raw in enumerate(connections):
        with raw:
            assert {event["id"] for event in events(raw.answer().body)} == {str(number)}


def test_a_stream_is_counted(served: Served, metrics_port: int) -> None:
    before = scraped(metrics_port)
    body = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]}]}
    (event,) = events(ask(served, "/v2/models/sum/infer_stream", body).body)
    assert event["outputs"][0]["data"] == [1.0]
    labels = {"method": "POST", "path": "/v2/models/{model_name}/infer_stream", "status_code": "200"}
    key = ("rest_server_requests_total", tuple(sorted({**labels, "app_name": "mlserver"}.items())))
    deadline = time.monotonic() + 20
    # Its end is told of once it has ended, which is a moment after the caller has all of it.
    while scraped(metrics_port).get(key, 0.0) - before.get(key, 0.0) != 1:
        assert time.monotonic() < deadline
