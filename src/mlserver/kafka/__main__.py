"""The Kafka door's process: ``python -m mlserver.kafka FD IDENTITY``, started by the server at the other end of FD."""

import gc
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, NoReturn

from confluent_kafka import KafkaException

from mlserver.engine.frames import Frame, ProtocolError
from mlserver.engine.words import Configure, Drain, Models, Started, Word
from mlserver.kafka.bridge import Group, make_bridge, topics_by_group, topics_written
from mlserver.kafka.door import Door, Surroundings
from mlserver.kafka.link import Link, SchedulerGone
from mlserver.kafka.reader import Batch, Reader
from mlserver.kafka.transactions import Transactions
from mlserver.kafka.writer import Writer
from mlserver.logging import configure_logging
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# With the scheduler gone nothing can be predicted: what is acknowledged is committed, and the group left, in this time.
_ORPHAN_SECONDS = 1.5
# Python looks for cycles after so many new objects, and looks at all objects after 50 times 100 times as many. By
# default that is 700 and 10 times 10: with thousands of records in flight, which live for a moment and are in no cycle,
# a sixth of this process's time. 100,000 objects are what is in flight, some ten for each record.
_COLLECT_AFTER = (100_000, 50, 100)
# A signal to this process alone; the server's own word comes with the grace of the settings.
_SIGTERM_GRACE_SECONDS = 20.0


class Process:
    """The door's thread, one thread for each group, and what ends them. The server's own group has the main one."""

    def __init__(self, settings: Settings, link: Link, identity: str) -> None:
        self._settings = settings
        self._identity = identity
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._batches: queue.Queue[Batch] = queue.Queue(maxsize=2)
        self._writers: dict[str, Writer | Transactions] = {}
        self._readers: dict[str, Reader] = {}
        self._open(settings.kafka_group_id)
        around = Surroundings(link, self._wake, self._batches, self._writers, self._on_words, self._figures)
        self._door = Door(around, settings)
        self._thread = threading.Thread(target=self._run_door, name="door")
        self._groups: list[threading.Thread] = []
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
        self._read(self._settings.kafka_group_id)
        self._ring()
        for thread in self._groups:
            thread.join()
        return self._exit_code

    def _open(self, group: str) -> Reader:
        """A consumer for `group`, not yet reading, and its producer."""
        given = Group(group, self._settings, self._identity, self._batches, self._ring)
        reader, self._writers[group] = make_bridge(given)
        self._readers[group] = reader
        return reader

    def _read(self, group: str) -> None:
        """Read for one group until the end, and finish what it has."""
        reader, writer = self._readers[group], self._writers[group]
        try:
            while self._deadline is None:
                reader.turn()
                self._look_around(reader, writer)
        except Exception:
            logger.exception("the Kafka door failed")
            self._fail()
        self._ring()
        reader.finish(lambda: not self._thread.is_alive(), self._deadline or 0.0)

    def _figures(self) -> list[dict[str, Any]]:
        """Of all groups, for operators."""
        return [writer.figures.report(self._readers[group].in_flight) for group, writer in self._writers.items()]

    def _look_around(self, reader: Reader, writer: Writer | Transactions) -> None:
        """For what ends this process, but the scheduler's words."""
        if fatal := writer.fatal or reader.fatal:
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
            if isinstance(word, Models):
                self._serve(word)
            elif isinstance(word, Drain):
                self._drain(word.grace_seconds)

    def _serve(self, models: Models) -> None:
        """Read what the models that are served now read; a group that is new has a consumer of its own."""
        if not (models.served or self._served.is_set()):
            return
        written = topics_written(self._settings, models.topics)
        for group, topics in topics_by_group(self._settings, models.topics).items():
            reader = self._readers.get(group)
            if reader is None:
                reader = self._open(group)
                self._groups.append(threading.Thread(target=self._read, args=(group,), name=group))
                self._groups[-1].start()
            self._writers[group].topics.watch(topics, written)
            reader.topics = topics
        for group in self._readers.keys() - topics_by_group(self._settings, models.topics).keys():
            self._readers[group].topics = ()
        self._served.set()

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


def _serve(settings: Settings, link: Link, identity: str) -> int:
    try:
        process = Process(settings, link, identity)
    except KafkaException as error:
        _say(link, f"kafka_config: {' '.join(error.args[0].str().split())}")
        return 1
    except (TypeError, ValueError) as error:
        _say(link, f"kafka_config: {error}")
        return 1
    _say(link, None)
    return process.run()


def main(fd: int, identity: str) -> NoReturn:
    """Run the door on the inherited socket `fd`; `identity` is its server's own."""
    for sig in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_IGN)  # from a terminal they reach the whole group; the server drains its doors
    gc.set_threshold(*_COLLECT_AFTER)
    link = Link(socket.socket(fileno=fd))
    code = 1
    try:
        settings = _configured(link)
        configure_logging(settings)
        code = _serve(settings, link, identity)
    except SchedulerGone:
        pass
    except Exception:
        logger.exception("the Kafka door failed")
    logging.shutdown()
    # Not sys.exit: librdkafka's threads, and a door thread that waits for a scheduler which is gone, must not hold us.
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
