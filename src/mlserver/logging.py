"""The server's log: one record per line on standard output, as text or as JSON."""

import contextlib
import json
import logging
import logging.config
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from mlserver.context import model_name_var, model_version_var, request_id_var
from mlserver.errors import ConfigurationError
from mlserver.settings import Settings

logger = logging.getLogger("mlserver")

# What would start a new line, move the cursor or hide text when a terminal or a log viewer shows it: C0 but the tab,
# DEL and C1, the Unicode line ends; and lone surrogates, which no stream can encode.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Of a request's id: whoever writes a longer one does not want it to be read.
_MAX_ID_CHARS = 256

# What is kept for a reader that is slow: some 50,000 lines.
_MAX_HELD_BYTES = 4 * 1024**2
# How long whoever logs waits for a line to be out, and for how long not again after a wait that was too short.
_WAIT_SECONDS, _NO_WAIT_SECONDS = 0.02, 5.0
# How long the end of the process waits for the last lines.
_FLUSH_SECONDS = 1.0


def escaped(text: str) -> str:
    """`text` with control characters written out (`\\n`, `\\x1b`), so that it cannot pass for lines of its own."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class TextFormatter(logging.Formatter):
    """`time [logger][model:version][request] LEVEL - message`; the model only where one is at work, for one request.

    Messages are escaped; tracebacks keep their lines, each one indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and the lines of its traceback below."""
        head = f"{self.formatTime(record)} [{record.name}]{_model_part()} {record.levelname}"
        lines = [f"{head} - {escaped(record.getMessage())}"]
        lines += [f"  {escaped(line)}" for line in _traceback(self, record).split("\n") if line]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `name`, `level`, `message`; where known `model_name`, `model_version`, `request_id` and
    `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        found = {
            "time": self.formatTime(record),
            "name": record.name,
            "level": record.levelname,
            "message": record.getMessage(),
            "model_name": model_name_var.get(""),
            "model_version": model_version_var.get(""),
            "request_id": _request_id(record),
            "exception": _traceback(self, record),
        }
        always = ("time", "name", "level", "message")
        return json.dumps({key: value for key, value in found.items() if value or key in always})


class StdoutHandler(logging.Handler):
    """Writes to what `sys.stdout` is at that moment, and never waits long for whoever reads it.

    Lines that nobody reads are kept, up to a bound, and then dropped; their number is logged when it can be. Where
    standard output is closed there is no log.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Format here, where the context of the record is, and hand the line to the writer."""
        try:
            self._write(f"{self.format(record)}\n", sys.stdout)
        except Exception:
            self.handleError(record)

    def _write(self, line: str, stream: TextIO | None) -> None:
        if stream is None:
            return
        descriptor = _descriptor(stream)
        if descriptor is not None:
            encoded = line.encode(stream.encoding or "utf-8", "backslashreplace")
            _writer.put(descriptor, encoded, self._dropped)
            return
        # A buffer in memory, which does not wait; or a closed one, which takes nothing.
        with contextlib.suppress(OSError, ValueError):
            stream.write(line)
            stream.flush()

    def flush(self) -> None:
        """Wait for what was logged to be written, a bounded time."""
        _writer.flush()

    def _dropped(self, count: int) -> bytes:
        """The line that says how many lines are missing."""
        text = "%d lines of this log were dropped, because nobody read standard output"
        record = logger.makeRecord(logger.name, logging.WARNING, __file__, 0, text, (count,), None)
        return f"{self.format(record)}\n".encode()


class _Writer:
    """Writes to file descriptors in a thread of its own: a pipe that nobody reads stops that one alone.

    Whoever logs waits for the line to be out, so that a crash right after it does not lose it - but not for long, and
    once it was in vain, not again for a while.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew: a forked process has no threads, and a lock that one of them held stays locked."""
        self._changed = threading.Condition()
        self._waiting = deque[tuple[int, bytes]]()
        self._held_bytes = 0
        self._dropped = 0
        self._say_dropped: Callable[[int], bytes] | None = None
        self._wait_again_at = 0.0
        self._thread: threading.Thread | None = None

    def put(self, descriptor: int, line: bytes, say_dropped: Callable[[int], bytes]) -> None:
        """Have `line` written, or counted as dropped where too much is waiting already."""
        with self._changed:
            if self._held_bytes and self._held_bytes + len(line) > _MAX_HELD_BYTES:
                self._dropped += 1
                self._say_dropped = say_dropped
                return
            self._waiting.append((descriptor, line))
            self._held_bytes += len(line)
            self._start()
            self._changed.notify_all()
            if time.monotonic() >= self._wait_again_at and not self._out(_WAIT_SECONDS):
                self._wait_again_at = time.monotonic() + _NO_WAIT_SECONDS

    def flush(self) -> None:
        """Wait until everything is written, at most `_FLUSH_SECONDS`."""
        with self._changed:
            self._out(_FLUSH_SECONDS)

    def _out(self, timeout_seconds: float) -> bool:
        return self._changed.wait_for(lambda: not self._held_bytes, timeout_seconds)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon: it may be in the middle of a write that never ends.
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                descriptor, line = self._waiting.popleft()
            _write(descriptor, line)
            with self._changed:
                self._held_bytes -= len(line)
                dropped, say = self._dropped, self._say_dropped
                if dropped and say is not None and not self._waiting:
                    self._dropped = 0
                    note = say(dropped)
                    self._waiting.append((descriptor, note))
                    self._held_bytes += len(note)
                self._changed.notify_all()


_writer = _Writer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_writer.reset)


def _descriptor(stream: TextIO) -> int | None:
    """The file descriptor that `stream` writes to; None where it is only memory, or closed."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _write(descriptor: int, line: bytes) -> None:
    """Write all of `line`, however long that takes; a reader that is gone is nobody's business."""
    rest = memoryview(line)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            ready.poll()
        except OSError:
            return


