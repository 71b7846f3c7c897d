"""What the scheduler has been asked and has not answered. Pure: no socket, and the clock is the caller's."""

from collections import Counter
from collections.abc import Sequence

from mlserver.kafka.records import Record

# Young frames at the scheduler: it predicts one while the door decodes the next. More would only make REST wait.
_MAX_YOUNG = 2
# A frame that is not answered by then waits for a model, not for its turn: others are sent beside it. A stack of 256
# rows of the digits SVC takes 8 ms.
_OLD_SECONDS = 0.05
# Records at the scheduler at once: eight polls' worth beside a model that is slow or hangs.
_MAX_RECORDS = 4_096
# What is there is there twice: half a dozen of the largest records that a broker takes by default, or thirteen polls'
# worth of a kilobyte each.
_MAX_BYTES = 6 << 20


class _Frame:
    __slots__ = ("calls", "sent_at")

    def __init__(self, calls: int, sent_at: float) -> None:
        self.calls = calls
        self.sent_at = sent_at


class _Call:
    __slots__ = ("answered", "bytes", "frame", "model", "records")

    def __init__(self, frame: int, model: str, records: Sequence[Record]) -> None:
        self.frame = frame
        self.model = model
        self.records = records
        self.bytes = sum([len(record.value or b"") for record in records])
        self.answered = 0


class Calls:
    """Calls by number, and the frames that they went in. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._frames: dict[int, _Frame] = {}
        self._models: Counter[str] = Counter()
        self._numbers = 0
        self._records = 0
        self._bytes = 0

    def number(self) -> int:
        """One that no call and no frame has had."""
        self._numbers += 1
        return self._numbers

    def sent(self, calls: Sequence[tuple[int, str, Sequence[Record]]], now: float) -> None:
        """A frame was sent with these calls: number, model, records."""
        frame = self.number()
        for number, model, records in calls:
            call = self._calls[number] = _Call(frame, model, records)
            self._bytes += call.bytes
            self._models[model] += 1
            self._records += len(records)
        self._frames[frame] = _Frame(len(calls), now)

    def answered(self, number: int, members: int) -> Sequence[Record]:
        """The next `members` records of call `number`, whose answer has come."""
        call = self._calls[number]
        records = call.records[call.answered : call.answered + members]
        call.answered += members
        self._records -= len(records)
        if call.answered == len(call.records):
            del self._calls[number]
            self._bytes -= call.bytes
            self._models[call.model] -= 1
            frame = self._frames[call.frame]
            frame.calls -= 1
            if not frame.calls:
                del self._frames[call.frame]
        return records

    def busy(self, model: str) -> bool:
        """Whether a call to `model` has not been answered."""
        return self._models[model] > 0

    def room(self, now: float) -> bool:
        """Whether another frame may be sent."""
        if self._records >= _MAX_RECORDS or self._bytes >= _MAX_BYTES:
            return False
        return sum(now - frame.sent_at < _OLD_SECONDS for frame in self._frames.values()) < _MAX_YOUNG

    def wait_seconds(self, now: float) -> float | None:
        """When `room` may change without an answer; None where it will not."""
        ages = [now - frame.sent_at for frame in self._frames.values()]
        young = [age for age in ages if age < _OLD_SECONDS]
        return _OLD_SECONDS - max(young) if len(young) >= _MAX_YOUNG else None

    def __len__(self) -> int:
        return len(self._calls)
