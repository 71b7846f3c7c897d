"""How it ends: by SIGTERM under load, by the death of the scheduler, by that of the door."""

import signal
from pathlib import Path

from tests.kafka.client import Sent, Topics, Watch, all_committed, eventually, fresh, model, request, send
from tests.kafka.serving import SUM, Server, ended, make_folder, slow


def numbers(count: int, name: str = "sum") -> list[Sent]:
    """So many records."""
    return [Sent(request(1.0), model(name)) for n in range(count)]


def some_answers(answers: Watch, count: int) -> None:
    """Wait until there are so many."""
    answers.until(lambda found: len(found) >= count)


def test_sigterm_under_load_loses_and_repeats_nothing(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, 2)
    folder = make_folder(tmp_path / "served", topics, slow(0.01), shutdown_grace_seconds=10)
    with Watch(kafka_bootstrap, topics.output) as answers:
        sources = send(topics, numbers(10_000, "slow"))
        for goal in (1_000, 4_000):
            with Server(folder) as server:
                some_answers(answers, goal)
                server.end(signal.SIGTERM)
                assert server.gone(10) == 0
                assert "killed" not in server.log
                assert "could not be finished" not in server.log
            assert len(answers.records) < 10_000, "it stopped too late for this test to tell anything"
        with Server(folder) as server:
            answers.of(sources)
            all_committed(topics)
            server.stop()
    assert len(answers.records) == 10_000


def test_sigterm_to_the_door_alone(kafka_bootstrap: str, tmp_path: Path) -> None:
    """It finishes what it has, and another one takes over."""
    topics = fresh(kafka_bootstrap)
    with (
        Server(make_folder(tmp_path / "served", topics, slow(0.01))) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        sources = send(topics, numbers(10_000, "slow"))
        some_answers(answers, 500)
        server.door().terminate()
        server.wait_for("the Kafka door ended with code 0; started anew")
        answers.of(sources)
        all_committed(topics)
        server.stop()
    assert len(answers.records) == 10_000


def test_the_door_does_not_outlive_the_scheduler(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(tmp_path / "served", topics, slow(0.05))
    with Watch(kafka_bootstrap, topics.output) as answers:
        sources = send(topics, numbers(5_000, "slow"))
        with Server(folder) as server:
            some_answers(answers, 500)
            door = server.door()
            server.end(signal.SIGKILL)
            eventually(lambda: ended(door), "the door lives on", 2)
        with Server(folder) as server:
            answers.of_some(sources)
            all_committed(topics)
            server.stop()
    window = 5_000
    assert len(answers.records) <= 5_000 + window


def test_a_stopped_door_is_killed_with_the_grace(kafka_bootstrap: str, tmp_path: Path) -> None:
    """Whatever hangs, the server ends in time, and says so."""
    topics: Topics = fresh(kafka_bootstrap)
    with Server(make_folder(tmp_path / "served", topics, SUM, shutdown_grace_seconds=2)) as server:
        door = server.door()
        door.suspend()
        server.end(signal.SIGTERM)
        assert server.gone(5) == 0
        assert "did not end within its grace: killed" in server.log
        eventually(lambda: ended(door), "the door lives on", 2)


def test_a_model_that_hangs_does_not_hold_the_end(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(tmp_path / "served", topics, slow(3600), shutdown_grace_seconds=4)
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        send(topics, numbers(10, "slow"))
        server.wait_for("slow begins")
        server.end(signal.SIGTERM)
        assert server.gone(8) == 0
        server.wait_for("left for the next: 10 records")
        answers.poll()
        assert answers.records == []