def configure_logging(settings: Settings) -> None:
    """Make the logger `mlserver` write as `settings` say; may be called again.

    `logging_settings` are applied last, so that they win. Raises ConfigurationError where they cannot be.
    """
    handler = StdoutHandler()
    handler.setFormatter(JsonFormatter() if settings.use_structured_logging else TextFormatter())
    for old in [handler for handler in logger.handlers if isinstance(handler, StdoutHandler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if settings.debug else logging.INFO)
    if settings.logging_settings:
        _apply(settings.logging_settings)


@contextmanager
def held_logs() -> Iterator[None]:
    """Within: what is logged waits, because how to log is not known yet; afterwards it is logged.

    Where logging has not been configured by then, it goes to standard output as text.
    """
    held = _HeldRecords()
    logger.addHandler(held)
    try:
        yield
    finally:
        logger.removeHandler(held)
        if not logger.handlers:
            logger.addHandler(StdoutHandler())
            logger.handlers[0].setFormatter(TextFormatter())
        for record in held.records:
            logger.handle(record)


class _HeldRecords(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _apply(given: str | dict[str, Any]) -> None:
    """Python's own logging configuration; loggers that it does not name keep working."""
    try:
        if isinstance(given, str) and not given.endswith(".json"):
            logging.config.fileConfig(given, disable_existing_loggers=False)
            return
        config = given if isinstance(given, dict) else json.loads(Path(given).read_bytes())
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **config})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        file = f"{given}: " if isinstance(given, str) else ""
        text = " ".join(f"{file}{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"logging_settings: cannot be applied: {text}") from error


def _model_part() -> str:
    """`[model:version]` of the model at work in this context, `[model]` without a version, or nothing.

    `[request]` follows where it is at work for one alone.
    """
    name, version = model_name_var.get(""), model_version_var.get("")
    if not name:
        return ""
    request_id = request_id_var.get()
    request = f"[{escaped(request_id[:_MAX_ID_CHARS])}]" if request_id else ""
    return f"[{escaped(':'.join(filter(None, (name, version))))}]{request}"


def _request_id(record: logging.LogRecord) -> str | None:
    """What the record was given as `extra`, or the request that the model in this context is at work for."""
    given = getattr(record, "request_id", None)
    found = given if given is not None or not model_name_var.get("") else request_id_var.get()
    return None if found is None else str(found)[:_MAX_ID_CHARS]


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback and the stack of a record, as text; empty without them."""
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts)
