"""Reading. Runs in the main thread of the door's process, and never waits for the model.

One turn: look at delivery reports, commit what they allow, read a poll's worth, hand it on. When the other thread has
no room, or too much is in flight, partitions are paused and polling goes on, or the group would evict this member.
"""

import logging
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mlserver.kafka.assignment import Assignment
from mlserver.kafka.backlog import named, tell_backlog, tell_lost_place
from mlserver.kafka.client_log import client_logger
from mlserver.kafka.commits import Committer, TransactionalCommitter
from mlserver.kafka.failpoints import hit
from mlserver.kafka.lookout import Lookout
from mlserver.kafka.messages import record_of, size_of
from mlserver.kafka.records import Record
from mlserver.kafka.seldom import Seldom
from mlserver.kafka.tracker import Lane
from mlserver.kafka.transactions import Transactions
from mlserver.kafka.writer import Writer
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

Batch = list[Record]

# One poll: enough to stack well, little enough that answers come soon and an idle thread gets work early.
MAX_POLL_RECORDS = 512
_MAX_POLL_BYTES = 4 << 20  # of large records: a poll travels as one, and is there twice meanwhile
_POLL_SECONDS, _WAIT_SECONDS = 0.1, 0.02
# Pausing throws away what librdkafka has fetched: worth it only when the wait is not a short one.
_PAUSE_AFTER_SECONDS = 0.5
# A poll for the word of a commit may bring a record too: room for as many as such a wait can bring.
_SPARE_RECORDS = 32
# Handing partitions over: long enough for what is under way, short of a session.
_REVOKE_SECONDS = 5.0
# What is kept of the time for the end to commit and leave the group in.
_CLOSING_SECONDS = 2.0


