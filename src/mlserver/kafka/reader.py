"""Reading and committing. Runs in the main thread of the door's process, and never waits for the model.

One turn: look at delivery reports, commit what they allow, read a poll's worth, hand it on. When the other thread has
no room, or too much is in flight, partitions are paused and polling goes on, or the group would evict this member.
"""

import logging
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlserver.kafka.records import Record
from mlserver.kafka.tracker import Lane
from mlserver.kafka.writer import Writer
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

Batch = list[Record]

# One poll: enough to stack well, little enough that answers come soon and an idle thread gets work early.
MAX_POLL_RECORDS = 512
_POLL_SECONDS = 0.1
_COMMIT_SECONDS = 0.2
_COMMIT_RECORDS = 2_000
# Pausing throws away what librdkafka has fetched: worth it only when the wait is not a short one.
_PAUSE_AFTER_SECONDS = 0.5
# Handing partitions over: long enough for what is under way, short of a session.
_REVOKE_SECONDS = 5.0
_CLOSING_SECONDS = 5.0


class Reader:
    """One consumer, its lanes, and the queue towards the model."""

    def __init__(self, settings: Settings, config: dict[str, Any], writer: Writer, wake: Callable[[], None]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._settings = settings
        self._writer = writer
        self._wake = wake
        self.batches: queue.Queue[Batch] = queue.Queue(maxsize=2)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._held: Batch = []
        self._blocked_since: float | None = None
        self._paused = False
        self._committing = False
        self._committed_at = 0.0
        self._done = 0
        self._largest = 1_024
        self._said: dict[int, float] = {}
        self._consumer = Consumer(config | {"on_commit": self._on_commit, "error_cb": self._on_error}, logger=logger)

    def subscribe(self) -> None:
        """Join the group. A topic or broker that is missing is waited for."""
        self._consumer.subscribe(
            [self._settings.kafka_topic_input],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def turn(self) -> None:
        """One round; returns after at most about a tenth of a second."""
        self._account()
        self._commit_when_due()
        room = self._room()
        if self._held or room <= 0:
            self._wait_for_room()
            return
        self._go_on()
        self._held = self._read(room)
        self._hand_over(0)

    def _account(self, timeout_seconds: float = 0) -> None:
        """Delivery reports to lanes."""
        self._writer.serve(timeout_seconds)
        for record in self._writer.finished():
            record.lane.done(record.offset)
            self._done += 1

    def _room(self) -> int:
        """How many records may be read now; bytes are judged by the largest record seen lately."""
        lanes = self._lanes.values()
        records = self._settings.kafka_max_in_flight_records - sum(lane.records for lane in lanes)
        free = self._settings.kafka_max_in_flight_bytes - sum(lane.bytes for lane in lanes)
        if records <= 0 or free <= 0:
            return 0
        return min(MAX_POLL_RECORDS, records, max(1, free // self._largest))

    def _read(self, room: int) -> Batch:
        """The first record as soon as it is there, and what has come with it: `consume(n, t)` would wait out `t`."""
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(room - 1, 0)] if room > 1 else [first]
        return self._taken(messages)

    def _taken(self, messages: Sequence[Message]) -> Batch:
        batch: Batch = []
        largest = 0
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_error(error)
                continue
            lane = self._lanes.get((message.topic() or "", message.partition() or 0))
            if lane is None:
                continue  # revoked between fetch and now: whoever has the partition reads it again
            size = len(message)
            key = message.key()
            if key:
                size += len(key)
            offset = message.offset() or 0
            lane.read(offset, size)
            largest = max(largest, size)
            batch.append(
                Record(lane, offset, _bytes(key), _bytes(message.value()), message.headers(), message.timestamp()[1])  # type: ignore[arg-type]
            )
        self._largest = max(largest, self._largest * 7 // 8, 256)
        return batch

    def _hand_over(self, timeout_seconds: float) -> None:
        if not self._held:
            return
        try:
            self.batches.put(self._held, timeout=timeout_seconds or None, block=bool(timeout_seconds))
        except queue.Full:
            return
        self._held = []
        self._wake()

    def _wait_for_room(self) -> None:
        """Short waits are waited out; from a long one on the group must see polls, with nothing to fetch."""
        now = time.monotonic()
        if self._blocked_since is None:
            self._blocked_since = now
        if self._held:
            self._hand_over(0.02)
        else:
            self._account(0.02)
        if now - self._blocked_since > _PAUSE_AFTER_SECONDS:
            self._pause()
            self._held += self._taken([late] if (late := self._consumer.poll(0)) else [])

    def _pause(self) -> None:
        if not self._paused and self._lanes:
            self._consumer.pause(self._partitions())
            self._paused = True

    def _go_on(self) -> None:
        self._blocked_since = None
        if self._paused:
            self._consumer.resume(self._partitions())
            self._paused = False

    def _partitions(self) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic, partition in self._lanes]

    def _commit_when_due(self) -> None:
        if self._committing or not self._done:
            return
        if self._done < _COMMIT_RECORDS and time.monotonic() - self._committed_at < _COMMIT_SECONDS:
            return
        self._commit(list(self._lanes.values()), wait=False)

    def _commit(self, lanes: Sequence[Lane], *, wait: bool) -> None:
        """Commit every lane's position. A commit that fails is made anew by the next, which reaches as far or further."""
        offsets = [
            TopicPartition(lane.topic, lane.partition, position)
            for lane in lanes
            if (position := lane.uncommitted) is not None
        ]
        self._done = 0
        self._committed_at = time.monotonic()
        if not offsets:
            return
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
                self._committing = True
        except KafkaException as error:
            self._on_error(error.args[0])

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        self._committing = False
        if error is not None:
            self._done += 1  # so that the next turn that is due tries again
            self._on_error(error)
            return
        for found in offsets:
            lane = self._lanes.get((found.topic, found.partition))
            if lane is not None and found.error is None:
                lane.committed(found.offset)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for found in partitions:
            self._lanes[found.topic, found.partition] = Lane(found.topic, found.partition)
        logger.info("assigned %s", _named(partitions))
        self._paused = False
        self._tell_backlog(consumer, partitions)

    def _tell_backlog(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Where the group has never committed, say how many records wait: a first start reads from the beginning."""
        try:
            fresh = [found for found in consumer.committed(partitions, timeout=5) if found.offset == OFFSET_INVALID]
            marks = [consumer.get_watermark_offsets(found, timeout=5) for found in fresh]
        except KafkaException:
            return
        waiting = sum(high - low for low, high in (mark for mark in marks if mark))
        if waiting:
            reset = self._settings.kafka_auto_offset_reset
            logger.warning(
                "group %s starts %s with %s: %d retained records there", self._settings.kafka_group_id,
                _named(fresh), reset, waiting,
            )  # fmt: skip

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Finish what is under way there, within a bound, commit it and let go."""
        lanes = self._taken_away(partitions)
        deadline = time.monotonic() + _REVOKE_SECONDS
        while not all(lane.finished for lane in lanes) and time.monotonic() < deadline:
            self._hand_over(0.02)
            self._account(0.02)
        self._commit(lanes, wait=True)
        for lane in lanes:
            lane.revoked = True
        logger.info("revoked %s", _named(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Others have them already: commit nothing."""
        for lane in self._taken_away(partitions):
            lane.revoked = True
        logger.warning("lost %s: this member was thought dead", _named(partitions))

    def _taken_away(self, partitions: list[TopicPartition]) -> list[Lane]:
        found = (self._lanes.pop((gone.topic, gone.partition), None) for gone in partitions)
        return [lane for lane in found if lane is not None]

    def _on_error(self, error: KafkaError) -> None:
        """Say each kind of trouble once a minute: librdkafka repeats it for as long as it lasts."""
        now = time.monotonic()
        if now - self._said.get(error.code(), -60.0) >= 60.0:
            self._said[error.code()] = now
            logger.warning("%s", error.str())

    def refresh(self) -> None:
        """What must be looked up now and then."""
        if self._lanes:
            self._writer.refresh_partitions(self._settings.kafka_topic_input)

    def finish(self, finished: Callable[[], bool], deadline: float) -> None:
        """Read no more; let what is under way end, until `deadline` (monotonic seconds); commit; leave the group."""
        self._held = []
        self._pause()
        while not finished() and time.monotonic() < deadline:
            self._account(0.02)
            self._consumer.poll(0)
        self._writer.flush(max(0.0, deadline - time.monotonic()))
        self._account()
        self._commit(list(self._lanes.values()), wait=True)
        self._lanes.clear()
        self._consumer.close()


def _bytes(value: str | bytes | None) -> bytes | None:
    """What the client's types allow to be text, and never is for a consumer."""
    return value.encode() if isinstance(value, str) else value


def _named(partitions: Sequence[TopicPartition]) -> str:
    return ", ".join(f"{found.topic}/{found.partition}" for found in partitions) or "nothing"
