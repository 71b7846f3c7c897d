"""What librdkafka says, on a logger of its own below `mlserver.kafka`."""

import logging


class _Retried(logging.Filter):
    """What librdkafka says it tries again is no warning yet: a broker that has just started makes it say so once."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING and "retrying" in record.getMessage():
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return True


client_logger = logging.getLogger("mlserver.kafka.client")
client_logger.addFilter(_Retried())
