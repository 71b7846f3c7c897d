"""`mlserver dead-letters`: what it shows, sends again and leaves behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from mlserver.kafka.dead_letters import parted
from mlserver.kafka.records import Headers
from mlserver.testing.kafka import create_topics
from tests.kafka.client import Sent, Topics, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder
from tests.seed.serving import environment


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, output and error output of the command."""
    command = [sys.executable, "-m", "mlserver", "dead-letters", *map(str, arguments)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stdout, ended.stderr


def test_only_the_last_server_s_words_are_taken_off() -> None:
    own: Headers = [
        ("mlserver-model", b"m"),
        ("mlserver-dead-letter-error", b"old"),
        ("mlserver-dead-letter-source", None),
    ]
    ours: Headers = [("mlserver-dead-letter-error", b"invalid"), ("mlserver-dead-letter-source", b"in/0/7")]
    assert parted([*own, *ours]) == (own, {"error": "invalid", "source": "in/0/7"})
    assert parted(own[:1]) == (own[:1], {})


@pytest.fixture(scope="module")
def poisoned(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Topics, Path]:
    """Topics with three dead letters, and the folder of the server that wrote them."""
    topics = fresh(kafka_bootstrap)
    create_topics(kafka_bootstrap, topics.dead_letter)
    folder = make_folder(tmp_path_factory.mktemp("dead") / "served", topics, SUM)
    with Server(folder) as server, Watch(kafka_bootstrap, topics.dead_letter) as letters:
        letters.of(send(topics, [Sent(request(1.0), [*model("late"), ("x", b"\xff")], b"\x00")]))
        letters.of(send(topics, [Sent(b"{\x1b[31m", model("sum"), b"k"), Sent(b"{" * 1_048_300, model("sum"))]))
        all_committed(topics)
        server.stop()
    return topics, folder


def test_list_replay_and_drop(poisoned: tuple[Topics, Path], kafka_bootstrap: str) -> None:
    topics, folder = poisoned
    code, shown, said = run("list", folder)
    assert (code, said) == (0, "3 dead letters\n")
    assert shown.splitlines()[0].split() == [
        "letter", "time", "(UTC)", "error", "model", "attempts", "source", "message",
    ]  # fmt: skip
    assert f"{topics.input}/0/1" in shown
    assert "\x1b" not in shown
    assert run("replay", folder, "--count", 1) == (0, "", "1 replayed, 0 passed over\n")
    with Watch(kafka_bootstrap, topics.input) as inputs:
        found = inputs.until(lambda records: len(records) == 4)
    assert found[3]._replace(offset=0) == found[0]
    assert found[3].headers == [*model("late"), ("x", b"\xff")]
    assert run("list", folder)[2] == "2 dead letters\n"
    code, _, said = run("replay", folder)
    assert code == 1
    assert said == "error: letter 0/2 is not whole; --skip-truncated passes over such letters\n"
    assert run("replay", folder, "--count", 2, "--skip-truncated")[2] == "1 replayed, 1 passed over\n"
    assert run("list", folder)[1:] == ("", "0 dead letters\n")
    assert run("list", folder, "--all")[2] == "3 dead letters\n"
    assert run("drop", folder, "--all")[2] == "0 dropped\n"
    assert run("drop", folder)[0] == 2


def test_a_topic_that_is_missing(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, create=False)
    code, _, said = run("list", make_folder(tmp_path / "served", topics, SUM))
    assert code == 1
    assert said.startswith(f"error: topic {topics.dead_letter}: ")
    assert said.count("\n") == 1
