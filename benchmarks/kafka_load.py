"""Kafka load generator: makes a backlog while the server is stopped, lets it run, counts the answers.

`python -m benchmarks.kafka_load --case kafka-light --folder F --root PID --port P --bootstrap B --input I --output O
--records N` prints one Figures object as JSON. The clock and the server's CPU are read when the server is resumed and
when the answer to the last record has been seen; every record must be answered, rightly; repeats are not counted.
"""

import argparse
import contextlib
import dataclasses
import gc
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks import process_tree
from benchmarks.cases import Case, Question, case_named, questions
from benchmarks.figures import Figures

_PROBE_TIMEOUT_SECONDS = 60.0
_PROBE_EVERY_SECONDS = 0.5  # a server that reads from the end sees only what comes after its assignment
_SILENCE_SECONDS = 60.0  # no new answer for so long: the missing records count as lost
_MEMORY_EVERY_SECONDS = 0.5
_BATCH = 10_000  # messages taken per call


class LostRecordsError(Exception):
    """The server stopped answering before the last record."""


class Backlog:
    """Records of one run: ids `{prefix}-{n}`, which are their keys too, over the case's questions in turn."""

    def __init__(self, case: Case, folder: Path, records: int) -> None:
        self.prefix = uuid.uuid4().hex[:8]
        self.records = records
        self._questions = questions(case, folder)
        self._headers = [("mlserver-model", case.model.name.encode())]

    def question(self, number: int) -> Question:
        return self._questions[number % len(self._questions)]

    def produce(self, bootstrap: str, topic: str) -> None:
        """All of it, acknowledged when this returns."""
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 20,
                "batch.num.messages": _BATCH,
                "queue.buffering.max.messages": 200_000,
            }
        )
        for number in range(self.records):
            request_id = f"{self.prefix}-{number}"
            value = self.question(number).body(request_id)
            self._produce_one(producer, topic, request_id, value)
        if left := producer.flush(60):
            raise TimeoutError(f"{left} records of the backlog are not acknowledged")

    def _produce_one(self, producer: Producer, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                producer.produce(topic, value, key, headers=list(self._headers))
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return


class Answers:
    """The answers seen so far, by record number; the first of each counts."""

    def __init__(self, backlog: Backlog) -> None:
        self.values: dict[int, bytes] = {}
        self._start = backlog.prefix.encode() + b"-"

    def add(self, messages: list[Message]) -> None:
        """Keep those of this backlog; what else is on the topic (probes, earlier runs) is passed over."""
        for message in messages:
            if error := message.error():
                raise LostRecordsError(str(error))
            key = message.key()
            if isinstance(key, bytes) and key.startswith(self._start):
                self.values.setdefault(int(key[len(self._start) :]), message.value() or b"")

    def check(self, backlog: Backlog) -> None:
        """Every answer against its question."""
        for number, value in self.values.items():
            backlog.question(number).check(value, f"{backlog.prefix}-{number}")


def _consumer(bootstrap: str, topic: str) -> Consumer:
    """Reads the topic's one partition from its present end, in no group's name."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"benchmark-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "queued.min.messages": 200_000,
        }
    )
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    consumer.assign([TopicPartition(topic, 0, end)])
    return consumer


def _messages(consumer: Consumer) -> Iterator[list[Message]]:
    """What is there, again and again: one message waited for, then all that came with it."""
    while True:
        first = consumer.poll(0.05)
        yield [] if first is None else [first, *consumer.consume(_BATCH, 0)]


def probe(case: Case, folder: Path, bootstrap: str, topics: tuple[str, str], consumer: Consumer) -> None:
    """Send single records until one is answered: the server has its assignment."""
    backlog = Backlog(case, folder, 1)
    answers = Answers(backlog)
    deadline = time.monotonic() + _PROBE_TIMEOUT_SECONDS
    next_probe = 0.0
    for messages in _messages(consumer):
        answers.add(messages)
        if answers.values:
            answers.check(backlog)
            return
        if time.monotonic() > deadline:
            raise LostRecordsError(f"no answer to a probe on {topics[0]} within {_PROBE_TIMEOUT_SECONDS:.0f} s")
        if time.monotonic() > next_probe:
            backlog.produce(bootstrap, topics[0])
            next_probe = time.monotonic() + _PROBE_EVERY_SECONDS


@contextlib.contextmanager
def _beside(case: Case, folder: Path, port: int) -> Iterator[dict[str, float]]:
    """REST requests meanwhile, where the case has some; in the end what they say of their latency."""
    found: dict[str, float] = {}
    if not case.beside:
        yield found
        return
    command = [sys.executable, "-m", "benchmarks.http_steady", "--case", case.name, "--folder", str(folder)]
    command += ["--port", str(port), "--rate", str(case.beside)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as steady:
        try:
            yield found
            said, _ = steady.communicate(timeout=60)
        finally:
            steady.kill()
    if steady.returncode:
        raise LostRecordsError("the REST requests beside the backlog failed")
    found.update(json.loads(said))


def run_backlog(
    case: Case, folder: Path, root: int, port: int, bootstrap: str, topics: tuple[str, str], records: int
) -> Figures:
    """Probe, stop the tree of `root`, make the backlog, resume, measure until the last answer, check all answers."""
    consumer = _consumer(bootstrap, topics[1])
    try:
        probe(case, folder, bootstrap, topics, consumer)
        backlog = Backlog(case, folder, records)
        process_tree.stop(root)
        try:
            backlog.produce(bootstrap, topics[0])
        finally:
            before = process_tree.usage(root)
            begin, own_begin = time.perf_counter(), time.process_time()
            process_tree.resume(root)
        with _beside(case, folder, port) as latency:
            answers, rss_bytes = _collect(backlog, consumer, root)
            elapsed, own = time.perf_counter() - begin, time.process_time() - own_begin
            after = process_tree.usage(root)
    finally:
        consumer.close()
    answers.check(backlog)
    return Figures(
        count=records,
        seconds=elapsed,
        server_cpu_us=(after.cpu_seconds - before.cpu_seconds) / records * 1e6,
        generator_cpu_us=own / records * 1e6,
        rate=records / elapsed,
        rss_mb=max(rss_bytes, after.rss_bytes) / 1e6,
        **latency,
    )


def _collect(backlog: Backlog, consumer: Consumer, root: int) -> tuple[Answers, int]:
    """All answers, and the most resident bytes seen meanwhile."""
    answers = Answers(backlog)
    rss_bytes, seen = 0, 0
    last_new = next_look = time.monotonic()
    for messages in _messages(consumer):
        answers.add(messages)
        if len(answers.values) == backlog.records:
            break
        now = time.monotonic()
        if len(answers.values) > seen:
            seen, last_new = len(answers.values), now
        if now - last_new > _SILENCE_SECONDS:
            raise LostRecordsError(f"{backlog.records - seen} of {backlog.records} records not answered")
        if now > next_look:
            rss_bytes, next_look = max(rss_bytes, process_tree.usage(root).rss_bytes), now + _MEMORY_EVERY_SECONDS
    return answers, rss_bytes


def main() -> None:
    """Run one backlog and print its figures."""
    parser = argparse.ArgumentParser(description="a Kafka backlog for one case")
    parser.add_argument("--case", required=True, type=case_named)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--root", required=True, type=int, help="pid of the server's session")
    parser.add_argument("--port", required=True, type=int, help="where the server answers REST")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--records", required=True, type=int)
    args = parser.parse_args()
    gc.disable()
    topics = (args.input, args.output)
    figures = run_backlog(args.case, args.folder, args.root, args.port, args.bootstrap, topics, args.records)
    print(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    main()
