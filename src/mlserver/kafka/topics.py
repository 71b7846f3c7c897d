"""What must be known of topics, and the one that is created. Belongs to the thread that reads."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mlserver.kafka.client_log import client_logger
from mlserver.kafka.config import admin_config
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# Partitions are added seldom; a broker that is away, or does not yet know of a new topic, is asked again sooner.
_REFRESH_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
# While this thread waits for an answer nobody polls the group: a broker that is there answers in milliseconds.
_ANSWER_SECONDS = 1.0
# Refusals that may be over by the next try; every other one is the broker's last word.
_PASSING = frozenset({
    KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.NOT_CONTROLLER,
    KafkaError.REQUEST_TIMED_OUT, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.COORDINATOR_NOT_AVAILABLE,
})  # fmt: skip


class Topics:
    """Partition counts of the topics read and written, and the dead-letter topic, made where it is missing."""

    partitions: dict[str, int]
    """How many partitions a topic has, as far as that is known."""

    def __init__(self, settings: Settings, client: Producer | AdminClient) -> None:
        self._settings = settings
        self._client = client
        self.partitions = {}
        self._counted: Sequence[str] = (settings.kafka_topic_input,)
        self._pairs: Sequence[tuple[str, str]] = ()
        self._counted_until = 0.0
        self._looked_until = 0.0
        self._admin: AdminClient | None = None
        self._creating: Future[None] | None = None
        self._settled = False

    def look(self, *, reading: bool) -> None:
        """Whatever is due; returns after at most a second or two. `reading`: partitions of the input are assigned."""
        if not self._settled:
            self._look_for_dead_letters()
        if reading and time.monotonic() >= self._counted_until:
            self.count()

    def expire(self) -> None:
        """The counts are not right any more."""
        self._counted_until = 0.0

    def watch(self, read: Sequence[str], written: Sequence[str]) -> None:
        """Count the partitions of these from now on; answers to the first are expected in the first."""
        self._counted = tuple(dict.fromkeys([*read, *written]))
        self._pairs = [(read[0], written[0])] if read and written else []
        self.expire()

    def answers(self) -> bool:
        """Whether the broker does."""
        try:
            return bool(self._client.list_topics(self._counted[0], timeout=_ANSWER_SECONDS).brokers)
        except KafkaException:
            return False

    def count(self) -> None:
        """Look up how many partitions the topics have; a broker that is away changes nothing."""
        self._counted_until = time.monotonic() + _AGAIN_SECONDS
        topics = self._counted
        before = dict(self.partitions)
        for topic in topics:
            try:
                found = self._client.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
            except KafkaException:
                return
            if found.error is None:
                self.partitions[topic] = len(found.partitions)
        if self.partitions.keys() >= set(topics):
            self._counted_until = time.monotonic() + _REFRESH_SECONDS
        if self.partitions != before:
            self._compare()

    def _compare(self) -> None:
        for source, output in self._pairs:
            counts = self.partitions.get(source), self.partitions.get(output)
            if None not in counts and counts[0] != counts[1]:
                logger.warning(
                    "topics %s and %s have %s and %s partitions: answers keep their key's order, not their partition's",
                    source, output, *counts,
                )  # fmt: skip

    def _look_for_dead_letters(self) -> None:
        """Ask for the topic; have it made, one partition, the broker's replication; or warn once that it may not be."""
        if self._creating is not None:
            if self._creating.done():
                self._created(self._creating.exception())
            return
        if time.monotonic() < self._looked_until:
            return
        self._looked_until = time.monotonic() + _AGAIN_SECONDS
        name = self._settings.kafka_topic_dead_letter
        try:
            found = self._client.list_topics(name, timeout=_ANSWER_SECONDS).topics[name]
        except KafkaException:
            return
        if found.error is None:
            self._settled = True
            return
        self._admin = self._admin or AdminClient(admin_config(self._settings), logger=client_logger)
        self._creating = self._admin.create_topics([NewTopic(name, 1)], operation_timeout=_AGAIN_SECONDS)[name]

    def _created(self, error: BaseException | None) -> None:
        self._creating = None
        name = self._settings.kafka_topic_dead_letter
        reason = error.args[0] if isinstance(error, KafkaException) else None
        if error is None:
            logger.info("created topic %s", name)
        elif reason is not None and reason.code() in _PASSING:
            return
        elif reason is None or reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            why = error if reason is None else reason.str()
            logger.warning("the dead-letter topic %s is missing and could not be created: %s", name, why)
        self._settled = True
        self._admin = None
