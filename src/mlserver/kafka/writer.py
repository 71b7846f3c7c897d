"""Producing: every record read gets exactly one terminal record, and every delivery report is looked at.

`result` and `failure` belong to the thread that speaks to the scheduler; `serve` to the one that polls. Reports may
arrive in either: all they do is append to queues.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from mlserver.errors import MLServerError
from mlserver.kafka.records import (
    Headers,
    Record,
    answer_headers,
    dead_letter_headers,
    error_answer,
    too_large,
    truncated,
)
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

_ANY_PARTITION = -1
_RESULT, _ERROR, _DEAD = "result", "error answer", "dead letter"
# Between tries at a topic that refuses or is missing: often enough to go on soon, seldom enough not to be load.
_RETRY_SECONDS = 1.0
_REFRESH_SECONDS = 60.0
_METADATA_TIMEOUT_SECONDS = 5.0


class _Letter:
    """One record on its way to the broker, with what it takes to send it again.

    `part` says which of the terminal records it is. A result stands alone; an error answer and its dead letter are
    two, and the source is done when both have arrived.
    """

    __slots__ = ("headers", "part", "partition", "record", "topic", "value", "writer")

    def __init__(
        self, writer: "Writer", part: str, record: Record, topic: str, value: bytes | None, headers: Headers
    ) -> None:
        self.writer = writer
        self.part = part
        self.record = record
        self.topic = topic
        self.value = value
        self.headers = headers
        self.partition = _ANY_PARTITION

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        """librdkafka's delivery report; comes in whichever thread polls."""
        if error is None:
            self.writer.acknowledged.append(self)
        else:
            self.writer.refused.append((self, error))


class Writer:
    """Answers, error answers and dead letters, on one idempotent producer."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._settings = settings
        self._output_topic = settings.kafka_topic_output
        self._error_topic = settings.kafka_topic_error or settings.kafka_topic_output
        self.fatal: str | None = None
        """Why this producer can never be used again, where that is so."""
        self.acknowledged: deque[_Letter] = deque()
        self.refused: deque[tuple[_Letter, KafkaError]] = deque()
        self._outstanding: dict[Record, int] = {}
        self._again: deque[tuple[float, _Letter]] = deque()
        self._partitions: dict[str, int] = {}
        self._refreshed = -_REFRESH_SECONDS
        self.client = Producer(config | {"error_cb": self._on_error}, logger=logger)

    def result(self, record: Record) -> None:
        """Produce the body of `record`."""
        letter = _Letter(self, _RESULT, record, self._output_topic, record.body, answer_headers(record))
        self._to_source_partition(letter)
        self._produce(letter)

    def failure(self, record: Record, error: MLServerError) -> None:
        """Produce the error answer to `record` and its dead letter, which keeps key, value and headers as they were."""
        logger.warning("record %s: %s", record.source, error)
        reply = _Letter(self, _ERROR, record, self._error_topic, *error_answer(record, error))
        self._to_source_partition(reply)
        headers = dead_letter_headers(record, error, self._settings.server_name)
        self._outstanding[record] = 2
        self._produce(reply)
        self._produce(_Letter(self, _DEAD, record, self._settings.kafka_topic_dead_letter, record.value, headers))

    def finished(self) -> Iterator[Record]:
        """The records whose terminal records have all arrived since the last call."""
        acknowledged, outstanding = self.acknowledged, self._outstanding
        while acknowledged:
            letter = acknowledged.popleft()
            record = letter.record
            if letter.part is not _RESULT:
                outstanding[record] -= 1
                if outstanding[record]:
                    continue
                del outstanding[record]
            yield record

    def _to_source_partition(self, letter: _Letter) -> None:
        """Keep the source's partition where both topics have as many, so that their order is the same too."""
        count = self._partitions.get(letter.topic)
        if count and count == self._partitions.get(letter.record.topic):
            letter.partition = letter.record.partition

    def _produce(self, letter: _Letter) -> None:
        key = letter.record.key
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
        record = letter.record
        if code == KafkaError.MSG_SIZE_TOO_LARGE and letter.part is _RESULT:
            self.failure(record, too_large(len(letter.value or b"")))
            return
        if code == KafkaError.MSG_SIZE_TOO_LARGE and letter.part is _DEAD and letter.value is not None:
            letter.headers = letter.headers + truncated(letter.value)
            letter.value = None
            self._produce(letter)
            return
        if code == KafkaError._UNKNOWN_PARTITION:
            letter.partition = _ANY_PARTITION
            self._refreshed = -_REFRESH_SECONDS
        else:
            # Nothing is dropped, and no offset is committed past it: the topic may come back.
            logger.error(
                "topic %s does not take the %s of record %s: %s", letter.topic, letter.part, record.source, error
            )
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
