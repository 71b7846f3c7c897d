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
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

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
_SIGTERM_GRACE_SECONDS = 20.0


class Process:
    """Both threads, and what ends them."""

    def __init__(self, settings: Settings, link: Link) -> None:
        self._settings = settings
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._writer = Writer(settings, producer_config(settings))
        self._reader = Reader(settings, consumer_config(settings), self._writer, self._ring)
        self._door = Door(link, self._wake, self._reader.batches, self._writer, self._on_words)
        self._thread = threading.Thread(target=self._run_door, name="door")
        self._deadline: float | None = None
        self._served = threading.Event()
        self._exit_code = 0

    def run(self) -> int:
        """Until told to drain, or the scheduler ends; the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._drain(_SIGTERM_GRACE_SECONDS))
        self._thread.start()
        subscribed = False
        while self._deadline is None:
            if not subscribed:
                subscribed = self._subscribed()
                continue
            self._reader.turn()
            self._reader.refresh()
            if self._writer.fatal:
                logger.error("the producer cannot go on: %s", self._writer.fatal)
                self._exit_code = 1
                break
        deadline = self._deadline or time.monotonic() + _ORPHAN_SECONDS
        self._door.stop()
        self._ring()
        self._reader.finish(lambda: not self._thread.is_alive(), deadline)
        return self._exit_code

    def _subscribed(self) -> bool:
        """Reading starts when there is a model to read for."""
        if not self._served.wait(0.1):
            return False
        self._make_dead_letter_topic()
        self._reader.subscribe()
        return True

    def _make_dead_letter_topic(self) -> None:
        """One partition, the broker's replication; where it may not be made, one warning."""
        name = self._settings.kafka_topic_dead_letter
        config = {key: value for key, value in producer_config(self._settings).items() if key in _ADMIN_KEYS}
        admin = AdminClient(config | self._settings.kafka_config)
        try:
            if name in admin.list_topics(timeout=5).topics:
                return
            admin.create_topics([NewTopic(name, 1)], operation_timeout=5)[name].result(timeout=10)
            logger.info("created topic %s", name)
        except KafkaException as error:
            logger.warning("the dead-letter topic %s could not be looked up or made: %s", name, error.args[0])

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
        deadline = time.monotonic() + grace_seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
        self._door.stop()

    def _ring(self) -> None:
        os.eventfd_write(self._wake, 1)


_ADMIN_KEYS = ("bootstrap.servers", "client.id")


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
    link.send(frame)


def main(fd: int) -> NoReturn:
    """Run the door on the inherited socket `fd`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server drains its doors
    link = Link(socket.socket(fileno=fd))
    code = 1
    try:
        settings = _configured(link)
        configure_logging(settings)
        try:
            process = Process(settings, link)
        except KafkaException as error:
            _say(link, f"kafka_config: {error.args[0].str()}")
        else:
            _say(link, None)
            code = process.run()
    except SchedulerGone:
        pass
    logging.shutdown()
    # Not sys.exit: librdkafka's threads, and a door thread that waits for a scheduler which is gone, must not hold us.
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]))
