"""Sending to a server's topics, and looking at what comes out of them."""

import functools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from mlserver.testing.kafka import create_topics
from tests.kafka_fixtures import Topics

__all__ = ["Topics"]

T = TypeVar("T")
Tell = Callable[[str], None]
Headers = list[tuple[str, bytes | None]]

PATIENCE_SECONDS = 60.0
_STEP_SECONDS = 0.02


@contextmanager
def meanwhile(look: Callable[[], None], every_seconds: float) -> Iterator[None]:
    """Within: `look`, again and again, in a thread of its own."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(every_seconds):
            look()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def eventually(found: Callable[[], T | None], failure: str, patience: float = PATIENCE_SECONDS) -> T:
    """What `found` gives, as soon as that is something."""
    deadline = time.monotonic() + patience
    while not (value := found()):
        assert time.monotonic() < deadline, failure
        time.sleep(_STEP_SECONDS)
    return value


def fresh(bootstrap: str, partitions: int = 1, *, create: bool = True) -> Topics:
    """Topics and a group that nobody else has."""
    name = f"kafka-{uuid.uuid4().hex[:12]}"
    topics = Topics(bootstrap, f"{name}-input", f"{name}-output", f"{name}-dead-letter", f"{name}-group")
    if create:
        create_topics(bootstrap, topics.input, topics.output, partitions=partitions)
    return topics


def request(*rows: float, **fields: Any) -> bytes:
    """The value of a record: one request with a row for each number."""
    tensor = {"name": "x", "shape": [len(rows), 1], "datatype": "FP64", "data": list(rows)}
    return json.dumps({"inputs": [tensor], **fields}).encode()


def model(name: str, version: str | None = None) -> Headers:
    """The headers that name a model."""
    headers: Headers = [("mlserver-model", name.encode())]
    return headers if version is None else [*headers, ("mlserver-version", version.encode())]


class Sent(NamedTuple):
    """A record to send."""

    value: bytes | None
    headers: Headers
    key: bytes | None = None
    partition: int = -1


@functools.cache
def producer_of(bootstrap: str) -> Producer:
    """One for all tests: a new one takes half a second to begin."""
    config = {"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 0, "reconnect.backoff.max.ms": 200}
    return Producer({**config, "message.max.bytes": 8 << 20, "message.timeout.ms": int(PATIENCE_SECONDS * 1000)})


def send(topics: Topics, records: Iterable[Sent]) -> list[str]:
    """Produce the records; their sources, topic/partition/offset, in the order given."""
    producer = producer_of(topics.bootstrap)
    reports: list[tuple[int, Message]] = []
    for index, record in enumerate(records):

        def delivered(error: Any, message: Message, index: int = index) -> None:
            assert error is None, error
            reports.append((index, message))

        to: dict[str, Any] = {"key": record.key, "headers": record.headers, "partition": record.partition}
        while True:
            try:
                producer.produce(topics.input, record.value, **to, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(PATIENCE_SECONDS) == 0
    reports.sort(key=lambda report: report[0])
    return [f"{topics.input}/{message.partition()}/{message.offset()}" for _, message in reports]


class Got(NamedTuple):
    """A record that was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    topic: str = ""

    def header(self, name: str) -> bytes | None:
        """The only header of this name; None where there is none."""
        found = [value for header, value in self.headers if header == name]
        assert len(found) <= 1, self.headers
        return found[0] if found else None

    @property
    def source(self) -> str:
        """Where the record came from that this one is the end of."""
        found = self.header("mlserver-source") or self.header("mlserver-dead-letter-source")
        assert found is not None, self.headers
        return found.decode()

    @property
    def status(self) -> str:
        """`ok` or `error`."""
        return (self.header("mlserver-status") or b"").decode()

    @property
    def body(self) -> Any:
        """The value as JSON."""
        return json.loads(self.value or b"")

    @property
    def error(self) -> str:
        """The message of an error answer."""
        assert self.status == "error", self
        return str(self.body["error"])


class Watch:
    """Reads topics from their beginning, all partitions, in no group."""

    def __init__(self, bootstrap: str, *topics: str) -> None:
        self.records: list[Got] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap, "group.id": "watch", "enable.auto.commit": False, "log_level": 0,
                "fetch.wait.max.ms": 20, "reconnect.backoff.max.ms": 200, "queued.max.messages.kbytes": 65_536,
            }
        )  # fmt: skip
        self._names = topics
        self._assigned = False

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, timeout: float = _STEP_SECONDS) -> list[Got]:
        """What is new; it is kept in `records` too."""
        if not self._assigned:
            self._assign()
        first = self._consumer.poll(timeout)
        messages = [] if first is None else [first, *self._consumer.consume(10_000, 0)]
        new = [_got(message) for message in messages if message.error() is None]
        self.records += new
        return new

    def until(self, done: Callable[[list[Got]], bool], patience: float = PATIENCE_SECONDS) -> list[Got]:
        """All records so far, as soon as `done` says of them that it is enough."""
        deadline = time.monotonic() + patience
        while not done(self.records):
            assert time.monotonic() < deadline, f"only {len(self.records)} records in {self._names}"
            self.poll()
        return self.records

    def of(self, sources: Sequence[str]) -> list[Got]:
        """The one record that is the end of each of `sources`, as soon as all are there."""
        self.of_some(sources)
        found: dict[str, list[Got]] = {}
        for record in self.records:
            found.setdefault(record.source, []).append(record)
        for source in sources:
            assert len(found[source]) == 1, found[source]
        return [found[source][0] for source in sources]

    def of_some(self, sources: Sequence[str]) -> None:
        """Wait until each of `sources` has its end, some perhaps more than one."""
        wanted = set(sources)
        seen = {record.source for record in self.records}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted <= seen:
            assert time.monotonic() < deadline, f"{len(wanted - seen)} of {len(wanted)} have no end"
            seen |= {record.source for record in self.poll()}

    def _assign(self) -> None:
        known = self._consumer.list_topics(timeout=PATIENCE_SECONDS).topics
        if all(name in known and known[name].partitions for name in self._names):
            self._consumer.assign(
                [TopicPartition(name, number, 0) for name in self._names for number in known[name].partitions]
            )
            self._assigned = True


def _got(message: Message) -> Got:
    headers: Any = message.headers() or []
    key: Any = message.key()
    value: Any = message.value()
    return Got(message.partition() or 0, message.offset() or 0, key, value, headers, message.topic() or "")


def lag(topics: Topics) -> int:
    """How many records of the input topic the group has not committed."""
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topics.group, "log_level": 0})
    try:
        numbers = consumer.list_topics(topics.input, timeout=PATIENCE_SECONDS).topics[topics.input].partitions
        partitions = [TopicPartition(topics.input, number) for number in numbers]
        behind = 0
        for found in eventually(lambda: _committed(consumer, partitions), "the broker does not know the group"):
            low, high = consumer.get_watermark_offsets(found, timeout=PATIENCE_SECONDS)
            behind += high - max(low, found.offset)
        return behind
    finally:
        consumer.close()


def _committed(consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """What the group has committed; nothing from a broker just started, which knows no group's coordinator yet."""
    try:
        return consumer.committed(partitions, timeout=PATIENCE_SECONDS)
    except KafkaException:
        return []


def all_committed(topics: Topics) -> None:
    """Wait until every partition is committed to its end."""
    eventually(lambda: lag(topics) == 0, "the group has not committed to the end")
