"""Exactly once, for whoever reads committed records only: answers, poison, what topics refuse, kills, zombies."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlserver.testing.kafka import create_topics
from tests.kafka.client import Got, Sent, Watch, all_committed, eventually, fresh, lag, model, request, send
from tests.kafka.serving import SUM, Server, make_folder, slow
from tests.kafka.test_poison import limited

ONCE: dict[str, Any] = {"kafka_delivery": "exactly_once"}
KEYS = 50
PARTITIONS = 4


def numbered(count: int, name: str = "sum", first: int = 0) -> list[Sent]:
    """Records for all partitions, each with one of 50 keys."""
    return [
        Sent(request(float(n), id=str(n)), model(name), b"%d" % (n % KEYS), n % KEYS % PARTITIONS)
        for n in range(first, first + count)
    ]


def in_order(found: Sequence[Got]) -> None:
    """Each answer once, and those of a partition in its order, wherever they went."""
    assert len({answer.source for answer in found}) == len(found), "some came twice"
    last: dict[tuple[str, int], int] = {}
    for answer in sorted(found, key=lambda each: each.offset):
        source, _, offset = answer.source.rpartition("/")
        assert last.get((source, answer.partition), -1) < int(offset), "out of order"
        last[source, answer.partition] = int(offset)


def test_answers_and_dead_letters(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    records = [*numbered(300), Sent(b"?", model("sum"), b"bad", 1), *numbered(300, first=300)]
    with (
        Server(make_folder(tmp_path / "served", topics, SUM, **ONCE)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(topics, records)
        found = answers.of(sources)
        letters.of(sources[300:301])
        all_committed(topics)
        (one,) = send(topics, numbered(1, first=900))
        answers.of([one])
        server.stop()
        assert "given up" not in server.log
    assert [answer.status for answer in found].count("error") == 1
    in_order(answers.records)


def test_what_a_topic_refuses_takes_nobody_along(kafka_bootstrap: str, tmp_path: Path) -> None:
    """One answer over the limit of its topic fails its batch, and with it a transaction."""
    topics = fresh(kafka_bootstrap, create=False)
    for name, limit in ((topics.input, 1 << 20), (topics.output, 4_000), (topics.dead_letter, 4_000)):
        limited(topics, name, limit)
    large = Sent(request(*[1.0] * 2_000), model("sum"), b"large")
    missing = Sent(request(1.0), [*model("sum"), ("reply-to", f"{topics.output}-x".encode())])
    good = [Sent(request(float(n)), model("sum")) for n in range(100)]
    folder = make_folder(
        tmp_path / "served", topics, SUM, **ONCE, kafka_reply_topics=["*"],
        kafka_producer_config={"topic.metadata.propagation.max.ms": 300},
    )  # fmt: skip
    with (
        Server(folder) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(topics, [*good[:50], large, missing, *good[50:]])
        found = answers.of(sources)
        stub, gone = letters.of(sources[50:52])
        all_committed(topics)
        server.stop()
    assert [n for n, answer in enumerate(found) if answer.status == "error"] == [50, 51]
    assert "over the limit" in found[50].error
    assert "could not be written to reply-to topic" in found[51].error
    assert stub.header("mlserver-dead-letter-truncated") == b"true"
    assert gone.value == missing.value
    in_order(answers.records)


def test_a_missing_output_topic_holds_everything(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, create=False)
    create_topics(kafka_bootstrap, topics.input, partitions=PARTITIONS)
    sources = send(topics, numbered(50))
    config = {"topic.metadata.propagation.max.ms": 300}
    folder = make_folder(tmp_path / "served", topics, SUM, **ONCE, kafka_producer_config=config)
    with Server(folder) as server:
        server.wait_for(f"topic {topics.output} does not take the result of")
        assert lag(topics) == 50
        create_topics(kafka_bootstrap, topics.output, partitions=PARTITIONS)
        with Watch(kafka_bootstrap, topics.output) as answers:
            answers.of(sources)
            all_committed(topics)
        server.stop()
    in_order(answers.records)


def test_a_zombie_is_fenced(kafka_bootstrap: str, tmp_path: Path) -> None:
    """A member that is stopped for longer than its session, and wakes up in the middle of a transaction."""
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(
        tmp_path / "served", topics, slow(0.02), **ONCE, kafka_max_in_flight_records=1_000,
        kafka_consumer_config={"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    )  # fmt: skip
    sources = send(topics, numbered(6_000, "slow"))
    with Watch(kafka_bootstrap, topics.output) as answers, Server(folder) as first:
        answers.until(lambda found: len(found) > 500)
        door = first.door()
        door.suspend()
        with Server(folder) as second:
            second.wait_for("assigned kafka-")
            answers.until(lambda found: len(found) > 3_000)
            door.resume()
            answers.of(sources)
            all_committed(topics)
            second.stop()
        first.wait_for("lost ")
        first.end(signal.SIGTERM)
        assert first.gone(30) == 0
        answers.poll(0.3)
    assert len(answers.records) == len(sources)
    in_order(answers.records)


def test_two_members_come_and_go(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(tmp_path / "served", topics, slow(0.01), **ONCE)
    sources = send(topics, numbered(6_000, "slow"))
    with Watch(kafka_bootstrap, topics.output) as answers, Server(folder) as first:
        for goal in (1_000, 3_000):
            answers.until(lambda found, goal=goal: len(found) > goal)  # type: ignore[misc]
            with Server(folder) as second:
                eventually(lambda second=second: "assigned kafka-" in second.log, "no assignment")  # type: ignore[misc]
                second.stop()
        answers.of(sources)
        all_committed(topics)
        first.stop()
        answers.poll(0.3)
    assert len(answers.records) == len(sources)
    in_order(answers.records)
