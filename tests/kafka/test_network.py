"""The network between server and broker, by a relay that stands there: silence, resets, lost answers, late requests.

The broker is the real one. What is due: at least once, nothing lost and no repeat without a crash; exactly once,
nothing lost, repeated or out of order; no offset goes back; memory stays what it was.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from mlserver.testing.kafka import Broker
from mlserver.testing.kafka_process import free_port
from mlserver.testing.kafka_relayed import Relayed
from tests.kafka.client import Sent, Topics, Watch, all_committed, eventually, fresh, meanwhile, model, request, send
from tests.kafka.relay import END_TXN, OFFSET_COMMIT, PRODUCE, TXN_OFFSET_COMMIT, Relay
from tests.kafka.serving import Server, make_folder, slow
from tests.kafka.test_exactly_once import ONCE, PARTITIONS, in_order, numbered

DELIVERIES = ("at_least_once", "exactly_once")
# A call of ten milliseconds, for a poll's worth of records: some thousand a second, and always some under way.
MODEL = slow(0.01)
MIB = 1 << 20


@pytest.fixture(scope="module")
def relayed(kafka_tools: None) -> Iterator[tuple[Broker, int]]:
    """A broker that sends its clients to a port, and that port."""
    port = free_port()
    with Broker(beside=Relayed(port)) as broker:
        yield broker, port


@pytest.fixture
def relay(relayed: tuple[Broker, int]) -> Iterator[Relay]:
    """Between the broker and whoever comes to it through here."""
    broker, port = relayed
    with Relay(port, broker.port_beside) as relay:
        yield relay


@pytest.fixture
def topics(relayed: tuple[Broker, int]) -> Topics:
    """Of a test, which itself goes to the broker directly."""
    return fresh(relayed[0].bootstrap, PARTITIONS)


def folder_of(tmp_path: Path, topics: Topics, relay: Relay, **settings: Any) -> Path:
    """A server that is sent through the relay."""
    return make_folder(tmp_path / "served", topics, MODEL, kafka_servers=relay.bootstrap, **settings)


@contextmanager
def never_going_back(topics: Topics) -> Iterator[None]:
    """No committed offset of the group does, meanwhile."""
    seen: list[dict[int, int]] = []
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topics.group, "log_level": 0})
    partitions = [TopicPartition(topics.input, number) for number in range(PARTITIONS)]

    def look() -> None:
        with suppress(KafkaException):  # a broker that has just started coordinates no group yet
            seen.append({found.partition: found.offset for found in consumer.committed(partitions, 10)})

    try:
        with meanwhile(look, 0.02):
            yield
    finally:
        consumer.close()
    assert len(seen) > 1
    for before, after in itertools.pairwise(seen):
        assert all(after[number] >= before[number] for number in before), (before, after)


def each_once(answers: Watch, sources: list[str], delivery: str) -> None:
    """All records have their one answer; the broker has been asked for more."""
    answers.of(sources)
    answers.poll(0.2)
    assert len(answers.records) == len(sources)
    if delivery == "exactly_once":
        in_order(answers.records)


def rss(server: Server) -> int:
    """Bytes of the door's memory; a door that waits in vain for too long is replaced, and has none for a moment."""
    try:
        return int(server.door().memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


@pytest.mark.parametrize("seconds", [12, pytest.param(60, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_silence(delivery: str, seconds: float, topics: Topics, relay: Relay, tmp_path: Path) -> None:
    """For longer than the session of the only member, with more to do than may be in flight."""
    folder = folder_of(
        tmp_path, topics, relay, kafka_delivery=delivery, kafka_max_in_flight_records=2_000,
        kafka_consumer_config={"session.timeout.ms": 6000},
    )  # fmt: skip
    value = request(*[1.0] * 2_000)
    records = [Sent(value, model("slow"), b"%d" % n, n % PARTITIONS) for n in range(3_000)]
    with Watch(topics.bootstrap, topics.output) as answers, never_going_back(topics), Server(folder) as server:
        sources = send(topics, records)
        answers.until(lambda found: len(found) > 500)
        before = peak = rss(server)
        with relay.blackhole():
            sources += send(topics, records)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                peak = max(peak, rss(server))
                answers.poll(0.1)
        answers.of_some(sources)
        all_committed(topics)
        peak = max(peak, rss(server))
        server.stop()
        answers.poll(0.2)
    # What was written when the silence began was acknowledged to nobody, and the group has gone on without us since.
    assert len(answers.records) - len(sources) <= (0 if delivery == "exactly_once" else 2_000)
    assert peak - before < 128 * MIB
    if delivery == "exactly_once":
        in_order(answers.records)


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_reset_every_hundred_requests(delivery: str, topics: Topics, relay: Relay, tmp_path: Path) -> None:
    relay.reset_every = 100
    folder = folder_of(tmp_path, topics, relay, kafka_delivery=delivery, kafka_max_in_flight_records=500)
    with Watch(topics.bootstrap, topics.output) as answers, never_going_back(topics), Server(folder) as server:
        sources: list[str] = []
        while relay.resets < 6:
            sources += send(topics, numbered(500, "slow", len(sources)))
            answers.of_some(sources)
        relay.reset_every = 0
        all_committed(topics)
        server.stop()
        each_once(answers, sources, delivery)


@pytest.mark.parametrize(
    ("delivery", "api"),
    [
        ("at_least_once", PRODUCE), ("at_least_once", OFFSET_COMMIT),
        ("exactly_once", PRODUCE), ("exactly_once", TXN_OFFSET_COMMIT), ("exactly_once", END_TXN),
    ],
)  # fmt: skip
def test_answers_that_are_lost(delivery: str, api: int, topics: Topics, relay: Relay, tmp_path: Path) -> None:
    """The broker has done what was asked, and is asked again."""
    folder = folder_of(tmp_path, topics, relay, kafka_delivery=delivery, kafka_max_in_flight_records=500)
    with Watch(topics.bootstrap, topics.output) as answers, never_going_back(topics), Server(folder) as server:
        sources: list[str] = []
        for _ in range(4):
            relay.lose(api)
            sources += send(topics, numbered(500, "slow", len(sources)))
            eventually(lambda: relay.lost(api), "nothing was lost")
        answers.of_some(sources)
        all_committed(topics)
        server.stop()
        each_once(answers, sources, delivery)


def test_the_end_of_a_transaction_that_comes_after_the_next_has_begun(
    topics: Topics, relay: Relay, tmp_path: Path
) -> None:
    """It would commit half of that one, were it not another producer's by then.

    librdkafka sends a request again after `socket.timeout.ms`: it must not come to that.
    """
    config = {"socket.timeout.ms": 2000}
    folder = folder_of(tmp_path, topics, relay, **ONCE, kafka_config=config)
    with Watch(topics.bootstrap, topics.output) as answers, never_going_back(topics), Server(folder) as server:
        sources = send(topics, numbered(500, "slow"))
        answers.of_some(sources)
        late = relay.hold(END_TXN)
        sources += send(topics, numbered(500, "slow", len(sources)))
        assert late.reached.wait(30)
        server.wait_for("transaction given up: ")
        answers.of_some(sources)
        next_one = relay.hold(END_TXN)
        sources += send(topics, numbered(500, "slow", len(sources)))
        assert next_one.reached.wait(30)
        late.release()
        assert late.answered.wait(30)
        answers.poll(0.2)
        open_ = len(sources) - len(answers.records)
        next_one.release()
        all_committed(topics)
        server.stop()
        each_once(answers, sources, "exactly_once")
    assert late.error in (47, 90), "INVALID_PRODUCER_EPOCH or PRODUCER_FENCED"
    assert open_ > 0, "the next one was committed by the end of another"
