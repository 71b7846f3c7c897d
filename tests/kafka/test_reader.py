"""The reader against a client that does what a group does at its worst moments."""

import queue
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mlserver.kafka import reader as reader_module
from mlserver.kafka.figures import Figures
from mlserver.kafka.reader import Reader
from mlserver.kafka.records import Record
from mlserver.kafka.writer import Writer
from mlserver.settings import Settings

TOPIC = "in"


class FakeMessage:
    """As much of a message as the reader looks at. Its length is that of its value, so that a tombstone is falsy."""

    def __init__(self, offset: int, value: bytes | None = b"v", partition: int = 0) -> None:
        self._found = (TOPIC, partition, offset, value)

    def __len__(self) -> int:
        return len(self._found[3] or b"")

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self._found[0]

    def partition(self) -> int:
        return self._found[1]

    def offset(self) -> int:
        return self._found[2]

    def value(self) -> bytes | None:
        return self._found[3]

    def key(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (0, 0)


class FakeConsumer:
    """Polls run a script: each step is what happens inside one poll, and what that returns."""

    def __init__(self, config: dict[str, Any], logger: object = None) -> None:
        self.on_commit: Callable[..., None] = config["on_commit"]
        self.script: list[Callable[[], FakeMessage | None]] = []
        self.more: list[FakeMessage] = []
        self.commits: list[list[tuple[int, int]]] = []
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.refusal: KafkaError | None = None
        self.paused: set[int] = set()
        self.stored: dict[int, int] = {}
        self.seeks: list[tuple[int, int]] = []

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks

    def happens(self, what: str, *partitions: int) -> None:
        self.callbacks[what](cast("Consumer", self), [TopicPartition(TOPIC, number) for number in partitions])

    def poll(self, timeout: float) -> FakeMessage | None:
        return self.script.pop(0)() if self.script else None

    def consume(self, count: int, timeout: float) -> list[FakeMessage]:
        more, self.more = self.more[:count], self.more[count:]
        return more

    def commit(self, offsets: list[TopicPartition], *, asynchronous: bool) -> None:
        if self.refusal is not None:
            raise KafkaException(self.refusal)
        self.commits.append([(found.partition, found.offset) for found in offsets])
        if asynchronous:
            self.on_commit(None, offsets)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, found.partition, self.stored.get(found.partition, -1001)) for found in partitions]

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0, *, cached: bool = False
    ) -> tuple[int, int]:
        return (0, 0)

    def seek(self, partition: TopicPartition) -> None:
        self.seeks.append((partition.partition, partition.offset))

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {found.partition for found in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {found.partition for found in partitions}

    def close(self) -> None: ...


class FakeTopics:
    def look(self, *, reading: bool) -> None: ...

    def answers(self) -> bool:
        return True

    def count(self) -> None: ...


class FakeWriter:
    """Acknowledges what a test says."""

    def __init__(self) -> None:
        self.topics = FakeTopics()
        self.acknowledged: list[Record] = []
        self.idle = True
        self.figures = Figures("group")
        self.fence = threading.Lock()
        self.fatal: str | None = None
        self.rewinding = threading.Event()

    def attach(self, consumer: Consumer, in_flight: Callable[[], int]) -> None: ...

    def rewound(self) -> None:
        self.rewinding.clear()

    def serve(self, timeout_seconds: float = 0) -> None: ...

    def finished(self) -> list[Record]:
        done, self.acknowledged = self.acknowledged, []
        return done


class House:
    """A reader that has partitions 0 and 1, between a fake client and a fake writer."""

    def __init__(self, **settings: Any) -> None:
        self.writer = FakeWriter()
        given = Settings(kafka_topic_input=TOPIC, **settings)
        self.reader = Reader(given, {}, cast("Writer", self.writer), queue.Queue(maxsize=2), lambda: None)
        self.consumer = cast("FakeConsumer", self.reader._consumer)
        self.reader.topics = [TOPIC]
        self.reader.turn()
        self.consumer.happens("on_assign", 0, 1)

    def read(self, *messages: FakeMessage) -> None:
        """One turn in which these come."""
        self.consumer.script.append(lambda: messages[0])
        self.consumer.more = list(messages[1:])
        self.reader.turn()

    def taken(self) -> list[Record]:
        """What the other thread would take now."""
        records: list[Record] = []
        while True:
            try:
                records += self.reader.batches.get_nowait()
            except queue.Empty:
                return records

    def block(self) -> None:
        """Fill the queue, and let the reader hold a batch, paused."""
        for offset in range(3):
            self.read(FakeMessage(offset))
        self.reader._blocked_since = -1e9
        self.reader.turn()
        assert self.reader._paused

    @property
    def committed(self) -> list[tuple[int, int]]:
        return [position for commit in self.consumer.commits for position in commit]


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "Consumer", FakeConsumer)


def test_what_is_acknowledged_is_committed() -> None:
    house = House()
    house.read(FakeMessage(5), FakeMessage(6), FakeMessage(9, partition=1))
    records = house.taken()
    assert [record.source for record in records] == ["in/0/5", "in/0/6", "in/1/9"]
    house.writer.acknowledged = records[1:]
    house.reader.turn()
    assert house.committed == [(1, 10)]


