"""Reading the dead-letter topic and sending its letters back, for whoever operates a server.

A group of its own, the server's with `-dead-letters` behind it, remembers how far they have been dealt with: replayed
or dropped. The topic's retention, not we, deletes them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from mlserver.errors import ConfigurationError
from mlserver.kafka.answers import DEAD
from mlserver.kafka.client_log import client_logger
from mlserver.kafka.config import consumer_config, producer_config
from mlserver.kafka.messages import headers_of
from mlserver.kafka.records import Headers
from mlserver.settings import Settings

# A broker that answers, answers in milliseconds; one that is far, or busy, in seconds.
_SECONDS = 30.0


class DeadLetter(NamedTuple):
    """A record of the dead-letter topic; `headers` are the record's own, `said` is what the server said of it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    said: dict[str, str]

    @property
    def replayable(self) -> bool:
        """Whether key, value and headers are those of the record."""
        return "source" in self.said and not self.said.keys() & {"truncated", "dropped"}

    @property
    def source(self) -> tuple[str, int]:
        """Topic and partition that the record came from. Only where `replayable`."""
        topic, partition, _ = self.said["source"].rsplit("/", 2)
        return topic, int(partition)


class DeadLetters:
    """A context manager: the letters that have not been dealt with, and what to do with them.

    Raises ConfigurationError where the broker does not answer, or has no such topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.kafka_topic_dead_letter
        group = {"group.id": f"{settings.kafka_group_id}-dead-letters", "enable.partition.eof": True}
        self._consumer = Consumer(consumer_config(settings) | group, logger=client_logger)

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self, *, all_: bool = False) -> Iterator[DeadLetter]:
        """From where they have been dealt with, or from the beginning, to the end as it is now."""
        try:
            starts = [self._start(found, all_=all_) for found in self._positions()]
            self._consumer.assign(starts)
            left = len(starts)
            while left:
                message = self._consumer.poll(_SECONDS)
                if message is None:
                    raise ConfigurationError(f"topic {self._topic}: the broker does not answer")
                error = message.error()
                if error is None:
                    yield _letter(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise KafkaException(error)
        except KafkaException as error:
            raise ConfigurationError(f"topic {self._topic}: {error.args[0].str()}") from None

    def _positions(self) -> list[TopicPartition]:
        found = self._consumer.list_topics(self._topic, timeout=_SECONDS).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return self._consumer.committed([TopicPartition(self._topic, number) for number in found.partitions], _SECONDS)

    def _start(self, found: TopicPartition, *, all_: bool) -> TopicPartition:
        low, _ = self._consumer.get_watermark_offsets(found, timeout=_SECONDS)
        return TopicPartition(found.topic, found.partition, low if all_ else max(low, found.offset))

    def replay(self, letters: Iterable[DeadLetter]) -> None:
        """Send each to where it came from, as it came; then they have been dealt with. All must be replayable."""
        refused: list[KafkaError] = []
        producer = Producer(producer_config(self._settings) | {"message.timeout.ms": 30_000}, logger=client_logger)
        sent = list(letters)
        for letter in sent:
            topic, partition = letter.source
            producer.produce(
                topic, letter.value, letter.key, partition, headers=letter.headers,
                on_delivery=lambda error, _: refused.append(error) if error is not None else None,
            )  # fmt: skip
            producer.poll(0)
        producer.flush()
        if refused:
            raise ConfigurationError(f"not replayed, and still there: {refused[0].str()}")
        self.drop(sent)

    def drop(self, letters: Sequence[DeadLetter]) -> None:
        """These, and those before them, have been dealt with."""
        ends: dict[int, int] = {}
        for letter in letters:
            ends[letter.partition] = max(ends.get(letter.partition, 0), letter.offset + 1)
        if ends:
            offsets = [TopicPartition(self._topic, number, offset) for number, offset in ends.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)


def _letter(message: Message) -> DeadLetter:
    headers, said = parted(headers_of(message) or [])
    key: Any = message.key()
    value: Any = message.value()
    return DeadLetter(message.partition() or 0, message.offset() or 0, key, value, headers, said)


def parted(headers: Headers) -> tuple[Headers, dict[str, str]]:
    """A record's own headers, and what a server added behind them: from the last `-error` on, for a record that has
    been a dead letter before may have such headers of its own.
    """
    starts = [index for index, (name, _) in enumerate(headers) if name == f"{DEAD}error"]
    start = starts[-1] if starts else len(headers)
    said = {
        name.removeprefix(DEAD): value if isinstance(value, str) else (value or b"").decode(errors="replace")
        for name, value in headers[start:]
    }
    return headers[:start], said
