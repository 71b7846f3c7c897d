"""Members that come and go under load: nothing is lost, what stays with its member goes on, what moves moves soon."""

import contextlib
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka.client import (
    PATIENCE_SECONDS,
    Got,
    Sent,
    Tell,
    Topics,
    Watch,
    all_committed,
    fresh,
    model,
    request,
    send,
)
from tests.kafka.serving import SUM, Server, kill_all, make_folder
from tests.kafka.test_exactly_once import PARTITIONS, in_order

# A heartbeat of the load, to every partition: what stalls is seen to a tenth of a second.
BEAT_SECONDS = 0.1
# What is kept waits for no rebalance: one transaction may, for the next heartbeat, which comes every second.
KEPT_SECONDS, MOVED_SECONDS = 4.0, 5.0
DELIVERIES = ("at_least_once", "exactly_once")


class Load:
    """Sends a record to each partition again and again, until it is stopped; knows what it sent, and when."""

    def __init__(self, topics: Topics) -> None:
        self.sent: dict[str, float] = {}
        self._topics = topics
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            now = time.monotonic()
            records = [Sent(request(1.0), model("sum"), b"%d" % n, n % PARTITIONS) for n in range(2 * PARTITIONS)]
            self.sent.update(dict.fromkeys(send(self._topics, records), now))


class Delays:
    """Reads the answers as they come; how late the latest of each partition was, since the last look."""

    def __init__(self, load: Load, answers: Watch) -> None:
        self._load = load
        self._answers = answers
        self._worst = dict.fromkeys(range(PARTITIONS), 0.0)
        self._seen: set[str] = set()

    def poll(self) -> None:
        """What is new."""
        for answer in self._answers.poll(0.02):
            self._came(answer)

    def _came(self, answer: Got) -> None:
        if answer.source not in self._seen:
            self._seen.add(answer.source)
            late = time.monotonic() - self._load.sent.get(answer.source, time.monotonic())
            partition = int(answer.source.split("/")[1])
            self._worst[partition] = max(self._worst[partition], late)

    def during(self, seconds: float) -> None:
        """Look for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.poll()

    def take(self) -> dict[int, float]:
        """By partition, in seconds."""
        self.poll()
        worst, self._worst = self._worst, dict.fromkeys(range(PARTITIONS), 0.0)
        return worst


def owned(server: Server) -> set[int]:
    """The partitions that a server has by its log."""
    mine: set[int] = set()
    for line in server.log.splitlines():
        named = {int(number) for number in re.findall(r"kafka-\w+-input/(\d+)", line)}
        if "] INFO - assigned" in line:
            mine |= named
        elif "] INFO - revoked" in line or "WARNING - lost" in line:
            mine -= named
    return mine


def until(delays: Delays, shared: Callable[[], bool]) -> None:
    """Read answers until the partitions are shared so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not shared():
        assert time.monotonic() < deadline, "partitions were not shared so"
        delays.poll()


@contextlib.contextmanager
def started(folder: Path, delays: Delays) -> Iterator[Server]:
    """A server, once it has partitions; the answers are read meanwhile."""
    server = Server(folder)
    try:
        while not owned(server):
            delays.poll()
        yield server
    finally:
        server.__exit__()


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_rolling_restart_of_two_members(delivery: str, kafka_bootstrap: str, tmp_path: Path, tell: Tell) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(tmp_path / "served", topics, SUM, kafka_delivery=delivery)
    kept: list[float] = []
    moved: list[float] = []
    with Watch(kafka_bootstrap, topics.output) as answers, Load(topics) as load, contextlib.ExitStack() as servers:
        delays = Delays(load, answers)
        members = [servers.enter_context(started(folder, delays)) for _ in range(2)]
        until(delays, lambda: all(len(owned(each)) == 2 for each in members))
        delays.during(1)
        delays.take()
        for number in range(2):
            other = members[1 - number]
            for change in ("leaves", "joins"):
                before = owned(other)
                if change == "leaves":
                    members[number].end(signal.SIGTERM)
                    until(delays, lambda other=other: len(owned(other)) == PARTITIONS)  # type: ignore[misc]
                else:
                    members[number] = servers.enter_context(started(folder, delays))
                    until(delays, lambda: all(len(owned(each)) == 2 for each in members))
                delays.during(1)
                worst = delays.take()
                stays = before & owned(other)
                kept += [worst[each] for each in stays]
                moved += [worst[each] for each in worst.keys() - stays]
            assert members[number].log.count("lost") == 0
        load.__exit__()
        answers.of_some(list(load.sent))
        all_committed(topics)
        for member in members:
            member.stop()
        answers.poll(0.2)
    repeats = len(answers.records) - len(load.sent)
    slowest = f"kept {max(kept):.2f} s, moved {max(moved):.2f} s at most"
    tell(f"{delivery}: {slowest}; {len(load.sent)} records, {repeats} repeats")
    assert repeats == 0
    assert max(kept) < KEPT_SECONDS
    assert max(moved) < MOVED_SECONDS
    if delivery == "exactly_once":
        in_order(answers.records)


@pytest.mark.parametrize("seconds", [15, pytest.param(60, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_members_join_leave_and_are_killed(
    delivery: str, seconds: float, kafka_bootstrap: str, tmp_path: Path, tell: Tell
) -> None:
    """Two of them, a change every three seconds. A third, which stays, keeps what it has."""
    seed = time.time_ns()
    dice = random.Random(seed)
    topics = fresh(kafka_bootstrap, PARTITIONS)
    window = 500
    folders = [
        make_folder(
            tmp_path / name, topics, SUM, kafka_delivery=delivery, kafka_max_in_flight_records=window,
            kafka_consumer_config={"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
        )
        for name in ("stays", "one", "two")
    ]  # fmt: skip
    kills = leaves = 0
    kept = 0.0
    with Watch(kafka_bootstrap, topics.output) as answers, Load(topics) as load, contextlib.ExitStack() as servers:
        delays = Delays(load, answers)
        stays = servers.enter_context(started(folders[0], delays))
        others: dict[int, Server] = {}
        delays.take()
        end = time.monotonic() + seconds
        # What it has had all the time: the answers to others may still wait for the transaction of who was killed.
        always = owned(stays)
        while time.monotonic() < end:
            number = dice.choice([1, 2])
            if number not in others:
                others[number] = Server(folders[number])
                servers.callback(others[number].__exit__)
            elif kills <= leaves:
                kill_all(others.pop(number))
                kills += 1
            else:
                others.pop(number).end(signal.SIGTERM)
                leaves += 1
            delays.during(3)
            worst = delays.take()
            always &= owned(stays)
            kept = max([kept, *(worst[each] for each in always)])
        load.__exit__()
        answers.of_some(list(load.sent))
        all_committed(topics)
        stays.stop()
        for other in others.values():
            other.end(signal.SIGTERM)
            other.gone(30)
        answers.poll(0.2)
    repeats = len(answers.records) - len(load.sent)
    told = f"{kills} kills, {leaves} left, {repeats} repeats, kept partitions waited {kept:.2f} s at most"
    tell(f"{delivery}, seed {seed}: {len(load.sent)} records, {told}")
    assert {answer.source for answer in answers.records} == set(load.sent)
    assert kills
    assert repeats <= (0 if delivery == "exactly_once" else window * kills)
    assert kept < KEPT_SECONDS
    if delivery == "exactly_once":
        in_order(answers.records)
