"""Committing: the position of every lane, seldom enough to cost nothing, often enough to bound what a crash repeats."""

import time
from collections.abc import Callable, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mlserver.kafka.failpoints import hit
from mlserver.kafka.figures import Durations
from mlserver.kafka.tracker import Lane

_EVERY_SECONDS = 0.2
_EVERY_RECORDS = 2_000
# Where the bound of what is in flight is reached, commits make room: as often as a broker answers them.
_URGENT_SECONDS = 0.02


class Committer:
    """Commits asynchronously, one commit at a time; their words come when the consumer is polled."""

    under_way: bool
    """Whether a commit has been sent and not been answered."""
    done: int
    """Records done since the last commit was sent."""

    def __init__(
        self, lanes: Mapping[tuple[str, int], Lane], on_error: Callable[[KafkaError], None], durations: Durations
    ) -> None:
        """`durations` are told how long each commit took."""
        self._lanes = lanes
        self._durations = durations
        self._on_error = on_error
        self._sent_at = 0.0
        self.under_way = False
        self.done = 0

    def when_due(self, consumer: Consumer, *, urgent: bool = False) -> None:
        """Commit if it is time, and there is something; one that fails is made anew, and reaches as far or further."""
        if self.under_way or not (self.done or urgent):
            return
        since = time.monotonic() - self._sent_at
        if since < (_URGENT_SECONDS if urgent else _EVERY_SECONDS) and self.done < _EVERY_RECORDS:
            return
        offsets = _owed(self._lanes.values())
        self._sent_at = time.monotonic()
        self.done = 0
        if not offsets:
            return
        self.under_way = True
        hit("before_commit")
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._failed(error.args[0])

    def last(self, consumer: Consumer, lanes: Iterable[Lane]) -> None:
        """Commit lanes that are about to go, and wait for it: nobody can do it later."""
        offsets = _owed(lanes)
        if offsets:
            try:
                consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:
                self._on_error(error.args[0])

    def owing(self) -> bool:
        """Whether a commit is under way or could be made."""
        return self.under_way or bool(_owed(self._lanes.values()))

    def on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        """The broker's word; a lane that has gone since, or is another one, learns nothing wrong from it."""
        self.under_way = False
        hit("after_commit")
        if error is not None:
            self._failed(error)
            return
        self._durations.add(time.monotonic() - self._sent_at)
        for found in offsets:
            lane = self._lanes.get((found.topic, found.partition))
            if found.error is not None:
                self._failed(found.error)
            elif lane is not None:
                lane.committed(found.offset)

    def _failed(self, error: KafkaError) -> None:
        self.under_way = False
        self.done += 1  # so that the next turn that is due tries again
        self._on_error(error)


class TransactionalCommitter(Committer):
    """Transactions have committed what is done: this only keeps the lanes' books."""

    def when_due(self, consumer: Consumer, *, urgent: bool = False) -> None:
        """What is done is committed."""
        if not self.done:
            return
        self.done = 0
        for lane in self._lanes.values():
            position = lane.uncommitted
            if position is not None:
                lane.committed(position)

    def last(self, consumer: Consumer, lanes: Iterable[Lane]) -> None:
        """Nothing is left to commit."""

    def owing(self) -> bool:
        """Never."""
        return False


def _owed(lanes: Iterable[Lane]) -> list[TopicPartition]:
    return [
        TopicPartition(lane.topic, lane.partition, position)
        for lane in lanes
        if (position := lane.uncommitted) is not None
    ]
