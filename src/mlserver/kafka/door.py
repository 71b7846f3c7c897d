"""From batches of records to answers: decodes them, asks the scheduler, produces in the order of their lanes.

Runs in a thread of its own. What one poll brought is decoded together, stacked by batch key where the model is
row-wise, and sent as one frame.
"""

import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mlserver.engine.frames import Frame, Parsed, ProtocolError, error_of
from mlserver.engine.words import Failure, Models, ModelTopics, Report, Result, Word
from mlserver.errors import InferenceError
from mlserver.kafka.calls import Calls
from mlserver.kafka.failpoints import hit
from mlserver.kafka.failures import judge
from mlserver.kafka.forms import encode, encode_members
from mlserver.kafka.link import Link
from mlserver.kafka.order import Order, Ordering, lane_of_order
from mlserver.kafka.reader import Batch
from mlserver.kafka.records import Record
from mlserver.kafka.retries import Retries
from mlserver.kafka.routes import Routes
from mlserver.kafka.stacks import Asked, Stacker
from mlserver.kafka.transactions import Transactions
from mlserver.kafka.writer import Writer
from mlserver.settings import Settings
from mlserver.wire.json import JsonReader

# The longest wait for a socket or a bell, which both end it.
_IDLE_SECONDS = 0.1
# Between words of figures to the scheduler.
_REPORT_SECONDS = 1.0


class Surroundings(NamedTuple):
    """Where batches come from and answers go, who is told of words, and what is reported of the groups."""

    link: Link
    wake: int
    batches: "queue.Queue[Batch]"
    writers: Mapping[str, Writer | Transactions]
    on_words: Callable[[Iterable[Word]], None]
    figures: Callable[[], list[dict[str, Any]]]


