"""Every way in which a record can be bad: one error answer, one dead letter, and nobody else comes to harm."""

import hashlib
import json
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kafka.client import Got, Headers, Sent, Topics, Watch, all_committed, fresh, model, request, send
from tests.kafka.kitchen import BEAST
from tests.kafka.serving import SUM, Server, make_folder

GOOD = Sent(request(1.0, 2.0), model("sum"), b"good")
OURS = ("error", "message", "attempts", "source", "timestamp", "model", "server")


def tensor(**changed: Any) -> bytes:
    """A request whose only input differs from a good one."""
    return json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1], **changed}]}).encode()


POISON: dict[str, tuple[Sent, str, str]] = {
    "not JSON": (Sent(b"{", model("sum"), b"k"), "invalid", "invalid inference request"),
    "JSON of another kind": (Sent(b"[1]", model("sum")), "invalid", "invalid inference request"),
    "not UTF-8": (Sent(b'{"inputs":[],"id":"\xff"}', model("sum"), b"\xff"), "invalid", "invalid inference request"),
    "nested too deeply": (Sent(b"[" * 100_000, model("sum")), "invalid", "invalid inference request"),
    "empty": (Sent(b"", model("sum"), b""), "invalid", "empty value"),
    "tombstone": (Sent(None, model("sum"), b"k"), "invalid", "null value (a tombstone)"),
    "no headers": (Sent(GOOD.value, []), "invalid", "no header mlserver-model"),
    "empty model header": (Sent(GOOD.value, [("mlserver-model", b"")]), "invalid", "no header mlserver-model"),
    "null model header": (Sent(GOOD.value, [("mlserver-model", None)]), "invalid", "mlserver-model is null"),
    "model header not UTF-8": (Sent(GOOD.value, [("mlserver-model", b"\xff")]), "invalid", "is not UTF-8"),
    "last of a repeated header": (Sent(GOOD.value, [*model("sum"), *model("who")]), "not_found", "'who' not found"),
    "null version": (Sent(GOOD.value, [*model("sum"), ("Mlserver-Version", None)]), "invalid", "version is null"),
    "unknown model": (Sent(GOOD.value, model("nobody")), "not_found", "'nobody' not found"),
    "unknown version": (Sent(GOOD.value, model("sum", "v9")), "not_found", "'v9'"),
    "unknown method": (Sent(GOOD.value, [*model("sum"), ("mlserver-method", b"stream")]), "invalid", "'stream'"),
    "datatype": (Sent(tensor(datatype="FP128"), model("sum")), "invalid", "FP128"),
    "numbers that are not": (Sent(tensor(data=["one"]), model("sum")), "invalid", "data"),
    "shape": (Sent(tensor(shape=[2, 2]), model("sum")), "invalid", "needs 4 elements"),
    "negative shape": (Sent(tensor(shape=[-1, 1]), model("sum")), "invalid", "dimensions >= 0"),
    "enormous shape": (Sent(tensor(shape=[2**70, 0], data=[]), model("sum")), "invalid", "shape"),
    "enormous number": (Sent(tensor(parameters={"n": 10**30}), model("sum")), "invalid", "cannot be"),
    "enormous number, alone": (Sent(tensor(parameters={"n": 10**30}), model("odd")), "invalid", "cannot be"),
    "model raises": (Sent(request(1.0, parameters={"do": "raise"}), model("odd")), "model", "division by zero"),
    "model refuses": (Sent(request(1.0, parameters={"do": "refuse"}), model("odd")), "invalid", "not this input"),
    "answer of no type": (Sent(request(1.0, parameters={"do": "object"}), model("odd")), "model", "cannot be"),
    "answer that is not text": (Sent(request(200.0), model("text")), "model", "not UTF-8"),
    "answer too large": (Sent(request(1.0, parameters={"do": "large"}), model("odd")), "too_large", "over the limit"),
}


def check_letter(letter: Got, sent: Sent, source: str, kind: str) -> None:
    """Byte for byte what was sent, and then what we say of it."""
    own = len(sent.headers)
    assert (letter.key, letter.value, letter.headers[:own]) == (sent.key, sent.value, sent.headers)
    ours = dict(letter.headers[own:])
    assert list(ours) == [f"mlserver-dead-letter-{name}" for name in OURS]
    assert ours["mlserver-dead-letter-error"] == kind.encode()
    assert ours["mlserver-dead-letter-attempts"] == b"1"
    assert ours["mlserver-dead-letter-source"] == source.encode()
    assert len(ours["mlserver-dead-letter-message"] or b"") <= 1024
    assert b"Traceback" not in (ours["mlserver-dead-letter-message"] or b"")


@pytest.mark.parametrize("name", POISON)
def test_one_error_answer_and_one_dead_letter(name: str, topics: Topics, answers: Watch, letters: Watch) -> None:
    sent, kind, message = POISON[name]
    before, source, after = send(topics, [GOOD, sent, GOOD])
    first, answer, last = answers.of([before, source, after])
    (letter,) = letters.of([source])
    assert message in answer.error
    assert answer.key == sent.key
    check_letter(letter, sent, source, kind)
    assert [first.body["outputs"][0]["data"], last.body["outputs"][0]["data"]] == [[1.0, 2.0]] * 2
    assert [record.source for record in answers.records if record.offset >= first.offset][:2] == [before, source] or (
        kind == "too_large"  # what the broker refuses is answered after what it took
    )


