"""What a start looks for: options that librdkafka takes, topics, models."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from mlserver.testing.kafka import MockBroker, create_topics
from tests.kafka.client import Sent, Topics, Watch, eventually, fresh, lag, model, request, send
from tests.kafka.serving import SUM, Server, make_folder
from tests.seed.serving import environment

NOBODY = Topics("127.0.0.1:1", "input", "output", "dead-letter", "group")
SECRET = "hush-hush"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kafka_config": {"no.such.key": SECRET}}, 'No such configuration property: "no.such.key"'),
        ({"kafka_consumer_config": {"session.timeout.ms": SECRET}}, 'property "session.timeout.ms"'),
        ({"kafka_producer_config": {"linger.ms": -5}}, "outside allowed range 0..900000"),
        ({"kafka_config": {"oauth_cb": SECRET}}, "expected oauth_cb property as a callable function"),
        ({"kafka_config": {"security.protocol": "ssl", "ssl.ca.location": "/no/where"}}, "ssl.ca.location failed"),
        ({"kafka_consumer_config": {"auto.offset.reset": "sometimes"}}, "auto.offset.reset"),
    ],
)
def test_an_option_that_the_client_refuses(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "served", NOBODY, SUM, **settings)
    command = [sys.executable, "-m", "mlserver", "start", str(folder)]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: kafka_config: ")
    assert words in ended.stderr
    assert SECRET not in ended.stderr + ended.stdout
    assert "ready" not in ended.stdout


def test_secrets_are_not_logged(tmp_path: Path) -> None:
    """With everything said that librdkafka can say of a broker that is not there."""
    config = {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN", "sasl.username": "me",
        "sasl.password": SECRET, "debug": "security,broker,conf", "group.id": None,
    }  # fmt: skip
    with Server(make_folder(tmp_path / "served", NOBODY, SUM, kafka_config=config)) as server:
        server.wait_for("Connection refused")
        server.stop()
        assert SECRET not in server.log


def test_with_no_model_ready_nothing_is_read(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    send(topics, [Sent(request(1.0), model("unready"))])
    folder = make_folder(tmp_path / "served", topics, {"unready": {"implementation": "kitchen.Unready"}})
    server = Server(folder)
    try:
        server.wait_for("started, not ready: ")
        server.door()
        assert not server.ready()
        server.stop()
        assert "assigned" not in server.log
        assert lag(topics) == 1
    finally:
        server.__exit__()


def test_nothing_is_read_before_every_model_has_had_its_turn(kafka_bootstrap: str, tmp_path: Path) -> None:
    """Or records for the last would be refused because the first had loaded."""
    topics = fresh(kafka_bootstrap)
    last = {"zzz": {"implementation": "late.Late"}}
    folder = make_folder(tmp_path / "served", topics, {**SUM, **last})
    gate = tmp_path / "gate"
    late = f"import asyncio, pathlib\nfrom kitchen import Sum\n\nGATE = pathlib.Path({str(gate)!r})\n"
    late += "class Late(Sum):\n    async def load(self):\n        while not GATE.exists():\n"
    late += "            await asyncio.sleep(0.01)\n        return True\n"
    (folder / "late.py").write_text(late)
    sources = send(topics, [Sent(request(1.0), model("zzz"))])
    server = Server(folder)
    try:
        server.wait_for("loaded model 'sum'")
        server.door()
        with Watch(kafka_bootstrap, topics.output) as answers:
            assert answers.poll(1.0) == []
            gate.touch()
            assert answers.of(sources)[0].body["model_name"] == "zzz"
        server.stop()
    finally:
        server.__exit__()


def test_a_missing_input_topic_is_waited_for(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, create=False)
    create_topics(kafka_bootstrap, topics.output)
    with (
        Server(make_folder(tmp_path / "served", topics, SUM)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        server.wait_for(f"Subscribed topic not available: {topics.input}")
        server.wait_for(f"created topic {topics.dead_letter}")
        create_topics(kafka_bootstrap, topics.input)
        assert answers.of(send(topics, [Sent(request(1.0), model("sum"))]))[0].status == "ok"
        server.stop()


def test_a_missing_output_topic_holds_the_commit(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, create=False)
    create_topics(kafka_bootstrap, topics.input)
    sources = send(topics, [Sent(request(float(n)), model("sum")) for n in range(100)])
    config = {"topic.metadata.propagation.max.ms": 500}
    folder = make_folder(tmp_path / "served", topics, SUM, kafka_producer_config=config)
    with Server(folder) as server:
        server.wait_for(f"topic {topics.output} does not take the result of record {topics.input}/0/0")
        assert lag(topics) == 100
        assert server.ready()
        create_topics(kafka_bootstrap, topics.output)
        with Watch(kafka_bootstrap, topics.output) as answers:
            answers.of(sources)
        eventually(lambda: lag(topics) == 0, "not committed")
        assert server.log.count("does not take") == 1, "a topic that refuses is told of once a minute"
        server.stop()


def test_the_group_says_what_waits_for_it(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    send(topics, [Sent(request(1.0), model("sum"))] * 7)
    with Server(make_folder(tmp_path / "served", topics, SUM)) as server:
        server.wait_for(f"group {topics.group} starts {topics.input}/0 with earliest: 7 retained records there")
        server.stop()


def test_the_mock_broker_will_do(tmp_path: Path) -> None:
    """librdkafka's own stand-in, for whoever has no Java."""
    with MockBroker() as broker:
        topics = fresh(broker.bootstrap, create=False)
        with Server(make_folder(tmp_path / "served", topics, SUM)) as server:
            sources = send(topics, [Sent(request(1.0), model("sum")), Sent(b"?", model("sum"))])
            with Watch(broker.bootstrap, topics.output) as answers:
                assert [answer.status for answer in answers.of(sources)] == ["ok", "error"]
            server.stop()


def test_rest_answers_beside_kafka(served: Server) -> None:
    answer = requests.post(f"{served.url}/v2/models/sum/infer", data=request(1.0, 2.0), timeout=10)
    assert answer.json()["outputs"][0]["data"] == [1.0, 2.0]