class Door:
    """The thread between the reader's queue and the scheduler's socket."""

    def __init__(self, around: Surroundings, settings: Settings) -> None:
        self._link, self._wake, self._batches, self._writers, self._on_words, self._figures = around
        # A transaction holds a partition's answers without gaps: what waits for order there, waits here.
        exactly_once = settings.kafka_delivery == "exactly_once"
        self._ordering: Ordering = "partition" if exactly_once else settings.kafka_ordering
        self._unknown_model = settings.kafka_unknown_model
        self._settings = settings
        reader = JsonReader(settings.max_json_depth)
        traced = bool(settings.tracing_server)
        self._stacker = Stacker(self._routes([]), reader, settings.max_body_bytes, traced=traced)
        self._calls = Calls()
        self._order: Order[Record] = Order()
        self._retries = Retries(settings.kafka_retry_max_attempts, settings.kafka_retry_backoff_seconds)
        self._counted = [0, 0]
        self._report_at = 0.0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more batches; `run` returns when what is under way is answered."""
        self._stopping.set()

    def run(self) -> None:
        """Until stopped. Raises SchedulerGone, or ProtocolError, where there is nobody to ask."""
        poll = select.poll()
        poll.register(self._link.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while not (self._stopping.is_set() and not self._calls):
            self._try_again()
            self._report()
            self._take_batches()
            for fd, _ in poll.poll(self._wait_seconds() * 1000):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._receive()

    def _wait_seconds(self) -> float:
        soon = self._calls.wait_seconds(time.monotonic())
        return _IDLE_SECONDS if soon is None else min(soon, _IDLE_SECONDS)

    def _take_batches(self) -> None:
        while self._calls.room(time.monotonic()) and not self._stopping.is_set():
            try:
                batch = self._batches.get_nowait()
            except queue.Empty:
                return
            self._counted[0] += 1
            self._counted[1] += len(batch)
            self._dispatch(batch)

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + _REPORT_SECONDS
        frame = Frame()
        frame.add(Report(self._figures(), self._counted[0], self._counted[1], self._retries.retried))
        self._link.send(frame.parts())

    def _dispatch(self, batch: Batch) -> None:
        """Let a poll's records take their places, and ask; a record that does not decode has its error at once."""
        records = [record for record in batch if not record.lane.revoked]
        for record in records:
            record.order = lane_of_order(self._ordering, record.lane, record.key)
            self._order.enter(record.order, record)
        self._ask(records)

    def _ask(self, records: Sequence[Record]) -> None:
        calls = self._stacker.calls([record for record in records if record.error is None])
        self._send(self._but_quarantined(calls) if self._retries.active else calls)
        for record in records:
            if record.error is not None:
                self._settle(record)

    def _but_quarantined(self, calls: Sequence[Asked]) -> Sequence[Asked]:
        """Without what has to wait until it is known who killed its model's worker."""
        asked = []
        for records, request in calls:
            if self._retries.quarantined(request.model):
                self._retries.hold(records)
            else:
                asked.append((records, request))
        return asked

    def _try_again(self) -> None:
        """What is due; those behind it in their lanes wait, so that order is kept."""
        retries = self._retries
        if not retries.active or self._stopping.is_set():
            return
        now = time.monotonic()
        if due := retries.due(now):
            self._ask(self._not_revoked(due))
        for record in self._not_revoked(retries.due_alone(now, self._calls.busy)):
            self._send(self._stacker.calls([record]))
            if record.error is not None:
                self._settle(record)

    def _not_revoked(self, records: Iterable[Record]) -> list[Record]:
        """Those of `records` that are still this server's; the others are out of the way."""
        ours = []
        for record in records:
            if record.lane.revoked:
                self._settle(record)
            else:
                ours.append(record)
        return ours

    def _send(self, calls: Sequence[Asked]) -> None:
        """One frame with all calls; where they cannot be one, each alone, and what cannot be sent has its error."""
        if not calls:
            return
        numbered = [(self._calls.number(), records, request) for records, request in calls]
        try:
            frame = Frame()
            for number, records, request in numbered:
                frame.call(number, request, [record.rows for record in records])
            parts = frame.parts()
        except (TypeError, ValueError, OverflowError, RecursionError, ProtocolError) as error:
            if len(calls) > 1:
                for call in calls:
                    self._send([call])
                return
            for record in calls[0][0]:
                record.error = InferenceError(f"the request cannot be passed on to the model: {error}")
            return
        sent = [(number, request.model, records) for number, records, request in numbered]
        self._calls.sent(sent, time.monotonic())
        self._link.send(parts)

    def _receive(self) -> None:
        for parsed in self._link.receive():
            for word in parsed.words:
                if isinstance(word, Result):
                    hit("after_infer")
                    self._answered(word, parsed)
                elif isinstance(word, Failure):
                    self._failed(word)
                elif isinstance(word, Models):
                    self._models(word)
            self._on_words(parsed.words)

    def _models(self, word: Models) -> None:
        self._stacker.bounds = {(name, version): rows for name, version, rows in word.served}
        self._stacker.routes = self._routes(word.topics)
        self._retries.wake()

    def _routes(self, topics: Sequence[ModelTopics]) -> Routes:
        return Routes(topics, self._settings.kafka_reply_topics, self._settings.kafka_topic_input)

    def _answered(self, word: Result, parsed: Parsed) -> None:
        response = parsed.response(word)
        records = self._calls.answered(word.number, word.members)
        if len(records) == 1:
            encode(records[0], response)
        else:
            encode_members(records, response)
        for record in records:
            self._settle(record)

    def _failed(self, word: Failure) -> None:
        now = time.monotonic()
        verdict = judge(word, self._unknown_model)
        for record in self._calls.answered(word.number, word.members):
            record.error = self._retries.failed(record, error_of(word), verdict, now)
            if record.error is not None:
                self._settle(record)

    def _settle(self, record: Record) -> None:
        """`record` has its end: write what may leave now; what others have read on is theirs to answer."""
        if self._retries.active:
            self._retries.ended(record)
        for leaving in self._order.settle(record.order, record):
            if not leaving.lane.revoked:
                self._writers[leaving.lane.group].end(leaving)
