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
from collections.abc import Callable, Iterable, Iterator, Sequence

from mlserver.engine.frames import Failure, Frame, Models, Parsed, ProtocolError, Result, Word, error_of
from mlserver.engine.rows import batch_key, merge, row_count, split
from mlserver.errors import InferenceError, Kind, MLServerError
from mlserver.kafka.link import Link
from mlserver.kafka.reader import Batch
from mlserver.kafka.records import Record, head_of, request_of
from mlserver.kafka.writer import Writer
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.json import JsonReader, RequestHead, member_bytes, output_requests, response_bytes

logger = logging.getLogger("mlserver.kafka")

_Stack = list[tuple[Record, RequestHead]]
_Asked = tuple[Sequence[Record], TensorRequest]

# Two frames at the scheduler: it predicts one while this thread decodes the next.
_MAX_FRAMES = 2
# Before a record is tried again for which no model was ready.
_AGAIN_SECONDS = 0.2


class _Call:
    """Records that were sent to the scheduler together; the first `answered` of them have their answers."""

    __slots__ = ("answered", "frame", "records")

    def __init__(self, frame: int, records: Sequence[Record]) -> None:
        self.frame = frame
        self.records = records
        self.answered = 0


class Door:
    """The thread between the reader's queue and the scheduler's socket."""

    def __init__(
        self,
        link: Link,
        wake: int,
        batches: queue.Queue[Batch],
        writer: Writer,
        on_words: Callable[[Iterable[Word]], None],
    ) -> None:
        self._link = link
        self._wake = wake
        self._batches = batches
        self._writer = writer
        self._on_words = on_words
        self._reader = JsonReader()
        self._max_rows: dict[tuple[str, str | None], int] = {}
        self._window: deque[Record] = deque()
        self._calls: dict[int, _Call] = {}
        self._frames: dict[int, int] = {}  # frame -> its calls without a whole answer
        self._again: deque[tuple[float, Record]] = deque()
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
            self._dispatch([record for record in batch if not record.lane.revoked])
            self._write_answered()

    def _dispatch(self, records: Sequence[Record]) -> None:
        """Decode, group and send; a record that does not decode has its error at once."""
        self._window.extend(records)
        stacks: dict[object, _Stack] = {}
        for record in records:
            if record.error is not None:
                continue
            try:
                head = head_of(record, self._reader)
                key = None
                if self._bound(record) > 1:
                    key = batch_key(record.model, record.version, head)
            except Exception as error:
                record.error = _as_told(record, error)
                continue
            if key is None:
                stacks[record] = [(record, head)]
            else:
                record.rows = row_count(head)
                stacks.setdefault(key, []).append((record, head))
        calls = (self._call(piece) for stack in stacks.values() for piece in _pieces(stack, self._bound(stack[0][0])))
        self._send([call for call in calls if call is not None])

    def _bound(self, record: Record) -> int:
        """Rows of one stack for the record's model, which need not be served here."""
        return self._max_rows.get((record.model, record.version), 1)

    def _call(self, piece: _Stack) -> _Asked | None:
        """The records of a piece as one request; those whose data do not fit have their errors."""
        first, head = piece[0]
        if len(piece) > 1:
            inputs = self._reader.stack([head for _, head in piece])
            if inputs is not None:
                request = TensorRequest(
                    first.model, first.version, inputs, None, head.parameters, output_requests(head)
                )
                return [record for record, _ in piece], request
        good: list[Record] = []
        requests: list[TensorRequest] = []
        for record, head in piece:
            try:
                requests.append(request_of(record, head, self._reader))
                good.append(record)
            except Exception as error:
                record.error = _as_told(record, error)
        return (good, merge(requests)) if good else None

    def _send(self, calls: Sequence[_Asked]) -> None:
        """One frame with all calls; where they cannot be one, each alone, and what cannot be sent has its error."""
        if not calls:
            return
        number = self._number()
        numbered = [(self._number(), call) for call in calls]
        try:
            frame = Frame()
            for call_number, (records, request) in numbered:
                frame.call(call_number, request, [record.rows for record in records])
            parts = frame.parts()
        except (TypeError, ValueError, OverflowError, RecursionError, ProtocolError) as error:
            if len(calls) > 1:
                for call in calls:
                    self._send([call])
                return
            for record in calls[0][0]:
                record.error = InferenceError(f"the request cannot be passed on to the model: {error}")
            return
        for call_number, (records, _) in numbered:
            self._calls[call_number] = _Call(number, records)
        self._frames[number] = len(calls)
        self._link.send(parts)

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
                    self._max_rows = {(name, version): rows for name, version, rows in word.served}
            self._on_words(parsed.words)
            self._write_answered()

    def _answered(self, word: Result, parsed: Parsed) -> None:
        response = parsed.response(word)
        records = self._next(word)
        if len(records) == 1:
            _encode(records[0], response)
            return
        try:
            bodies = member_bytes(
                response, [record.rows for record in records], [record.request_id for record in records]
            )
        except MLServerError:
            # One of them has an output that JSON cannot carry: the others still have their answers.
            for record, part in zip(records, split(response, [record.rows for record in records]), strict=True):
                _encode(record, part)
            return
        for record, body in zip(records, bodies, strict=True):
            record.model, record.version = response.model, response.version
            record.body = body

    def _failed(self, word: Failure) -> None:
        error = error_of(word)
        due = time.monotonic() + _AGAIN_SECONDS
        for record in self._next(word):
            if error.kind is Kind.UNAVAILABLE:
                self._again.append((due, record))
            else:
                record.error = error

    def _next(self, word: Result | Failure) -> Sequence[Record]:
        """The records of the call that this word answers."""
        call = self._calls[word.number]
        records = call.records[call.answered : call.answered + word.members]
        call.answered += word.members
        if call.answered == len(call.records):
            del self._calls[word.number]
            self._frames[call.frame] -= 1
            if not self._frames[call.frame]:
                del self._frames[call.frame]
        return records

    def _send_again(self) -> None:
        """Records that no model was ready for; the ones behind them wait, so that order is kept."""
        now = time.monotonic()
        calls = []
        while self._again and self._again[0][0] <= now and not self._stopping.is_set():
            record = self._again.popleft()[1]
            if record.lane.revoked:
                self._window.remove(record)
                continue
            record.rows = 1
            calls.append(self._call([(record, head_of(record, self._reader))]))
        self._send([call for call in calls if call is not None])
        self._write_answered()

    def _write_answered(self) -> None:
        window = self._window
        while window:
            record = window[0]
            if record.error is not None:
                self._writer.failure(record, record.error)
            elif record.body is not None:
                self._writer.result(record)
            else:
                return
            window.popleft()


def _as_told(record: Record, error: Exception) -> MLServerError:
    """What the sender is told. Whatever a record holds, it must not take the door along, which would read it again."""
    if isinstance(error, MLServerError):
        return error
    logger.exception("record %s: decoding failed", record.source)
    return InferenceError(f"the record cannot be decoded: {type(error).__name__}: {error}")


def _encode(record: Record, response: TensorResponse) -> None:
    response.id = response.id or record.request_id
    try:
        record.body = response_bytes(response)
    except MLServerError as error:
        record.error = error
    else:
        record.model, record.version = response.model, response.version


def _pieces(stack: _Stack, max_rows: int) -> Iterator[_Stack]:
    """Cut a stack so that no piece has more rows than one predict should; a record is never cut."""
    piece: _Stack = []
    rows = 0
    for entry in stack:
        if piece and rows + entry[0].rows > max_rows:
            yield piece
            piece, rows = [], 0
        piece.append(entry)
        rows += entry[0].rows
    yield piece
