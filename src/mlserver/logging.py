"""The server's log: one record per line on standard output, as text or as JSON."""

import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from mlserver.context import model_name_var, model_version_var
from mlserver.errors import ConfigurationError
from mlserver.settings import Settings

logger = logging.getLogger("mlserver")

# What would start a new line, move the cursor or hide text when a terminal or a log viewer shows it: C0 but the tab,
# DEL and C1, the Unicode line ends; and lone surrogates, which no stream can encode.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escaped(text: str) -> str:
    """`text` with control characters written out (`\\n`, `\\x1b`), so that it cannot pass for lines of its own."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class TextFormatter(logging.Formatter):
    """`time [logger][model:version] LEVEL - message`, the model only where one is at work.

    Messages are escaped; tracebacks keep their lines, each one indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and the lines of its traceback below."""
        head = f"{self.formatTime(record)} [{record.name}]{_model_part()} {record.levelname}"
        lines = [f"{head} - {escaped(record.getMessage())}"]
        lines += [f"  {escaped(line)}" for line in _traceback(self, record).split("\n") if line]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `name`, `level`, `message`; `model_name`, `model_version`, `exception` where known."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        found = {
            "time": self.formatTime(record),
            "name": record.name,
            "level": record.levelname,
            "message": record.getMessage(),
            "model_name": model_name_var.get(""),
            "model_version": model_version_var.get(""),
            "exception": _traceback(self, record),
        }
        always = ("time", "name", "level", "message")
        return json.dumps({key: value for key, value in found.items() if value or key in always})


class StdoutHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stdout` is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Standard output."""
        return sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream of this handler is always sys.stdout")


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
    """`[model:version]` of the model at work in this context, `[model]` without a version, or nothing."""
    name, version = model_name_var.get(""), model_version_var.get("")
    return f"[{escaped(':'.join(filter(None, (name, version))))}]" if name else ""


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback and the stack of a record, as text; empty without them."""
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts)
