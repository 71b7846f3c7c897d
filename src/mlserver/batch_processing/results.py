"""Where the lines of output go, and how many there were of each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from mlserver.batch_processing.lines import BadLine, Line, Message, answer_line, bad_line, failure_line


@dataclass
class Summary:
    """How many lines were answered and how many got an error; the place and the message of the first of those."""

    answered: int = 0
    failed: int = 0
    first_failure: tuple[int, str] | None = None

    @property
    def total(self) -> int:
        """Every line that is not blank."""
        return self.answered + self.failed


class Results:
    """Writes one line to `sink` for each line of input; calls `done` with 1 after each."""

    def __init__(self, sink: IO[bytes], done: Callable[[int], object]) -> None:
        self.summary = Summary()
        self._sink = sink
        self._done = done

    def answered(self, line: Line, response: Message, inference_id: str) -> None:
        """The server answered `line`, in the request `inference_id`."""
        self.summary.answered += 1
        self._write(answer_line(line, response, inference_id))

    def failed(self, line: Line, message: str, inference_id: str) -> None:
        """The server did not answer `line`."""
        self._failure(line.place, message)
        self._write(failure_line(line, message, inference_id))

    def unreadable(self, line: BadLine) -> None:
        """A line that was never sent."""
        self._failure(line.place, line.message)
        self._write(bad_line(line))

    def _failure(self, place: int, message: str) -> None:
        self.summary.failed += 1
        if self.summary.first_failure is None:
            self.summary.first_failure = (place, message)

    def _write(self, line: bytes) -> None:
        self._sink.write(line)
        # What has been answered is there, also where the run is broken off.
        self._sink.flush()
        self._done(1)
