"""The partitions that a consumer has, as lanes. Belongs to the thread that polls."""

import logging
import time
from collections.abc import Iterable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from mlserver.kafka.tracker import Lane
from mlserver.kafka.transactions import Transactions
from mlserver.kafka.writer import Writer

logger = logging.getLogger("mlserver.kafka")

# For a transaction to end that has begun to send its offsets, and for a broker to say what is committed.
_ANSWER_SECONDS = 5.0
# A broker that comes back says what is committed within some seconds; a client that has not heard it by now never may.
_LOST_SECONDS = 20.0


class Assignment:
    """Lanes by topic and partition; each lasts for one assignment, or until its partition is read again."""

    def __init__(self, group: str, writer: Writer | Transactions) -> None:
        self._group = group
        self._writer = writer
        self._rewinding_since: float | None = None
        self.lanes: dict[tuple[str, int], Lane] = {}

    def add(self, topic: str, partition: int) -> Lane:
        """A new lane, in the place of any other."""
        lane = self.lanes[topic, partition] = Lane(topic, partition, self._group)
        return lane

    def partitions(self) -> list[TopicPartition]:
        """As the client names them."""
        return [TopicPartition(topic, partition) for topic, partition in self.lanes]

    def taken_away(self, partitions: Sequence[TopicPartition]) -> list[Lane]:
        """The lanes of `partitions`, which are ours no more."""
        found = (self.lanes.pop((gone.topic, gone.partition), None) for gone in partitions)
        return [lane for lane in found if lane is not None]

    def revoke(self, lanes: Iterable[Lane]) -> None:
        """No offset of `lanes` is committed from now on; a commit that hangs is refused by the group's generation."""
        # A call that hangs never lets go of it.
        fenced = self._writer.fence.acquire(timeout=0 if self._writer.fatal else _ANSWER_SECONDS)
        for lane in lanes:
            lane.revoked = True
        if fenced:
            self._writer.fence.release()

    def gone_back(self, lane: Lane, offset: int) -> Lane:
        """A lane from `offset` on: the log was cut or the topic made anew, or an earlier position is read again.

        What the old one had in flight is answered, but commits nothing any more. In transactions an answer is
        committed with its offset or not at all: there it is dropped, since it is read again.
        """
        logger.warning("%s/%d goes back to offset %d: what follows is read again", lane.topic, lane.partition, offset)
        if isinstance(self._writer, Transactions):
            self.revoke([lane])
        return self.add(lane.topic, lane.partition)

    def rewind(self, consumer: Consumer) -> None:
        """Read on from what is committed, after a transaction that was not.

        Raises KafkaException where the broker does not say; what is in flight is given up in any case.
        """
        self._rewinding_since = self._rewinding_since or time.monotonic()
        self.revoke(self.lanes.values())
        partitions = self.partitions()
        for found in consumer.committed(partitions, timeout=_ANSWER_SECONDS) if partitions else ():
            if found.error is not None:
                raise KafkaException(found.error)
            start = self.lanes[found.topic, found.partition].start
            if start is not None:
                found.offset = found.offset if found.offset >= 0 else start
                consumer.seek(found)
            self.add(found.topic, found.partition)
        self._rewinding_since = None
        self._writer.rewound()

    @property
    def lost(self) -> str | None:
        """Why nobody can tell where to read on, where that is so for too long."""
        since = self._rewinding_since
        if since is None or time.monotonic() - since < _LOST_SECONDS:
            return None
        return f"for {_LOST_SECONDS:.0f} s no word of what is committed"