class Reader:
    """One consumer, its lanes, and the queue towards the model."""

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        writer: Writer | Transactions,
        batches: "queue.Queue[Batch]",
        wake: Callable[[], None],
    ) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        self._settings = settings
        self._writer = writer
        self._wake = wake
        self.batches = batches
        self.topics: Sequence[str] = ()
        """What is to be read; may be changed by any thread."""
        self.in_flight = 0
        """Records read and not yet committed, as of the last turn."""
        self._subscribed: Sequence[str] = ()
        self.fatal: str | None = None
        """Why this consumer can never be used again, where that is so."""
        self._assignment = Assignment(settings.kafka_group_id, writer)
        self._lanes = self._assignment.lanes
        self._held: Batch = []
        self._blocked_since: float | None = None
        self._paused = False
        self._largest = 1_024
        self._seldom = Seldom()
        transactional = settings.kafka_delivery == "exactly_once"
        committer = TransactionalCommitter if transactional else Committer
        self._figures = writer.figures
        self._lookout = Lookout(writer.figures, self._lanes, writer.topics)
        self._commits = committer(self._lanes, self._on_error, self._figures.commits)
        callbacks = {"on_commit": self._commits.on_commit, "error_cb": self._on_error}
        self._consumer = Consumer(config | callbacks, logger=client_logger)
        writer.attach(self._consumer, lambda: self.in_flight)

    def _subscribe(self, topics: Sequence[str]) -> None:
        """Join the group. A topic or broker that is missing is waited for."""
        self._subscribed = topics
        if not topics:
            self._consumer.unsubscribe()
            return
        self._consumer.subscribe(
            list(topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def turn(self) -> None:
        """One round; returns after at most about a tenth of a second, but for what a broker makes wait."""
        if self.topics != self._subscribed:
            self._subscribe(self.topics)
        self._account()
        if self._writer.rewinding.is_set():
            self._held = []
            try:
                self._assignment.rewind(self._consumer)
            except KafkaException as error:
                self._on_error(error.args[0])
                self.fatal = self.fatal or self._assignment.lost
                return
        room = self._room()
        self._commits.when_due(self._consumer, urgent=room <= 0)
        self._writer.topics.look(reading=bool(self._lanes))
        self._lookout.look(self._consumer, paused=self._paused)
        if self._held or room <= 0:
            self._wait_for_room()
            return
        self._go_on()
        self._held = self._read(room)
        if self._held:
            hit("after_consume")
        self._hand_over(0)

    def _account(self, timeout_seconds: float = 0) -> None:
        """Delivery reports to lanes."""
        self._writer.serve(timeout_seconds)
        answered = failed = 0
        for record in self._writer.finished():
            record.lane.done(record.offset)
            if record.error is None:
                answered += 1
            else:
                failed += 1
                self._figures.failed(record.error)
        self._figures.answered(answered)
        self._commits.done += answered + failed

    def _space(self) -> tuple[int, int]:
        """How many records, and how many bytes, are missing to the bounds of what may be in flight."""
        lanes = self._lanes.values()
        self.in_flight = sum(lane.records for lane in lanes)
        records = self._settings.kafka_max_in_flight_records - self.in_flight
        return records, self._settings.kafka_max_in_flight_bytes - sum(lane.bytes for lane in lanes)

    def _room(self) -> int:
        """How many records may be read now; bytes are judged by the largest record seen lately.

        From a pause on there is none until half of what may be in flight has gone, so that pauses are few.
        """
        records, free = self._space()
        most, most_bytes = self._settings.kafka_max_in_flight_records, self._settings.kafka_max_in_flight_bytes
        records -= min(_SPARE_RECORDS, most // 2)
        if records <= 0 or free <= 0 or (self._paused and (records < most // 2 or free < most_bytes // 2)):
            return 0
        return min(MAX_POLL_RECORDS, records, max(1, min(free, _MAX_POLL_BYTES) // self._largest))

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
        now = time.monotonic()
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._AUTO_OFFSET_RESET:
                    tell_lost_place(self._settings, message, error)
                else:
                    self._on_error(error)
                continue
            lane = self._lanes.get((message.topic() or "", message.partition() or 0))
            if lane is None:
                continue  # revoked between fetch and now: whoever has the partition reads it again
            record = record_of(lane, message)
            size = size_of(record)
            try:
                lane.read(record.offset, size, now)
            except ValueError:
                record.lane = lane = self._assignment.gone_back(lane, record.offset)
                lane.read(record.offset, size, now)
            largest = max(largest, size)
            batch.append(record)
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
            self._hand_over(_WAIT_SECONDS)
        else:
            self._account(_WAIT_SECONDS)
        if now - self._blocked_since > _PAUSE_AFTER_SECONDS:
            self._pause()
        if self._paused or (self._commits.under_way and min(self._space()) > 0):
            late = self._consumer.poll(0)
            self._held += self._taken([late] if late is not None else [])

    def _pause(self) -> None:
        if not self._paused and self._lanes:
            self._consumer.pause(self._assignment.partitions())
            self._paused = True
            logger.debug("paused: %d records in flight", sum(lane.records for lane in self._lanes.values()))

    def _go_on(self) -> None:
        self._blocked_since = None
        if self._paused:
            self._consumer.resume(self._assignment.partitions())
            self._paused = False
            logger.debug("resumed: %d records in flight", sum(lane.records for lane in self._lanes.values()))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._paused:
            # Those that stay are paused, those that come are not; it begins anew for all.
            consumer.resume(self._assignment.partitions())
            self._paused = False
        for found in partitions:
            self._assignment.add(found.topic, found.partition)
        logger.info("assigned %s", named(partitions))
        self._figures.rebalances += 1
        self._figures.away = False
        if partitions:
            self._writer.topics.count()  # before the first answer, which goes to the partition of its source
            tell_backlog(self._settings, consumer, partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Finish what is under way there, within a bound, commit it and let go."""
        self._figures.rebalances += 1
        lanes = self._let_go(consumer, partitions)
        deadline = time.monotonic() + _REVOKE_SECONDS
        while not (all(lane.finished for lane in lanes) or self._writer.rewinding.is_set()):
            if time.monotonic() > deadline:
                break
            self._hand_over(_WAIT_SECONDS)
            self._account(_WAIT_SECONDS)
        self._commits.last(consumer, lanes)
        hit("mid_rebalance")
        self._assignment.revoke(lanes)
        logger.info("revoked %s", named(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Others have them already: commit nothing."""
        self._figures.rebalances += 1
        self._assignment.revoke(self._let_go(consumer, partitions))
        logger.warning("lost %s: this member was thought dead", named(partitions))

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[Lane]:
        """The lanes of partitions that leave. The client would keep them paused until they come back, and then too."""
        if self._paused:
            consumer.resume(partitions)
        return self._assignment.taken_away(partitions)

    def _on_error(self, error: KafkaError) -> None:
        """Say each kind of trouble once a minute: librdkafka repeats it for as long as it lasts."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._figures.away = True
        if error.fatal():
            self.fatal = error.str()
        elif self._seldom.due(error.code()):
            logger.warning("%s", error.str())

    def finish(self, answered: Callable[[], bool], deadline: float) -> None:
        """Read no more; let what is under way end, until `deadline` (monotonic seconds); commit; leave the group."""
        self._held = []
        closing = deadline - min(_CLOSING_SECONDS, (deadline - time.monotonic()) / 3)
        try:
            self._pause()
            while not ((answered() and self._writer.idle) or self._writer.rewinding.is_set()):
                if time.monotonic() > closing:
                    break
                self._account(_WAIT_SECONDS)
                self._commits.when_due(self._consumer)
                self._consumer.poll(0)
            self._account()
            while self._commits.owing() and time.monotonic() < deadline:
                self._commits.when_due(self._consumer, urgent=True)
                self._consumer.poll(_WAIT_SECONDS)
        except KafkaException as error:
            self._on_error(error.args[0])
        if left := sum(lane.records for lane in self._lanes.values()):
            logger.info("left for the next: %d records that were read, and are not committed", left)
        self._lanes.clear()
        self._writer.close(deadline - time.monotonic())
        self._consumer.close()