def test_a_tombstone_that_comes_while_paused_is_read() -> None:
    house = House()
    house.block()
    house.consumer.script.append(lambda: FakeMessage(3, None))
    house.reader.turn()
    house.taken()
    house.reader.turn()
    assert [record.offset for record in house.taken()][-1] == 3


def test_a_revocation_inside_a_poll_while_a_batch_is_held_repeats_nothing() -> None:
    house = House()
    house.block()
    seen: list[Record] = []

    def revoked() -> FakeMessage:
        seen.extend(house.taken())
        house.writer.acknowledged = list(seen)  # offsets 0 and 1; 2 is held, and handed over while this goes on
        house.reader._hand_over(0.01)
        house.reader._lanes["in", 0].done(2)
        house.consumer.happens("on_revoke", 0)
        return FakeMessage(7, partition=1)

    house.consumer.script.append(revoked)
    house.reader.turn()
    house.reader.turn()
    seen += house.taken()
    assert [record.source for record in seen] == ["in/0/0", "in/0/1", "in/0/2", "in/1/7"]


def test_what_a_call_brings_of_a_partition_that_it_revoked_is_left_to_others() -> None:
    house = House()

    def revoked() -> FakeMessage:
        house.consumer.happens("on_revoke", 0)
        return FakeMessage(4)

    house.consumer.script.append(revoked)
    house.consumer.more = [FakeMessage(8, partition=1)]
    house.reader.turn()
    assert [record.source for record in house.taken()] == ["in/1/8"]


def test_a_revoked_partition_is_committed_as_far_as_it_is_done() -> None:
    house = House()
    house.read(FakeMessage(5), FakeMessage(6))
    house.writer.acknowledged = house.taken()
    house.consumer.happens("on_revoke", 0, 1)
    assert house.committed == [(0, 7)]


def test_nothing_is_committed_for_a_former_assignment() -> None:
    house = House()
    house.read(FakeMessage(5), FakeMessage(6))
    records = house.taken()
    house.consumer.happens("on_lost", 0, 1)
    assert all(record.lane.revoked for record in records)
    house.consumer.happens("on_assign", 0)
    house.writer.acknowledged = records
    house.reader.turn()
    assert house.committed == []


def test_going_back_is_no_end() -> None:
    """A topic made anew, a log that was cut: the offsets start again, and so does the lane."""
    house = House()
    house.read(FakeMessage(50), FakeMessage(51))
    old = house.taken()
    house.read(FakeMessage(0), FakeMessage(1))
    new = house.taken()
    house.writer.acknowledged = [*old, new[0]]
    house.reader.turn()
    assert house.committed == [(0, 1)]
    assert not old[0].lane.revoked, "what was read is answered"


def test_a_commit_that_fails_is_made_anew() -> None:
    house = House()
    house.read(FakeMessage(5))
    house.writer.acknowledged = house.taken()
    house.consumer.refusal = KafkaError(KafkaError._WAIT_COORD)
    house.reader.turn()
    house.consumer.refusal = None
    house.reader._commits._sent_at = 0.0
    house.reader.turn()
    assert house.committed == [(0, 6)]


def test_room_ends_at_the_bounds_and_comes_back_with_half() -> None:
    house = House(kafka_max_in_flight_records=100)
    house.read(*[FakeMessage(offset) for offset in range(200)])
    records = house.taken()
    assert len(records) == 100 - 32
    assert house.reader._room() == 0
    house.reader._paused = True
    house.writer.acknowledged = records[:10]
    house.reader.turn()
    assert house.reader._room() == 0
    house.writer.acknowledged = records[10:60]
    house.reader._commits._sent_at = 0.0
    house.reader.turn()
    assert house.reader._room() > 0


def test_a_client_that_cannot_go_on_says_so() -> None:
    house = House()
    house.reader._on_error(KafkaError(KafkaError._FATAL, "fenced", fatal=True))
    assert house.reader.fatal is not None


def test_a_rewind_goes_back_to_what_is_committed_or_was_read_first() -> None:
    house = House(kafka_delivery="exactly_once")
    house.read(FakeMessage(5), FakeMessage(6), FakeMessage(30, partition=1))
    old = house.taken()
    house.consumer.stored = {0: 6}
    house.writer.rewinding.set()
    house.read(FakeMessage(6), FakeMessage(30, partition=1))
    assert house.consumer.seeks == [(0, 6), (1, 30)]
    assert all(record.lane.revoked for record in old)
    new = house.taken()
    house.writer.acknowledged = [*old, *new]
    house.reader.turn()
    house.reader.turn()
    assert house.reader.in_flight == 0
    assert house.committed == [], "transactions commit, not the consumer"


def test_a_partition_that_stays_while_another_comes_is_not_left_paused() -> None:
    house = House()
    house.block()
    assert house.consumer.paused == {0, 1}
    house.consumer.happens("on_assign", 2)
    assert house.consumer.paused == set()
    house.reader.turn()
    assert house.consumer.paused == {0, 1, 2}, "there is no room yet"


@pytest.mark.parametrize("what", ["on_revoke", "on_lost"])
def test_a_partition_that_leaves_while_paused_does_not_come_back_paused(what: str) -> None:
    house = House()
    house.block()
    house.writer.acknowledged = house.taken()
    house.reader._lanes["in", 0].done(2)
    house.consumer.happens(what, 0)
    assert house.consumer.paused == {1}
