"""What librdkafka says, on a logger of its own below `mlserver.kafka`."""

import logging
import re

from mlserver.kafka.seldom import Seldom

_asides = re.compile(r"\([^)]*\)").sub


class _Calmed(logging.Filter):
    """What librdkafka tries again is no warning yet; and each of its complaints is passed on once a minute.

    A consumer whose broker is away tries to connect twenty times a second, and complains of each. What it says in
    brackets - after how many milliseconds, how many times - makes no other complaint of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seldom = Seldom()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.levelno == logging.WARNING and "retrying" in text:
            # A broker that has just started makes it say so once.
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return record.levelno < logging.INFO or self._seldom.due(_asides("", text))


client_logger = logging.getLogger("mlserver.kafka.client")
client_logger.addFilter(_Calmed())
