"""What is tried again, how often, and what stands beside it: the pure piece, then the door on the broker."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from mlserver.engine.words import Failure
from mlserver.errors import Kind, MLServerError
from mlserver.kafka.failures import DeadlinePassed, PoisonCrash, Skipped, UnknownModel, Verdict, judge
from mlserver.kafka.records import Record
from mlserver.kafka.retries import Retries
from mlserver.kafka.tracker import Lane
from tests.kafka.client import Headers, Sent, Watch, all_committed, fresh, model, request, send
from tests.kafka.kitchen import BEAST
from tests.kafka.serving import Server, make_folder

ERROR = MLServerError("trouble")
FLAKY: dict[str, dict[str, Any]] = {"flaky": {"implementation": "kitchen.Flaky"}}


def record(offset: int = 0, name: str = "m") -> Record:
    one = Record(Lane("in", 0), offset, None, b"")
    one.model = name
    return one


@pytest.mark.parametrize(
    ("kind", "error", "unknown", "expected"),
    [
        (Kind.INVALID, "InferenceError", "error", Verdict.FINAL),
        (Kind.MODEL, "ModelError", "error", Verdict.FINAL),
        (Kind.TOO_LARGE, "PayloadTooLarge", "error", Verdict.FINAL),
        (Kind.NOT_IMPLEMENTED, "NotImplementedByModel", "error", Verdict.FINAL),
        (Kind.NOT_FOUND, "MLServerError", "wait", Verdict.FINAL),
        (Kind.NOT_FOUND, "ModelNotFound", "error", Verdict.FINAL),
        (Kind.NOT_FOUND, "ModelNotFound", "wait", Verdict.WAIT),
        (Kind.NOT_FOUND, "ModelNotFound", "skip", Verdict.SKIP),
        (Kind.UNAVAILABLE, "ModelNotReady", "error", Verdict.WAIT),
        (Kind.OVERLOADED, "Overloaded", "error", Verdict.WAIT),
        (Kind.UNAVAILABLE, "WorkerDied", "error", Verdict.ALONE),
        (Kind.TIMEOUT, "DeadlineExceeded", "error", Verdict.ALONE),
        (Kind.UNAVAILABLE, "MLServerError", "error", Verdict.AGAIN),
    ],
)
def test_what_a_failure_calls_for(kind: Kind, error: str, unknown: UnknownModel, expected: Verdict) -> None:
    assert judge(Failure(1, 1, kind.value, "message", None, error), unknown) is expected


def test_pauses_double_up_to_ten_seconds_and_attempts_end() -> None:
    retries, one = Retries(9, 0.2), record()
    pauses = []
    for _ in range(8):
        assert retries.failed(one, ERROR, Verdict.AGAIN, 100.0) is None
        pauses.append(retries._waiting[0][0] - 100.0)
        assert retries.due(99.0) == []
        assert retries.due(200.0) == [one]
        assert retries.active == 0
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert retries.failed(one, ERROR, Verdict.AGAIN, 100.0) is ERROR
    assert one.attempts == 9


def test_waiting_for_somebody_counts_nothing_and_ends_when_what_is_served_changes() -> None:
    retries, one = Retries(1, 0.2), record()
    for _ in range(20):
        assert retries.failed(one, ERROR, Verdict.WAIT, 100.0) is None
        assert retries._waiting[0][0] <= 101.0
        retries.wake()
        assert retries.due(100.0) == [one]
    assert one.attempts == 0


def test_suspects_are_tried_one_by_one_when_nothing_else_is_asked() -> None:
    retries = Retries(5, 0.1)
    mates, other = [record(n) for n in range(3)], record(9, "other")
    for mate in mates:
        assert retries.failed(mate, ERROR, Verdict.ALONE, 0.0) is None
    assert retries.quarantined("m")
    assert not retries.quarantined("other")
    retries.hold([late := record(7)])
    assert retries.failed(other, ERROR, Verdict.AGAIN, 0.0) is None
    assert retries.due(1.0) == [other]
    assert list(retries.due_alone(1.0, lambda name: True)) == []
    for mate in mates:
        assert list(retries.due_alone(1.0, lambda name: False)) == [mate]
        assert list(retries.due_alone(1.0, lambda name: False)) == []
        assert retries.due(1.0) == []
        assert retries.ended(mate)
    assert retries.due(1.0) == [late]
    assert retries.active == 0


def test_who_dies_alone_three_times_is_poison_and_bad_company_is_not() -> None:
    retries, one = Retries(5, 0.1), record()
    one.attempts = 3  # each time beside others
    assert retries.failed(one, ERROR, Verdict.ALONE, 0.0) is None
    (alone,) = retries.due_alone(9.0, lambda name: False)
    assert isinstance(retries.failed(alone, ERROR, Verdict.ALONE, 9.0), PoisonCrash)
    assert not retries.quarantined("m")
    assert retries.active == 0


def test_a_suspect_that_nobody_was_there_for_stays_one() -> None:
    retries, one = Retries(5, 0.1), record()
    retries.failed(one, ERROR, Verdict.ALONE, 0.0)
    (alone,) = retries.due_alone(9.0, lambda name: False)
    assert retries.failed(alone, ERROR, Verdict.WAIT, 9.0) is None
    assert (one.attempts, retries.quarantined("m")) == (1, True)
    assert list(retries.due_alone(99.0, lambda name: False)) == [one]


def test_what_ends_a_record_besides_its_attempts() -> None:
    retries, late, skipped = Retries(5, 10.0), record(), record()
    late.deadline = 3.0
    assert retries.failed(late, ERROR, Verdict.AGAIN, 1.0) is None
    assert retries.due(3.0) == [late]
    ended = retries.failed(late, ERROR, Verdict.AGAIN, 3.0)
    assert isinstance(ended, DeadlinePassed)
    assert str(ended) == "the deadline of the record has passed"
    assert isinstance(retries.failed(skipped, ERROR, Verdict.SKIP, 1.0), Skipped)


def flaky(number: float, how: str, times: int, key: bytes | None = None) -> Sent:
    """A record that fails so many times before it is answered."""
    value = request(number, id=f"{how}-{number}", parameters={"how": how, "times": times})
    return Sent(value, model("flaky"), key)


def test_on_the_broker(kafka_bootstrap: str, tmp_path: Path) -> None:
    """Each failure to its end, with its lane waiting and the others going on."""
    topics = fresh(kafka_bootstrap)
    folder = make_folder(
        tmp_path / "served", topics, FLAKY, kafka_retry_max_attempts=4, kafka_retry_backoff_seconds=0.05
    )
    records = [
        flaky(1, "unavailable", 3, b"a"), flaky(2, "unavailable", 4, b"b"), flaky(3, "not ready", 6, b"c"),
        flaky(4, "overloaded", 6, b"d"), flaky(5, "", 0, b"a"), flaky(6, "", 0, b"e"),
    ]  # fmt: skip
    with (
        Server(folder) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(topics, records)
        found = answers.of(sources)
        (letter,) = letters.of(sources[1:2])
        all_committed(topics)
        server.stop()
    assert [answer.status for answer in found] == ["ok", "error", "ok", "ok", "ok", "ok"]
    assert found[0].offset < found[4].offset
    assert answers.records[0].source == sources[5], "the one whose lane nobody held up"
    assert (letter.header("mlserver-dead-letter-attempts"), letter.value) == (b"4", records[1].value)
    assert letter.header("mlserver-dead-letter-error") == b"unavailable"


@pytest.mark.parametrize("how", ["die", "hang"])
def test_a_deadly_record_is_found_among_its_neighbours(how: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    records = [
        Sent(request(BEAST if n == 23 else float(n), parameters={"how": how}), model("flaky")) for n in range(50)
    ]
    sources = send(topics, records)
    folder = make_folder(tmp_path / "served", topics, FLAKY, kafka_retry_backoff_seconds=0.02)
    with (
        Server(folder) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        found = answers.of(sources)
        letters.of([sources[23]])
        all_committed(topics)
        server.stop()
    assert [n for n, answer in enumerate(found) if answer.status == "error"] == [23]
    (letter,) = letters.records
    assert letter.header("mlserver-dead-letter-error") == b"poison_crash"
    assert letter.header("mlserver-dead-letter-attempts") == b"3"
    companies = re.findall(r"asked for \[([^]]*)\]", "\n".join(server.lines))
    assert [company for company in companies if "666" in company.split(", ")][1:] == ["666", "666"]


def test_deadlines(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    now = int(time.time() * 1000)

    def until(when: bytes, number: float = 1.0, how: str = "", times: int = 0) -> Sent:
        sent = flaky(number, how, times)
        headers: Headers = [*sent.headers, ("mlserver-deadline", when)]
        return sent._replace(headers=headers)

    records = [
        until(b"%d" % (now - 1), 77.0), until(b"%d" % (now + 60_000), 78.0), until(b"soon", 79.0),
        until(b"%d" % (now + 9_000), 80.0, "not ready", 1_000_000),
    ]  # fmt: skip
    with (
        Server(make_folder(tmp_path / "served", topics, FLAKY)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(topics, records)
        found = answers.of(sources)
        letters.of(sources[2:3])
        all_committed(topics)
        server.stop()
    assert [answer.status for answer in found] == ["error", "ok", "error", "error"]
    assert found[0].error == "the deadline in header mlserver-deadline has passed"
    assert found[3].error == "the deadline of the record has passed"
    assert "expected a time in Unix milliseconds" in found[2].error
    assert len(letters.records) == 1
    assert "77" not in "".join(re.findall(r"asked for (\[.*\])", "\n".join(server.lines)))


@pytest.mark.parametrize("policy", ["wait", "skip"])
def test_a_model_that_is_not_here(policy: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(tmp_path / "served", topics, FLAKY, kafka_unknown_model=policy)
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        sources = send(
            topics, [Sent(request(1.0), model("nobody"), b"k"), Sent(request(1.0), model("flaky"), b"other")]
        )
        answers.of(sources[1:])
        if policy == "skip":
            all_committed(topics)
            server.stop()
    if policy == "wait":
        models = {**FLAKY, "nobody": FLAKY["flaky"]}
        with Server(make_folder(folder, topics, models)) as server, Watch(kafka_bootstrap, topics.output) as all_:
            all_.of_some(sources)
            all_committed(topics)
            server.stop()
    else:
        assert [answer.source for answer in answers.records] == sources[1:]
