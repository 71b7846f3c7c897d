"""Producing: every record read gets exactly one terminal record, and every delivery report is looked at.

`end` belongs to the thread that speaks to the scheduler; `finished` and `serve` to the one that polls.
Reports may arrive in either: all they do is append to queues. What the broker refused is sent again by `serve`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from mlserver.kafka.answers import no_reply, too_large
from mlserver.kafka.client_log import client_logger
from mlserver.kafka.failpoints import hit
from mlserver.kafka.figures import Figures
from mlserver.kafka.lessons import NO_SUCH_TOPIC
from mlserver.kafka.letters import ANY_PARTITION, NOTHING, RESULT, Letter, Reports
from mlserver.kafka.post import Post
from mlserver.kafka.records import Record
from mlserver.kafka.seldom import Seldom
from mlserver.kafka.topics import Topics
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# Between tries at a topic that refuses or is missing: often enough to go on soon, seldom enough not to be load.
_RETRY_SECONDS = 1.0


class Writer:
    """Answers, error answers and dead letters, on one idempotent producer."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._config = config | {"error_cb": self._on_error}
        self.fatal: str | None = None
        """Why this producer can never be used again, where that is so."""
        self._reports = Reports()
        self._outstanding: dict[Record, int] = {}
        self._ready: deque[Letter] = deque()
        self._again: deque[tuple[float, Letter]] = deque()
        self._held: set[Letter] = set()
        self._seldom = Seldom()
        self._client = Producer(self._config, logger=client_logger)
        self._lone_client: Producer | None = None
        self.figures = Figures(settings.kafka_group_id)
        self.fence = threading.Lock()
        """Held where a lane is revoked; of no use here, where whoever commits is whoever revokes."""
        self.rewinding = threading.Event()
        """Never set here: what is acknowledged is never taken back."""
        self.topics = Topics(settings, self._client)
        self._post = Post(settings, self._reports, self.topics.partitions)

    def attach(self, consumer: Consumer, in_flight: Callable[[], int]) -> None:
        """Offsets are committed by the reader."""

    def rewound(self) -> None:
        """Nothing is ever rewound."""

    def close(self, timeout_seconds: float) -> None:
        """What is not acknowledged is read again."""

    def end(self, record: Record) -> None:
        """Produce what became of `record`: its body, or the error answer and a dead letter with all that was read."""
        for letter in self._letters(record):
            if letter.part is NOTHING:
                self._reports.acknowledged.append(letter)
            else:
                while not self._offer(letter):  # librdkafka's queue is full: reports make room
                    self._client.poll(0.1)
        hit("after_produce")

    def finished(self) -> Iterator[Record]:
        """The records whose terminal records have all arrived since the last call."""
        acknowledged, outstanding = self._reports.acknowledged, self._outstanding
        while acknowledged:
            letter = acknowledged.popleft()
            if self._held:
                self._held.discard(letter)
                self.figures.held = bool(self._held)
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

    def _letters(self, record: Record) -> Sequence[Letter]:
        letters = self._post.letters(record)
        if len(letters) > 1:
            self._outstanding[record] = len(letters)
        return letters

    def _offer(self, letter: Letter) -> bool:
        """Produce; False where librdkafka's queue is full."""
        client = self._alone() if letter.alone else self._client
        try:
            letter.send(client)
        except BufferError:
            return False
        except KafkaException as error:
            self._reports.refused.append((letter, error.args[0]))
        return True

    def _refusal(self, letter: Letter, error: KafkaError) -> None:
        self.figures.refused += 1
        self._held.discard(letter)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and self._smaller(letter):
            return
        if letter.topic == letter.record.reply and error.code() in NO_SUCH_TOPIC:
            self._elsewhere(letter, error)
            return
        if error.code() == KafkaError._UNKNOWN_PARTITION:
            letter.partition = ANY_PARTITION
            self.topics.expire()
        else:
            # Nothing is dropped, and no offset is committed past it: the topic may come back.
            self._say(letter, error)
            self._held.add(letter)
            self.figures.held = True
        self._again.append((time.monotonic() + _RETRY_SECONDS, letter))

    def _elsewhere(self, letter: Letter, error: KafkaError) -> None:
        """What a sender's own topic does not take becomes an error answer where those go otherwise."""
        record = letter.record
        record.reply = None
        if letter.part is RESULT:
            record.error = no_reply(letter.topic, error.str())
            self._ready.extend(self._letters(record))
        else:
            letter.topic = self._post.error_topic(record)
            letter.partition = ANY_PARTITION
            self._ready.append(letter)

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
            letter.record.error = too_large(len(letter.value or b""))
            self._ready.extend(self._letters(letter.record))
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
        # By topic: one that refuses does so for every letter, and the client has several words for one that is missing.
        if self._seldom.due(letter.topic):
            logger.error(
                "topic %s does not take the %s of record %s, which is tried until it does: %s",
                letter.topic, letter.part, letter.record.source, error.str(),
            )  # fmt: skip

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.fatal = error.str()
