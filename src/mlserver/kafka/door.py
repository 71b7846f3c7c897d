"""From batches of records to answers: decodes them, asks the scheduler, produces in the order of reading.

Runs in a thread of its own. What one poll brought is decoded together, stacked by batch key where the model is
row-wise, and sent as one frame. Answers are written in the order in which their records were read, whatever order they
come in: that is `kafka_ordering: partition`.
"""

import logging
import os
import queue
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import Message

from mlserver.engine.frames import Failure, Frame, Models, Parsed, Result, Word, error_of
from mlserver.engine.window import batch_key, merge, row_count, split
from mlserver.errors import Kind, MLServerError
from mlserver.kafka.link import Link
from mlserver.kafka.reader import Batch
from mlserver.kafka.records import Record, decode
from mlserver.kafka.tracker import Lane
from mlserver.kafka.writer import Writer
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.json import JsonReader

logger = logging.getLogger("mlserver.kafka")

# Two frames at the scheduler: it predicts one while this thread decodes the next.
_MAX_FRAMES = 2
# Rows of one stack: where a predict's cost per row has long stopped falling, and 256 rows of the digits SVC keep the
# scheduler's loop for 8 ms, no longer.
_MAX_ROWS = 256
# Before a record is tried again for which no model was ready.
_AGAIN_SECONDS = 0.2


class _Work:
    """One record on its way through."""

    __slots__ = ("error", "lane", "record", "request_id", "response", "rows")

    def __init__(self, lane: Lane, record: Record) -> None:
        self.lane = lane
        self.record = record
        self.rows = 1
        self.request_id: str | None = None
        self.response: TensorResponse | None = None
        self.error: MLServerError | None = None


class _Call:
    """Records that were sent to the scheduler together; `answered` of them have their answers."""

    __slots__ = ("answered", "frame", "request", "works")

    def __init__(self, frame: int, works: Sequence[_Work], request: TensorRequest) -> None:
        self.frame = frame
        self.works = works
        self.request = request
        self.answered = 0


class Door:
    """The thread between the reader's queue and the scheduler's socket."""

    def __init__(
        self, link: Link, wake: int, batches: queue.Queue[Batch], writer: Writer, on_words: Callable[[Iterable[Word]], None]
    ) -> None:
        self._link = link
        self._wake = wake
        self._batches = batches
        self._writer = writer
        self._on_words = on_words
        self._reader = JsonReader()
        self._row_wise: set[tuple[str, str | None]] = set()
        self._window: deque[_Work] = deque()
        self._calls: dict[int, _Call] = {}
        self._frames: dict[int, int] = {}  # frame -> its calls without a whole answer
        self._again: deque[tuple[float, _Work]] = deque()
        self._numbers = 0
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
            self._send_again()
            self._take_batches()
            for fd, _ in poll.poll(100):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._receive()

    def _take_batches(self) -> None:
        while len(self._frames) < _MAX_FRAMES and not self._stopping.is_set():
            try:
                batch = self._batches.get_nowait()
            except queue.Empty:
                return
            self._dispatch([(lane, _record(message)) for lane, message in batch if not lane.revoked])
            self._write_answered()

    def _dispatch(self, records: Iterable[tuple[Lane, Record]]) -> None:
        """Decode, group and send; a record that does not decode has its error at once."""
        stacks: dict[object, list[tuple[_Work, TensorRequest]]] = {}
        for lane, record in records:
            work = _Work(lane, record)
            self._window.append(work)
            try:
                request = decode(record, self._reader)
            except MLServerError as error:
                work.error = error
                continue
            work.request_id = request.id
            stackable = (request.model, request.version) in self._row_wise
            key = batch_key(request) if stackable else None
            if key is None:
                stacks[work] = [(work, request)]
            else:
                work.rows = row_count(request)
                stacks.setdefault(key, []).append((work, request))
        self._send([piece for stack in stacks.values() for piece in _pieces(stack)])

    def _send(self, pieces: Sequence[Sequence[tuple[_Work, TensorRequest]]]) -> None:
        if not pieces:
            return
        frame = Frame()
        number = self._number()
        for piece in pieces:
            works = [work for work, _ in piece]
            request = merge([request for _, request in piece])
            call = self._number()
            self._calls[call] = _Call(number, works, request)
            frame.call(call, request, [work.rows for work in works])
        self._frames[number] = len(pieces)
        self._link.send(frame)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _receive(self) -> None:
        for parsed in self._link.receive():
            for word in parsed.words:
                if isinstance(word, Result):
                    self._answered(word, parsed)
                elif isinstance(word, Failure):
                    self._failed(word)
                elif isinstance(word, Models):
                    self._row_wise = {(name, version) for name, version, row_wise in word.served if row_wise}
            self._on_words(parsed.words)
            self._write_answered()

    def _answered(self, word: Result, parsed: Parsed) -> None:
        response = parsed.response(word)
        works = self._next(word)
        parts = split(response, [work.rows for work in works]) if len(works) > 1 else [response]
        for work, part in zip(works, parts, strict=True):
            part.id = part.id or work.request_id
            work.response = part

    def _failed(self, word: Failure) -> None:
        error = error_of(word)
        due = time.monotonic() + _AGAIN_SECONDS
        for work in self._next(word):
            if error.kind is Kind.UNAVAILABLE:
                self._again.append((due, work))
            else:
                work.error = error

    def _next(self, word: Result | Failure) -> Sequence[_Work]:
        """The records of the call that this word answers."""
        call = self._calls[word.number]
        works = call.works[call.answered : call.answered + word.members]
        call.answered += word.members
        if call.answered == len(call.works):
            del self._calls[word.number]
            self._frames[call.frame] -= 1
            if not self._frames[call.frame]:
                del self._frames[call.frame]
        return works

    def _send_again(self) -> None:
        """Records that no model was ready for; the ones behind them wait, so that order is kept."""
        now = time.monotonic()
        while self._again and self._again[0][0] <= now and not self._stopping.is_set():
            work = self._again.popleft()[1]
            if work.lane.revoked:
                self._window.remove(work)
                continue
            request = decode(work.record, self._reader)
            request.id = work.request_id
            work.rows = 1
            self._send([[(work, request)]])

    def _write_answered(self) -> None:
        window = self._window
        while window:
            work = window[0]
            if work.error is not None:
                self._writer.failure(work.lane, work.record, work.error, work.request_id)
            elif work.response is not None:
                self._writer.result(work.lane, work.record, work.response)
            else:
                return
            window.popleft()


def _pieces(stack: list[tuple[_Work, TensorRequest]]) -> Iterable[list[tuple[_Work, TensorRequest]]]:
    """Cut a stack so that no piece has more rows than one predict should; a record is never cut."""
    piece: list[tuple[_Work, TensorRequest]] = []
    rows = 0
    for entry in stack:
        if piece and rows + entry[0].rows > _MAX_ROWS:
            yield piece
            piece, rows = [], 0
        piece.append(entry)
        rows += entry[0].rows
    yield piece


def _record(message: Message) -> Record:
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        _bytes(message.key()),
        _bytes(message.value()),
        message.headers(),  # type: ignore[arg-type]
        message.timestamp()[1],
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


