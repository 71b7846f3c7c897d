"""Producing: every record read gets exactly one terminal record, and every delivery report is looked at.

`result` and `failure` belong to the thread that speaks to the scheduler; `serve` to the one that polls. Reports may
arrive in either: all they do is append to queues.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from mlserver.errors import MLServerError
from mlserver.kafka.records import (
    Headers,
    Record,
    answer,
    dead_letter_headers,
    error_answer,
    too_large,
    truncated,
)
from mlserver.kafka.tracker import Lane
from mlserver.settings import Settings
from mlserver.types.tensors import TensorResponse

logger = logging.getLogger("mlserver.kafka")

_ANY_PARTITION = -1
# Between tries at a topic that refuses or is missing: often enough to go on soon, seldom enough not to be load.
_RETRY_SECONDS = 1.0
_REFRESH_SECONDS = 60.0
_METADATA_TIMEOUT_SECONDS = 5.0


class Terminal:
    """The records that end one record's story: an answer; or an error answer and a dead letter."""

    __slots__ = ("expected", "lane", "record")

    def __init__(self, lane: Lane, record: Record, expected: int) -> None:
        self.lane = lane
        self.record = record
        self.expected = expected


class _Letter:
    """One record on its way to the broker, with what it takes to send it again."""

    __slots__ = ("headers", "partition", "replace", "terminal", "topic", "value", "writer")

    def __init__(self, writer: "Writer", terminal: Terminal, topic: str, value: bytes | None, headers: Headers) -> None:
        self.writer = writer
        self.terminal = terminal
        self.topic = topic
        self.value = value
        self.headers = headers
        self.partition = _ANY_PARTITION
        self.replace: Callable[[], None] | None = None  # what to do instead, where the topic refuses the size

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        """librdkafka's delivery report."""
        if error is None:
            self.writer.acknowledged.append(self.terminal)
        else:
            self.writer.refused.append((self, error))


class Writer:
    """Answers, error answers and dead letters, on one idempotent producer."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._settings = settings
        self._error_topic = settings.kafka_topic_error or settings.kafka_topic_output
        self.fatal: str | None = None
        """Why this producer can never be used again, where that is so."""
        self.acknowledged: deque[Terminal] = deque()
        self.refused: deque[tuple[_Letter, KafkaError]] = deque()
        self._again: deque[tuple[float, _Letter]] = deque()
        self._partitions: dict[str, int] = {}
        self._refreshed = -_REFRESH_SECONDS
        self.client = Producer(config | {"error_cb": self._on_error}, logger=logger)

    def result(self, lane: Lane, record: Record, response: TensorResponse) -> None:
        """Produce the answer to `record`, or its error where the answer cannot be written."""
        try:
            value, headers = answer(record, response)
        except MLServerError as error:
            self.failure(lane, record, error, response.id)
            return
        letter = _Letter(self, Terminal(lane, record, 1), self._settings.kafka_topic_output, value, headers)
        letter.replace = lambda: self.failure(lane, record, too_large(len(value)), response.id)
        self._to_source_partition(letter, record)
        self._produce(letter)

    def failure(self, lane: Lane, record: Record, error: MLServerError, request_id: str | None) -> None:
        """Produce the error answer to `record` and its dead letter, which keeps key, value and headers as they were."""
        logger.warning("record %s: %s", record.source, error)
        terminal = Terminal(lane, record, 2)
        reply = _Letter(self, terminal, self._error_topic, *error_answer(record, error, request_id))
        self._to_source_partition(reply, record)
        headers = dead_letter_headers(record, error, self._settings.server_name)
        dead = _Letter(self, terminal, self._settings.kafka_topic_dead_letter, record.value, headers)

        def shortened() -> None:
            stub = _Letter(self, terminal, dead.topic, None, headers + truncated(record.value))
            self._produce(stub)

        dead.replace = shortened
        self._produce(reply)
        self._produce(dead)

    def _to_source_partition(self, letter: _Letter, record: Record) -> None:
        """Keep the source's partition where both topics have as many, so that their order is the same too."""
        count = self._partitions.get(letter.topic)
        if count and count == self._partitions.get(record.topic):
            letter.partition = record.partition

    def _produce(self, letter: _Letter) -> None:
        key = letter.terminal.record.key
        while True:
            try:
                self.client.produce(
                    letter.topic,
                    letter.value,
                    key,
                    letter.partition,
                    headers=letter.headers,
                    on_delivery=letter.delivered,
                )
                return
            except BufferError:
                self.client.poll(0.1)  # librdkafka's queue is full: reports make room
            except KafkaException as error:
                self.refused.append((letter, error.args[0]))
                return

    def serve(self, timeout_seconds: float = 0) -> None:
        """Let reports arrive, for at most so long, and deal with those that were refusals."""
        self.client.poll(timeout_seconds)
        while self.refused:
            self._refusal(*self.refused.popleft())
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self._produce(self._again.popleft()[1])

    def _refusal(self, letter: _Letter, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError.MSG_SIZE_TOO_LARGE and letter.replace is not None:
            letter.replace()
            return
        if code == KafkaError._UNKNOWN_PARTITION:
            letter.partition = _ANY_PARTITION
            self._refreshed = -_REFRESH_SECONDS
        else:
            # Nothing is dropped, and no offset is committed past it: the topic may come back.
            logger.error("topic %s does not take record %s: %s", letter.topic, letter.terminal.record.source, error)
        self._again.append((time.monotonic() + _RETRY_SECONDS, letter))

    def refresh_partitions(self, input_topic: str) -> None:
        """Look up how many partitions the topics have, once a minute; a broker that is away changes nothing."""
        if time.monotonic() - self._refreshed < _REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        topics = (input_topic, self._settings.kafka_topic_output, self._error_topic)
        before = dict(self._partitions)
        for topic in dict.fromkeys(topics):
            try:
                found = self.client.list_topics(topic, timeout=_METADATA_TIMEOUT_SECONDS).topics[topic]
            except KafkaException:
                return
            if found.error is None:
                self._partitions[topic] = len(found.partitions)
        counts = [self._partitions.get(topic) for topic in topics[:2]]
        if self._partitions != before and counts[0] != counts[1]:
            logger.warning(
                "topics %s and %s have %s and %s partitions: answers keep their key's order, not their partition's",
                *topics[:2], *counts,
            )  # fmt: skip

    def flush(self, timeout_seconds: float) -> None:
        """Wait for the reports of everything produced, for at most so long."""
        deadline = time.monotonic() + timeout_seconds
        while (len(self.client) or self.refused or self._again) and time.monotonic() < deadline:
            self.serve(0.05)
        self.serve()

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.fatal = str(error)
