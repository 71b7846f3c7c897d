"""Producing: every record read gets exactly one terminal record, and every delivery report is looked at.

`end` belongs to the thread that speaks to the scheduler; `finished` and `serve` to the one that polls.
Reports may arrive in either: all they do is append to queues. What the broker refused is sent again by `serve`.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from mlserver.errors import MLServerError
from mlserver.kafka.answers import answer_headers, dead_letter_headers, error_answer, too_large
from mlserver.kafka.client_log import client_logger
from mlserver.kafka.failures import DeadlinePassed, Skipped
from mlserver.kafka.letters import ANY_PARTITION, DEAD, ERROR, NOTHING, RESULT, Letter, Reports
from mlserver.kafka.records import Record
from mlserver.kafka.topics import Topics
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# Between tries at a topic that refuses or is missing: often enough to go on soon, seldom enough not to be load.
_RETRY_SECONDS = 1.0
# A topic that refuses does so for every letter: once a minute is enough to be told.
_SAY_SECONDS = 60.0
# Poison comes in floods; the whole message is in the dead letter.
_LOGGED_CHARACTERS = 300


class Writer:
    """Answers, error answers and dead letters, on one idempotent producer."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._config = config | {"error_cb": self._on_error}
        self._server = settings.server_name
        self._output_topic = settings.kafka_topic_output
        self._error_topic = settings.kafka_topic_error or settings.kafka_topic_output
        self._dead_topic = settings.kafka_topic_dead_letter
        self.fatal: str | None = None
        """Why this producer can never be used again, where that is so."""
        self._reports = Reports()
        self._outstanding: dict[Record, int] = {}
        self._ready: deque[Letter] = deque()
        self._again: deque[tuple[float, Letter]] = deque()
        self._said: dict[tuple[str, int], float] = {}
        self._client = Producer(self._config, logger=client_logger)
        self._lone_client: Producer | None = None
        self.topics = Topics(settings, self._client)

    def end(self, record: Record) -> None:
        """Produce what became of `record`: its body, or the error answer and a dead letter with all that was read."""
        if record.error is None:
            letter = Letter(self._reports, RESULT, record, self._output_topic, record.body, answer_headers(record))
            self._to_source_partition(letter)
            self._insist(letter)
        elif isinstance(record.error, Skipped):
            self._reports.acknowledged.append(Letter(self._reports, NOTHING, record, "", None, []))
        else:
            for letter in self._letters(record, record.error):
                self._insist(letter)

    def finished(self) -> Iterator[Record]:
        """The records whose terminal records have all arrived since the last call."""
        acknowledged, outstanding = self._reports.acknowledged, self._outstanding
        while acknowledged:
            letter = acknowledged.popleft()
            record = letter.record
            left = outstanding.get(record, 1) - 1
            if left:
                outstanding[record] = left
                continue
            outstanding.pop(record, None)
            yield record

    @property
    def idle(self) -> bool:
        """Whether every letter has its report, and that has been looked at."""
        lone = self._lone_client
        under_way = len(self._client) + (len(lone) if lone is not None else 0)
        return not (under_way or self._reports.refused or self._ready or self._again or self._reports.acknowledged)

    def serve(self, timeout_seconds: float = 0) -> None:
        """Let reports arrive, for at most so long, and send again what was refused."""
        self._client.poll(timeout_seconds)
        if self._lone_client is not None:
            self._lone_client.poll(0)
        while self._reports.refused:
            self._refusal(*self._reports.refused.popleft())
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self._ready.append(self._again.popleft()[1])
        while self._ready and self._offer(self._ready[0]):
            self._ready.popleft()

    def _letters(self, record: Record, error: MLServerError) -> Sequence[Letter]:
        """All must be acknowledged before `record` is done."""
        logger.warning("record %s: %s", record.source, str(error)[:_LOGGED_CHARACTERS])
        record.error = error
        reply = Letter(self._reports, ERROR, record, self._error_topic, *error_answer(record, error))
        self._to_source_partition(reply)
        if isinstance(error, DeadlinePassed):
            return (reply,)
        self._outstanding[record] = 2
        headers = dead_letter_headers(record, error, self._server)
        return reply, Letter(self._reports, DEAD, record, self._dead_topic, record.value, headers)

    def _to_source_partition(self, letter: Letter) -> None:
        """Keep the source's partition where both topics have as many, so that their order is the same too."""
        partitions = self.topics.partitions
        count = partitions.get(letter.topic)
        if count and count == partitions.get(letter.record.topic):
            letter.partition = letter.record.partition

    def _insist(self, letter: Letter) -> None:
        """Produce, and wait while librdkafka's queue is full: reports make room."""
        while not self._offer(letter):
            self._client.poll(0.1)

    def _offer(self, letter: Letter) -> bool:
        """Produce; False where librdkafka's queue is full."""
        client = self._alone() if letter.alone else self._client
        try:
            client.produce(
                letter.topic,
                letter.value,
                letter.key,
                letter.partition,
                headers=letter.headers,
                on_delivery=letter.delivered,
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._reports.refused.append((letter, error.args[0]))
        return True

    def _refusal(self, letter: Letter, error: KafkaError) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and self._smaller(letter):
            return
        if error.code() == KafkaError._UNKNOWN_PARTITION:
            letter.partition = ANY_PARTITION
            self.topics.expire()
        else:
            # Nothing is dropped, and no offset is committed past it: the topic may come back.
            self._say(letter, error)
        self._again.append((time.monotonic() + _RETRY_SECONDS, letter))

    def _smaller(self, letter: Letter) -> bool:
        """Send again what was too large, if there is a way.

        The broker judges whole batches, so that one too large among them, or many small ones, may have harmed this
        letter: it is tried alone before anything is left out.
        """
        if not letter.alone:
            letter.alone = True
            self._ready.append(letter)
            return True
        if letter.part is RESULT:
            self._ready.extend(self._letters(letter.record, too_large(len(letter.value or b""))))
            return True
        if letter.shrink():
            self._ready.append(letter)
            return True
        return False

    def _alone(self) -> Producer:
        """Each of its batches is one letter. Made when it is first needed, which for most servers is never."""
        if self._lone_client is None:
            self._lone_client = Producer(self._config | {"batch.num.messages": 1}, logger=client_logger)
        return self._lone_client

    def _say(self, letter: Letter, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._said.get((letter.topic, error.code()), -_SAY_SECONDS) >= _SAY_SECONDS:
            self._said[letter.topic, error.code()] = now
            logger.error(
                "topic %s does not take the %s of record %s, which is tried until it does: %s",
                letter.topic, letter.part, letter.record.source, error.str(),
            )  # fmt: skip

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.fatal = error.str()
