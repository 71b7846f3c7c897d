"""A record on its way to the broker, and what is left of it where the broker takes no more."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, Producer

from mlserver.kafka.answers import dropped, shortest_error_answer, truncated
from mlserver.kafka.records import Headers, Record

RESULT, ERROR, DEAD, NOTHING = "result", "error answer", "dead letter", "nothing"
ANY_PARTITION = -1


class Reports:
    """Where delivery reports are left, by whichever thread polls, for the one that looks at them."""

    __slots__ = ("acknowledged", "refused")

    def __init__(self) -> None:
        self.acknowledged: deque[Letter] = deque()
        self.refused: deque[tuple[Letter, KafkaError]] = deque()


class Letter:
    """One record on its way to the broker, with what it takes to send it again.

    `part` says which of the terminal records it is. A result stands alone; an error answer and its dead letter are
    two, and the source is done when both have arrived. NOTHING is what a record has that is left to another server.
    `alone`: it travels in a batch of its own.
    """

    partition = ANY_PARTITION
    alone = False
    _smaller: Iterator[bool] | None = None

    def __init__(
        self, reports: Reports, part: str, record: Record, topic: str, value: bytes | None, headers: Headers
    ) -> None:
        self._reports = reports
        self.part = part
        self.record = record
        self.topic = topic
        self.key = record.key
        self.value = value
        self.headers = headers

    def send(self, client: Producer) -> None:
        """Hand it to `client`. Raises BufferError where its queue is full, and KafkaException."""
        client.produce(
            self.topic, self.value, self.key, self.partition, headers=self.headers, on_delivery=self.delivered
        )

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        """librdkafka's delivery report."""
        if error is None:
            self._reports.acknowledged.append(self)
        else:
            self._reports.refused.append((self, error))

    def shrink(self) -> bool:
        """Leave out the next of what can be spared; False where there is nothing left to leave out."""
        if self._smaller is None:
            self._smaller = self._steps()
        return next(self._smaller, False)

    def _steps(self) -> Iterator[bool]:
        """A dead letter loses its value, and keeps key and headers.

        These go only where they alone are too large: a record made to be just below its own topic's limit must not
        stop all behind it.
        """
        if self.part is RESULT:
            return
        if self.part is ERROR:
            self.value, self.headers = shortest_error_answer(self.record)
            yield True
        else:
            if self.value is not None:
                self.headers = self.headers + truncated(self.value)
                self.value = None
                yield True
            ours = self.headers[len(self.record.headers) :]
            self.headers = ours + dropped("headers")
            yield True
            self.headers = ours + dropped("headers, key")
        if self.key is not None:
            self.key = None
            yield True
