"""What an answer looks like: value, key, headers, id, partition, order."""

import time
import uuid

import pytest

from tests.kafka.client import Got, Headers, Sent, Tell, Topics, Watch, model, request, send

BODY = (
    b'{"model_name":"versioned","model_version":"v2","id":"one","parameters":null,"outputs":'
    b'[{"name":"sums","shape":[2,1],"datatype":"FP64","parameters":{"content_type":"np"},"data":[1.0,2.5]}]}'
)


def ask(topics: Topics, answers: Watch, *records: Sent) -> list[Got]:
    """The answers to the records."""
    return answers.of(send(topics, records))


def test_value_and_headers_to_the_byte(topics: Topics, answers: Watch) -> None:
    sent = Sent(request(1.0, 2.5, id="one"), model("versioned"), b"\x00\xffkey")
    (source,) = send(topics, [sent])
    (answer,) = answers.of([source])
    assert answer.value == BODY
    assert answer.key == sent.key
    assert answer.headers == [
        ("mlserver-model", b"versioned"),
        ("mlserver-version", b"v2"),
        ("mlserver-status", b"ok"),
        ("mlserver-source", source.encode()),
        ("mlserver-request-id", b"one"),
    ]


def test_stacked_and_alone_are_one_to_the_byte(topics: Topics, answers: Watch) -> None:
    """Fifty at once are stacked; one for another version between them is not."""
    records = [Sent(request(1.0, 2.5, id="one"), model("versioned")) for _ in range(50)]
    records.insert(20, Sent(request(1.0, 2.5, id="one"), model("versioned", "v1")))
    found = [answer.value for answer in ask(topics, answers, *records)]
    assert found.pop(20) == BODY.replace(b'"v2"', b'"v1"')
    assert set(found) == {BODY}


def test_a_version_that_is_asked_for(topics: Topics, answers: Watch) -> None:
    (answer,) = ask(topics, answers, Sent(request(1.0), model("versioned", "v1")))
    assert answer.header("mlserver-version") == b"v1"
    assert answer.body["model_version"] == "v1"


def test_a_model_without_a_version_has_no_version_header(topics: Topics, answers: Watch) -> None:
    (answer,) = ask(topics, answers, Sent(request(1.0), model("sum")))
    assert answer.header("mlserver-version") is None
    assert "model_version" not in answer.body


@pytest.mark.parametrize("name", ["sum", "odd"])
def test_the_id_is_the_body_s_then_the_key_then_a_new_one(name: str, topics: Topics, answers: Watch) -> None:
    both, key, neither, binary = ask(
        topics,
        answers,
        Sent(request(1.0, id="body"), model(name), b"key"),
        Sent(request(1.0), model(name), "schlüssel".encode()),
        Sent(request(1.0), model(name)),
        Sent(request(1.0), model(name), b"\xff"),
    )
    assert both.body["id"] == "body"
    assert key.body["id"] == "schlüssel"
    assert uuid.UUID(neither.body["id"]) != uuid.UUID(binary.body["id"])
    for answer in (both, key, neither, binary):
        assert answer.header("mlserver-request-id") == answer.body["id"].encode()


@pytest.mark.parametrize("key", [None, b"", b"k", b"\x00\xff", b"x" * 10_000])
def test_the_key_comes_back(key: bytes | None, topics: Topics, answers: Watch) -> None:
    good, bad = ask(topics, answers, Sent(request(1.0), model("sum"), key), Sent(b"?", model("sum"), key))
    assert (good.key, bad.key) == (key, key)


@pytest.mark.parametrize("value", [request(1.0), b"?"], ids=["result", "error"])
def test_what_correlates_is_echoed_as_it_was(value: bytes, topics: Topics, answers: Watch) -> None:
    echoed: Headers = [
        ("TraceParent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("correlation-id", b"\xff\x00"),
        ("kafka_correlationId", None),
    ]
    (answer,) = ask(topics, answers, Sent(value, [("x", b"1"), *echoed[::-1], *model("sum")]))
    assert answer.headers[-3:] == echoed
    assert answer.header("x") is None


def test_header_names_match_in_any_case_and_the_last_counts(topics: Topics, answers: Watch) -> None:
    headers: Headers = [
        ("mlserver-model", b"nobody"),
        ("MLSERVER-MODEL", b"sum"),
        ("Mlserver-Method", b"infer"),
        ("mlserver-VERSION", b"\xff"),
        ("mlserver-version", b""),
        ("", b"\x00"),
    ]
    (answer,) = ask(topics, answers, Sent(request(1.0, 2.0), headers))
    assert answer.status == "ok"
    assert answer.header("mlserver-model") == b"sum"


def test_an_error_answer_says_what_the_caller_said(topics: Topics, answers: Watch) -> None:
    sent = Sent(request(1.0, id="one"), [("MLSERVER-model", b"no\xc3\xb6ne"), ("mlserver-version", b"v1")], b"k")
    (source,) = send(topics, [sent])
    (answer,) = answers.of([source])
    assert answer.value == "{\"error\":\"model 'noöne' not found in version 'v1'\"}".encode()
    assert answer.headers == [
        ("mlserver-model", b"no\xc3\xb6ne"),
        ("mlserver-version", b"v1"),
        ("mlserver-status", b"error"),
        ("mlserver-source", source.encode()),
        ("mlserver-request-id", b"one"),
    ]


def test_answers_come_in_the_order_of_the_records(topics: Topics, answers: Watch) -> None:
    """Whatever their kind: results of two models, stacked and not, and errors."""
    kinds = [model("sum"), model("odd"), model("nobody"), model("versioned")]
    sources = send(topics, [Sent(request(1.0), kinds[index * 7 % 4]) for index in range(2_000)])
    found = answers.of(sources)
    assert [answer.offset for answer in found] == list(range(found[0].offset, found[0].offset + 2_000))


def test_one_record_after_the_other(topics: Topics, answers: Watch, tell: Tell) -> None:
    """The latency of an idle server; only that it answers is asserted, the figure is a row of the benchmark."""
    taken = []
    for _ in range(50):
        begun = time.perf_counter()
        (source,) = send(topics, [Sent(request(1.0), model("sum"))])
        answers.until(lambda found, source=source: bool(found) and found[-1].source == source)  # type: ignore[misc]
        taken.append(time.perf_counter() - begun)
    tell(f"one idle record, sent to seen: p50 {sorted(taken)[25] * 1000:.1f} ms")
