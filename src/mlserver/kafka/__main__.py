"""The Kafka door's process: ``python -m mlserver.kafka FD``, started by the server, which holds the other end of FD."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import NoReturn

from confluent_kafka import KafkaException

from mlserver.engine.frames import Configure, Drain, Frame, Models, ProtocolError, Started, Word
from mlserver.kafka.config import consumer_config, producer_config
from mlserver.kafka.door import Door
from mlserver.kafka.link import Link, SchedulerGone
from mlserver.kafka.reader import Reader
from mlserver.kafka.writer import Writer
from mlserver.logging import configure_logging
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# With the scheduler gone nothing can be predicted: what is acknowledged is committed, and the group left, in this time.
_ORPHAN_SECONDS = 1.5
# A signal to this process alone; the server's own word comes with the grace of the settings.
_SIGTERM_GRACE_SECONDS = 20.0


class Process:
    """Both threads, and what ends them."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._writer = Writer(settings, producer_config(settings))
        self._reader = Reader(settings, consumer_config(settings), self._writer, self._ring)
        self._door = Door(link, self._wake, self._reader.batches, self._writer, self._on_words, settings)
        self._thread = threading.Thread(target=self._run_door, name="door")
        self._parent = os.getppid()
        self._deadline: float | None = None
        self._served = threading.Event()
        self._exit_code = 0

    def run(self) -> int:
        """Until told to drain, or the scheduler ends; the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._drain(_SIGTERM_GRACE_SECONDS))
        self._thread.start()
        # Reading starts when there is a model to read for.
        while self._deadline is None and not self._served.wait(0.1):
            pass
        if self._deadline is None:
            self._reader.subscribe()
        try:
            while self._deadline is None:
                self._reader.turn()
                self._look_around()
        except Exception:
            logger.exception("the Kafka door failed")
            self._fail()
        self._ring()
        self._reader.finish(lambda: not self._thread.is_alive(), self._deadline or 0.0)
        return self._exit_code

    def _look_around(self) -> None:
        """For what ends this process, but the scheduler's words."""
        if fatal := self._writer.fatal or self._reader.fatal:
            logger.error("the Kafka client cannot go on: %s", fatal)
            self._fail()
        elif os.getppid() != self._parent:
            # The other thread sees the socket close, unless it waits for a broker to take what fills its queue.
            self._drain(_ORPHAN_SECONDS)

    def _run_door(self) -> None:
        try:
            self._door.run()
        except SchedulerGone:
            self._drain(_ORPHAN_SECONDS)
        except ProtocolError as error:
            logger.error("the scheduler broke the protocol: %s", error)
            self._fail()
        except Exception:
            logger.exception("the Kafka door failed")
            self._fail()

    def _fail(self) -> None:
        self._exit_code = 1
        self._drain(_ORPHAN_SECONDS)

    def _on_words(self, words: Iterable[Word]) -> None:
        for word in words:
            if isinstance(word, Models) and word.served:
                self._served.set()
            elif isinstance(word, Drain):
                self._drain(word.grace_seconds)

    def _drain(self, grace_seconds: float) -> None:
        """Begin to end; whatever hangs by then, a broker that is away or a model, is left when the grace is over."""
        deadline = time.monotonic() + grace_seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
        self._door.stop()
        end = threading.Timer(grace_seconds, self._end)
        end.daemon = True
        end.start()

    def _end(self) -> None:
        logger.warning("not all that was in flight could be finished: what is not committed is read again")
        logging.shutdown()
        os._exit(self._exit_code)

    def _ring(self) -> None:
        os.eventfd_write(self._wake, 1)


def _configured(link: Link) -> Settings:
    """The settings, which are the scheduler's first word."""
    while True:
        for parsed in link.receive():
            for word in parsed.words:
                if isinstance(word, Configure):
                    return Settings.model_validate_json(word.settings)


def _say(link: Link, refusal: str | None) -> None:
    frame = Frame()
    frame.add(Started(refusal))
    link.send(frame.parts())


def _serve(settings: Settings, link: Link) -> int:
    try:
        process = Process(settings, link)
    except KafkaException as error:
        _say(link, f"kafka_config: {' '.join(error.args[0].str().split())}")
        return 1
    except (TypeError, ValueError) as error:
        _say(link, f"kafka_config: {error}")
        return 1
    _say(link, None)
    return process.run()


def main(fd: int) -> NoReturn:
    """Run the door on the inherited socket `fd`."""
    for sig in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_IGN)  # from a terminal they reach the whole group; the server drains its doors
    link = Link(socket.socket(fileno=fd))
    code = 1
    try:
        settings = _configured(link)
        configure_logging(settings)
        code = _serve(settings, link)
    except SchedulerGone:
        pass
    except Exception:
        logger.exception("the Kafka door failed")
    logging.shutdown()
    # Not sys.exit: librdkafka's threads, and a door thread that waits for a scheduler which is gone, must not hold us.
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
