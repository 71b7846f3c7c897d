"""Models in worker processes: a record that kills or hangs its worker, a worker that dies for another reason."""

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kafka.client import Sent, Watch, all_committed, eventually, fresh, model, request, send
from tests.kafka.kitchen import BEAST
from tests.kafka.serving import SUM, Server, make_folder

WORKERS: dict[str, Any] = {"parallel_workers": 1, "kafka_retry_backoff_seconds": 0.05}


@pytest.mark.parametrize("number", [BEAST, BEAST + 1], ids=["kills", "hangs"])
def test_poison_is_told_from_its_neighbours(number: float, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    deadly = {"deadly": {"implementation": "kitchen.Deadly", "predict_timeout_seconds": 1.5}}
    values = [number if n == 7 else float(n) for n in range(20)]
    sources = send(topics, [Sent(request(value), model("deadly"), b"%d" % n) for n, value in enumerate(values)])
    with (
        Server(make_folder(tmp_path / "served", topics, deadly, **WORKERS)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        found = answers.of(sources)
        letters.of([sources[7]])
        all_committed(topics)
        server.stop()
    assert [n for n, answer in enumerate(found) if answer.status == "error"] == [7]
    (letter,) = letters.records
    assert letter.header("mlserver-dead-letter-error") == b"poison_crash"
    assert letter.value == request(number)


def worker_of(server: Server) -> psutil.Process:
    """The process that the models are in."""

    def found() -> psutil.Process | None:
        children = [child for child in server.process.children() if child.pid != server.door().pid]
        return next((child for child in children if "worker" in " ".join(child.cmdline())), None)

    return eventually(found, "no worker")


def test_a_worker_that_is_killed_costs_no_record(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    sources = send(topics, [Sent(request(float(n)), model("sum"), b"%d" % (n % 20)) for n in range(3_000)])
    with (
        Server(make_folder(tmp_path / "served", topics, SUM, **WORKERS)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        for goal in (100, 1_500):
            answers.until(lambda found, goal=goal: len(found) > goal)  # type: ignore[misc]
            worker_of(server).send_signal(signal.SIGKILL)
        found = answers.of(sources)
        all_committed(topics)
        server.stop()
    assert {answer.status for answer in found if answer.source != sources[int(BEAST)]} == {"ok"}