def test_one_bad_row_among_fifty_good_records(topics: Topics, answers: Watch, letters: Watch) -> None:
    values = [BEAST if index == 23 else float(index) for index in range(50)]
    sources = send(topics, [Sent(request(value), model("sum")) for value in values])
    found = answers.of(sources)
    assert [answer.status for answer in found] == ["error" if value == BEAST else "ok" for value in values]
    assert all(
        answer.body["outputs"][0]["data"] == [value]
        for answer, value in zip(found, values, strict=True)
        if value != BEAST
    )
    (letter,) = letters.of([sources[23]])
    check_letter(letter, Sent(request(BEAST), model("sum")), sources[23], "model")
    assert found[23].error == "ValueError: the beast"
    assert not {letter.source for letter in letters.records} & {*sources} - {sources[23]}


def test_one_answer_that_is_not_text_among_fifty(topics: Topics, answers: Watch, letters: Watch) -> None:
    sources = send(topics, [Sent(request(200.0 if index == 7 else 65.0), model("text")) for index in range(50)])
    assert [answer.status for answer in answers.of(sources)].count("ok") == 49
    letters.of([sources[7]])


def test_headers_that_no_client_of_ours_can_read(topics: Topics, answers: Watch, letters: Watch) -> None:
    """A header name is UTF-8 by the protocol, but nobody enforces it. kafka-python writes what it is given.

    After many good ones: the interpreter's fast ways through well-worn calls look less closely.
    """
    from kafka import KafkaProducer

    answers.of(send(topics, [GOOD] * 100))

    class Name(str):
        def encode(self, *_: object) -> bytes:
            return b"\xff\xfe"

    with KafkaProducer(bootstrap_servers=topics.bootstrap) as producer:
        sent = producer.send(topics.input, GOOD.value, b"k", headers=[(Name("x"), b"1")]).get(30)
    source = f"{topics.input}/{sent.partition}/{sent.offset}"
    (answer,) = answers.of([source])
    assert "header name is not UTF-8" in answer.error
    (letter,) = letters.of([source])
    assert (letter.key, letter.value) == (b"k", GOOD.value)
    assert answers.of(send(topics, [GOOD]))[0].status == "ok"


def limited(topics: Topics, name: str, limit: int) -> None:
    """Create a topic that takes batches of at most `limit` bytes."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    admin.create_topics([NewTopic(name, 1, config={"max.message.bytes": str(limit)})])[name].result(30)


def test_topics_with_small_limits(kafka_bootstrap: str, tmp_path: Any) -> None:
    """The broker judges whole batches: many small answers must not be taken for one that is too large."""
    topics = fresh(kafka_bootstrap, create=False)
    for name, limit in ((topics.input, 1 << 20), (topics.output, 4_000), (topics.dead_letter, 4_000)):
        limited(topics, name, limit)
    fat: Headers = [*model("nobody"), ("x", b"h" * 5_000)]
    poison = [
        Sent(b"{" * 10_000, model("sum"), b"k"),
        Sent(b"{", fat, b"k"),
        Sent(b"{", fat, b"k" * 5_000),
        Sent(None, [*model("m" * 6_000), ("traceparent", b"t" * 6_000)], b"k"),
    ]
    good = [Sent(request(float(index)), model("sum")) for index in range(500)]
    sources = send(topics, [*good[:250], *poison, *good[250:]])
    with (
        Server(make_folder(tmp_path / "served", topics, SUM)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        found = answers.of(sources)
        dead = letters.of(sources[250:254])
        all_committed(topics)
        server.stop()
    assert [answer.status for answer in found] == ["ok"] * 250 + ["error"] * 4 + ["ok"] * 250
    assert len(letters.records) == 4
    check_stub(dead[0], poison[0])
    assert [(letter.key, letter.value, letter.header("mlserver-dead-letter-dropped")) for letter in dead[1:]] == [
        (b"k", None, b"headers"),
        (None, None, b"headers, key"),
        (b"k", None, b"headers"),
    ]
    assert [answer.key for answer in found[250:254]] == [b"k", b"k", None, b"k"]


def check_stub(letter: Got, sent: Sent) -> None:
    """Key and headers as they were, and of the value what can be said of it."""
    assert (letter.key, letter.value, letter.headers[: len(sent.headers)]) == (sent.key, None, sent.headers)
    assert letter.header("mlserver-dead-letter-truncated") == b"true"
    assert letter.header("mlserver-dead-letter-value-bytes") == str(len(sent.value or b"")).encode()
    digest = hashlib.sha256(sent.value or b"").hexdigest()
    assert letter.header("mlserver-dead-letter-value-sha256") == digest.encode()


def test_a_dead_letter_over_the_broker_s_own_limit(topics: Topics, answers: Watch, letters: Watch) -> None:
    sent = Sent(b"{" * 1_048_300, model("sum"), b"k")
    (source,) = send(topics, [sent])
    assert "invalid" in answers.of([source])[0].error
    check_stub(letters.of([source])[0], sent)
    assert answers.of(send(topics, [GOOD]))[0].status == "ok"
