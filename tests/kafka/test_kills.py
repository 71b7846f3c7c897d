"""SIGKILL at any moment: every record has its answer in the end, and few have two; exactly once, none has.

`KILLS_SEED=SEED` tries the dice of an earlier run again.
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.kafka.client import Tell, Topics, Watch, all_committed, fresh, send
from tests.kafka.serving import SUM, Server, kill_all, make_folder
from tests.kafka.test_exactly_once import PARTITIONS, in_order, numbered

ROUND = 1_000
WINDOW = 500


@pytest.mark.parametrize("kills", [12, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(1_800)])])
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_kills(delivery: str, kills: int, kafka_bootstrap: str, tmp_path: Path, tell: Tell) -> None:
    seed = int(os.environ.get("KILLS_SEED") or time.time_ns())
    tell(f"seed {seed}")
    topics = fresh(kafka_bootstrap, PARTITIONS)
    # A member with a name of its own takes its partitions over at once; any other would be missed for 10 s first.
    folder = make_folder(
        tmp_path / "served", topics, SUM, kafka_delivery=delivery,
        kafka_max_in_flight_records=WINDOW, kafka_consumer_config={"group.instance.id": "one"},
    )  # fmt: skip
    with Watch(kafka_bootstrap, topics.output) as answers:
        sources = killed_at_random(topics, answers, folder, random.Random(seed), kills)
        answers.poll(0.5)
    repeats = len(answers.records) - len(sources)
    lost = len(set(sources) - {answer.source for answer in answers.records})
    tell(f"{delivery}: {len(sources)} records, {kills} kills, {lost} lost, {repeats} repeats, window {WINDOW}")
    assert {answer.source for answer in answers.records} == set(sources)
    if delivery == "exactly_once":
        in_order(answers.records)
    assert repeats <= (WINDOW * kills if delivery == "at_least_once" else 0)


def killed_at_random(topics: Topics, answers: Watch, folder: Path, dice: random.Random, kills: int) -> list[str]:
    """A kill for every round of records, somewhere in its midst; the sources of all of them, answered and committed."""
    sources: list[str] = []
    server = Server(folder)
    try:
        for _ in range(kills):
            sources += send(topics, numbered(ROUND, first=len(sources)))
            goal = len(answers.records) + dice.randrange(1, ROUND)
            answers.until(lambda found, goal=goal: len(found) >= goal)  # type: ignore[misc]
            server = killed(server, folder, dice.choice(["door", "server", "all"]))
        answers.of_some(sources)
        all_committed(topics)
        server.stop()
    finally:
        server.__exit__()
    return sources


def killed(server: Server, folder: Path, which: str) -> Server:
    """The one that serves from now on."""
    if which == "door":
        with contextlib.suppress(psutil.NoSuchProcess):  # it was between two lives
            server.door().kill()
        return server
    if which == "all":
        kill_all(server)
    else:
        server.end(signal.SIGKILL)  # its door sees it, and commits what it can
    server.__exit__()
    return Server(folder)
