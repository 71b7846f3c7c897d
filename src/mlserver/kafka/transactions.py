"""Exactly once: answers, dead letters and offsets in one Kafka transaction.

`end` belongs to the thread that speaks to the scheduler; `finished`, `serve` and `rewound` to the one that polls; the
transactions to a third, this one's own, since their calls wait for brokers while the group must see polls.

A transaction holds, for each partition, the answers to the records that follow the committed ones without a gap: the
door hands them over in the order of their partitions. An aborted one is forgotten: the reader goes back to the
committed offsets, and what was under way meanwhile is dropped by its lane, which is revoked.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from mlserver.kafka.client_log import client_logger
from mlserver.kafka.config import admin_config
from mlserver.kafka.failpoints import hit
from mlserver.kafka.figures import Figures
from mlserver.kafka.lessons import Lessons
from mlserver.kafka.letters import NOTHING, Letter, Reports
from mlserver.kafka.post import Post
from mlserver.kafka.records import Record
from mlserver.kafka.remedies import Remedy, remedy
from mlserver.kafka.seldom import Seldom
from mlserver.kafka.topics import Topics
from mlserver.kafka.tracker import Lane
from mlserver.kafka.transactional_client import TransactionalClient
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# A transaction costs some round trips whatever is in it. It ends when nothing else is under way, or with these.
_MAX_RECORDS = 2_000
_MAX_SECONDS = 0.1
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class AbortError(Exception):
    """The transaction under way must not be committed."""

    def __init__(self, why: str, how: Remedy = Remedy.ABORT) -> None:
        super().__init__(why)
        self.how = how


class Transactions:
    """Takes the place of a Writer."""

    def __init__(self, settings: Settings, config: dict[str, Any]) -> None:
        """Raises KafkaException with librdkafka's own message where `config` is wrong."""
        ours = {"error_cb": self._on_error, "delivery.report.only.error": True}
        self._client = TransactionalClient(config | ours)
        self._consumer: Consumer | None = None
        self._group: Any = None  # the consumer's metadata, whose type the client gives no name; None: in no group
        self._in_flight: Callable[[], int] = lambda: 0
        self.topics = Topics(settings, AdminClient(admin_config(settings), logger=client_logger))
        self._reports = Reports()
        self._lessons = Lessons(Post(settings, self._reports, self.topics.partitions))
        self._outbox: deque[Record] = deque()
        self._committed: deque[Record] = deque()
        self._open: list[Record] = []
        self.figures = Figures(settings.kafka_group_id)
        self.fence = threading.Lock()
        """Held where a lane is revoked, and from the look at lanes until the broker has their offsets."""
        self.rewinding = threading.Event()
        """Set while the reader should go back to what is committed."""
        self._rewound = threading.Event()
        self._bell = threading.Event()
        self._done = threading.Event()
        self._stopping = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._seldom = Seldom()
        self._thread = threading.Thread(target=self._run, name="transactions", daemon=True)

    def attach(self, consumer: Consumer, in_flight: Callable[[], int]) -> None:
        """Begin to commit offsets for `consumer`, of which `in_flight` records are read and not committed."""
        self._consumer = consumer
        self._in_flight = in_flight
        self._thread.start()

    def end(self, record: Record) -> None:
        """Let what became of `record` be part of a transaction."""
        self._outbox.append(record)
        self._bell.set()

    def finished(self) -> Iterator[Record]:
        """The records that were committed since the last call."""
        while self._committed:
            yield self._committed.popleft()

    def serve(self, timeout_seconds: float = 0) -> None:
        """Wait for a commit, at most so long.

        The client gives the group's generation to the thread that polls only: another would wait for that thread, and
        that one for the interpreter. One that has changed since makes the broker refuse the offsets. But it takes them
        unseen from somebody who names no member, and so does the client between the moment in which it finds that the
        group has put this one out, and the poll that says which partitions are lost. In this order a member that is
        named twice has been one throughout: only that poll lets it join again.
        """
        if self._consumer is not None:
            group = self._consumer.consumer_group_metadata()
            self._group = group if self._consumer.memberid() else None
        self._done.clear()
        if timeout_seconds and not self._committed:
            self._done.wait(timeout_seconds)

    @property
    def idle(self) -> bool:
        """Whether all that was handed over is committed, and that has been looked at."""
        return not (self._outbox or self._open or self._committed or self.rewinding.is_set())

    @property
    def fatal(self) -> str | None:
        """Why this process can only be replaced, where that is so."""
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping:
            return "the thread of transactions has ended"
        return self._client.stuck

    def rewound(self) -> None:
        """The reader has gone back; what it read before is in lanes that are revoked."""
        self.rewinding.clear()
        self._rewound.set()

    def close(self, timeout_seconds: float) -> None:
        """Commit no more; whatever is open is aborted, by us or by its coordinator."""
        self._stopping = True
        self._client.end()
        self._bell.set()
        self._rewound.set()
        if self._client.stuck is None:  # or the time to leave the group in would be spent on waiting
            self._thread.join(max(0.0, timeout_seconds))

    def _run(self) -> None:
        while not self._stopping:
            failure = self._tried()
            # When the handling of the error is over: until then it keeps hold of a producer that may have to go.
            if failure is not None:
                self._undo(*failure)
            else:
                self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _tried(self) -> tuple[Remedy, str] | None:
        """One transaction; what is to be done where it failed, and why it did."""
        try:
            self._one()
        except AbortError as error:
            return error.how, str(error)
        except KafkaException as error:
            self._say(error.args[0])
            return remedy(error.args[0]), error.args[0].str()
        except Exception:
            logger.exception("a transaction failed")
            return Remedy.RENEW, "unexpected error"
        return None

    def _one(self) -> None:
        """One transaction from its first record to its commit; none where there is nothing to answer."""
        client = self._client.ready()
        if not self._outbox:
            self._bell.wait(0.1)
            self._bell.clear()
            return
        client.begin_transaction()
        begun = time.monotonic()
        while not self._due(begun):
            self._take(client)
            self._client.call(client.poll, 0)
            if not self._outbox and not self._due(begun):
                self._bell.wait(0.005)
                self._bell.clear()
        hit("after_produce")
        self._commit(client)
        self.figures.transactions.add(time.monotonic() - begun)
        self.figures.held = False

    def _due(self, begun: float) -> bool:
        if self._stopping or len(self._open) >= _MAX_RECORDS or time.monotonic() - begun >= _MAX_SECONDS:
            return True
        return not self._outbox and len(self._open) >= self._in_flight()

    def _take(self, client: Producer) -> None:
        while self._outbox and len(self._open) < _MAX_RECORDS:
            record = self._outbox.popleft()
            if record.lane.revoked:
                continue
            self._open.append(record)
            for letter in self._lessons.letters(record):
                if letter.part is not NOTHING:
                    self._produce(client, letter)

    def _produce(self, client: Producer, letter: Letter) -> None:
        """Produce, and wait while librdkafka's queue is full."""
        while True:
            try:
                letter.send(client)
                return
            except BufferError:
                self._client.call(client.poll, 0.1)

    def _commit(self, client: Producer) -> None:
        left = self._client.call(client.flush, self._client.call_seconds)
        # Those that an earlier abort has taken out of the queue are told of late, and mean nothing.
        while self._reports.refused and self._reports.refused[0][1].code() in _PURGED:
            self._reports.refused.popleft()
        if left or any(error.code() == KafkaError._MSG_TIMED_OUT for _, error in self._reports.refused):
            # A producer whose broker was away so long may never again find the group's coordinator.
            raise AbortError("no word of some answers in time", Remedy.RENEW)
        if self._reports.refused:
            raise AbortError("not every answer was taken")
        with self.fence:
            offsets = _offsets(self._open)
            if offsets and self._group is None:
                raise AbortError("the group has put this member out")
            hit("before_commit")
            if offsets:
                self._client.call(client.send_offsets_to_transaction, offsets, self._group, self._client.call_seconds)
        hit("mid_transaction")
        self._client.call(client.commit_transaction, self._client.call_seconds)
        hit("after_commit")
        for record in self._open:
            self._lessons.forget(record)
        self._committed.extend(self._open)
        self._open = []
        self._done.set()

    def _undo(self, how: Remedy, why: str) -> None:
        """Let go of what is open, learn from it, and have the reader go back to what is committed."""
        self.figures.aborted += 1
        logger.warning("transaction given up: %s", why)
        producer = self._client.producer
        if how is Remedy.ABORT and producer is not None and not self._stopping:
            try:
                self._client.call(producer.abort_transaction, self._client.call_seconds)
            except KafkaException as error:
                self._say(error.args[0])
                how = Remedy.RENEW
        hopeless = self._learn()
        if how is not Remedy.ABORT:
            self._client.throw_away()
            self._reports.refused.clear()  # nobody waits for those any more
        self._open = []
        if hopeless:
            self.figures.held = True
            self._bell.wait(self._pause_seconds)
            self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)
        self._go_back()

    def _learn(self) -> bool:
        """From the refusals; whether there are some that only time can help."""
        hopeless = False
        while self._reports.refused:
            letter, error = self._reports.refused.popleft()
            if error.code() in _PURGED:
                continue
            self.figures.refused += 1
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and not self._client.careful:
                self._client.be_careful()
            elif not self._lessons.learn(letter, error):
                self._say(error, f"topic {letter.topic} does not take the {letter.part} of {letter.record.source}: ")
                self.topics.expire()
                hopeless = True
        return hopeless

    def _go_back(self) -> None:
        """Only when the coordinator has ended every transaction of ours is it known what is committed."""
        while not self._stopping:
            try:
                self._client.ready()
                break
            except KafkaException as error:
                self._say(error.args[0])
                if remedy(error.args[0]) is Remedy.RENEW:
                    self._client.throw_away()
                self._bell.wait(_FIRST_PAUSE_SECONDS)
        self._rewound.clear()
        self.rewinding.set()
        self._done.set()
        self._rewound.wait()

    def _say(self, error: KafkaError, what: str = "") -> None:
        if self._seldom.due(error.code()):
            logger.error("%s%s", what, error.str())

    def _on_error(self, error: KafkaError) -> None:
        """The calls themselves say what is to be done."""
        logger.debug("%s", error.str())


def _offsets(records: Sequence[Record]) -> list[TopicPartition]:
    """One above the last of each partition. Raises AbortError where one has gone to another member."""
    positions: dict[Lane, int] = {}
    for record in records:
        if record.lane.revoked:
            raise AbortError(f"{record.topic}/{record.partition} has gone to another member")
        positions[record.lane] = record.offset + 1
    return [TopicPartition(lane.topic, lane.partition, position) for lane, position in positions.items()]
