"""SIGKILL at any moment: every record has its answer in the end, and few have two."""

import contextlib
import random
import signal
import time
from pathlib import Path

import psutil

from tests.kafka.client import Sent, Tell, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder

KILLS = 20
ROUND = 1_000
WINDOW = 500
PARTITIONS = 4


def test_twenty_kills(kafka_bootstrap: str, tmp_path: Path, tell: Tell) -> None:
    seed = time.time_ns()
    tell(f"seed {seed}")
    dice = random.Random(seed)
    topics = fresh(kafka_bootstrap, PARTITIONS)
    # A member with a name of its own takes its partitions over at once; any other would be missed for 10 s first.
    folder = make_folder(
        tmp_path / "served", topics, SUM,
        kafka_max_in_flight_records=WINDOW, kafka_consumer_config={"group.instance.id": "one"},
    )  # fmt: skip
    sources: list[str] = []
    server = Server(folder)
    try:
        with Watch(kafka_bootstrap, topics.output) as answers:
            for _ in range(KILLS):
                sources += send(topics, [Sent(request(1.0), model("sum"), None, n % PARTITIONS) for n in range(ROUND)])
                goal = len(answers.records) + dice.randrange(1, ROUND)
                answers.until(lambda found, goal=goal: len(found) >= goal)  # type: ignore[misc]
                if dice.random() < 0.5:
                    server.end(signal.SIGKILL)
                    server.__exit__()
                    server = Server(folder)
                else:
                    _kill_door(server)
            found = {answer.source for answer in answers.until(lambda found: len(found) >= len(sources))}
            answers.until(lambda found: {answer.source for answer in found} >= set(sources))
            all_committed(topics)
            server.stop()
            answers.poll(0.5)
    finally:
        server.__exit__()
    repeats = len(answers.records) - len(sources)
    tell(f"{len(sources)} records, {KILLS} kills, {repeats} repeats")
    assert found <= set(sources)
    assert {answer.status for answer in answers.records} == {"ok"}
    assert repeats <= WINDOW * KILLS


def _kill_door(server: Server) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):  # it was between two lives
        server.door().kill()
