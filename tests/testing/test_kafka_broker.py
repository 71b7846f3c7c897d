"""The broker that tests and walk-throughs start, against the real thing."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaTopicPartition

from mlserver.testing.kafka import KAFKA_VERSION, Broker, BrokerError, MockBroker, create_topics, missing_tools
from mlserver.testing.kafka_jars import jars_of
from tests.kafka_fixtures import Topics

SCRIPT = Path(__file__).parents[2] / "scripts" / "kafka"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Run]:
    """Run scripts/kafka with a state directory of its own, `tmp_path`/state; what it started is stopped at the end."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = os.environ | {"MLSERVER_KAFKA_STATE": str(tmp_path / "state")} | environment
        return subprocess.run(
            [SCRIPT, *arguments], env=settings, capture_output=True, text=True, timeout=180, check=False
        )

    yield run
    run("stop")


def produce(bootstrap: str, topic: str, value: bytes, **settings: object) -> None:
    with KafkaProducer(bootstrap_servers=bootstrap, acks="all", **settings) as producer:
        producer.send(topic, value, partition=0).get(timeout=30)


def consume(bootstrap: str, topic: str, count: int, **settings: object) -> list[bytes]:
    """The topic's first `count` records, read without a group.

    By number: the mock now and then leaves a consumer of kafka-python that subscribes without a partition.
    """
    settings |= {"auto_offset_reset": "earliest", "consumer_timeout_ms": 30_000}
    with KafkaConsumer(bootstrap_servers=bootstrap, **settings) as consumer:
        consumer.assign([KafkaTopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        return [record.value for _, record in zip(range(count), consumer, strict=False)]


def read_as_group(bootstrap: str, topic: str, group: str) -> tuple[bytes | None, int]:
    """One record read as a member of the group, and the offset that the broker then has as committed."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        consumer.commit(message=message, asynchronous=False)
        return message.value(), consumer.committed([TopicPartition(topic, 0)], timeout=30)[0].offset
    finally:
        consumer.close()


def gone(pid: int) -> bool:
    """True where the process has ended; its zombie may stay for as long as nobody reaps it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_topics_are_created_once(kafka_bootstrap: str) -> None:
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    assert create_topics(kafka_bootstrap, first) == [first]
    assert create_topics(kafka_bootstrap, first, second, second) == [second]
    assert create_topics(kafka_bootstrap) == []


def test_a_topic_that_the_broker_refuses_is_an_error(kafka_bootstrap: str) -> None:
    with pytest.raises(BrokerError, match=r"^topic not/a/name: "):
        create_topics(kafka_bootstrap, "not/a/name")


def test_a_record_goes_in_and_comes_out(kafka_topics: Callable[..., Topics]) -> None:
    topics = kafka_topics(partitions=2)
    produce(topics.bootstrap, topics.input, b"one")
    assert consume(topics.bootstrap, topics.input, 1) == [b"one"]
    produce(topics.bootstrap, topics.output, b"two")
    assert consume(topics.bootstrap, topics.output, 1) == [b"two"]


def test_a_group_commits(kafka_topics: Callable[..., Topics]) -> None:
    topics = kafka_topics()
    produce(topics.bootstrap, topics.input, b"one")
    produce(topics.bootstrap, topics.input, b"two")
    assert read_as_group(topics.bootstrap, topics.input, topics.group) == (b"one", 1)
    assert read_as_group(topics.bootstrap, topics.input, topics.group) == (b"two", 2)


@pytest.mark.usefixtures("kafka_tools")
def test_records_outlive_a_restart_and_a_kill_but_not_a_stop() -> None:
    """And classes that one has loaded the next one has from an archive."""
    with Broker() as broker:
        address, pids = broker.bootstrap, [broker.pid]
        create_topics(address, "kept")
        produce(address, "kept", b"before")
        broker.restart()
        pids.append(broker.pid)
        mapped = {mapping.path for mapping in psutil.Process(broker.pid).memory_maps()}
        assert mapped & {str(archive) for archive in jars_of(KAFKA_VERSION).glob("classes-*.jsa")}
        assert consume(address, "kept", 1) == [b"before"]
        broker.kill()
        assert broker.pid is None
        broker.start()
        pids.append(broker.pid)
        produce(address, "kept", b"after")
        assert consume(address, "kept", 2) == [b"before", b"after"]
    assert len(set(pids)) == 3
    assert all(pid is not None and gone(pid) for pid in pids)
    assert not broker.data.exists()


@pytest.mark.usefixtures("kafka_tools")
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own signal at the parent's death is Linux only")
def test_a_broker_dies_with_the_test_run_that_started_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from mlserver.testing.kafka import Broker\n"
        "broker = Broker(data=pathlib.Path(sys.argv[1]))\n"
        "broker.start(); print(broker.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert psutil.Process(pid).name() == "java"
        starter.kill()
    deadline = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < deadline


@pytest.mark.usefixtures("kafka_tools")
def test_the_script_from_start_to_stop(script: Run, tmp_path: Path) -> None:
    started = script("start", "--port", "0")
    assert (started.returncode, started.stderr) == (0, "")
    address = started.stdout.strip()
    pid = json.loads((tmp_path / "state" / "broker" / "broker.json").read_text())["pid"]

    assert script("start").stdout == f"runs already: {address}\n"
    assert script("status").stdout == f"runs: {address}\n"
    assert script("topics", "one", "--partitions", "3").stdout == "one: created\n"
    assert script("topics", "one", "two").stdout == "one: exists already\ntwo: created\n"
    assert script("topics").stdout == "one: partitions 3\ntwo: partitions 1\n"

    assert script("stop").stdout == f"stopped: {address}\n"
    assert gone(pid)
    assert list((tmp_path / "state").iterdir()) == []
    assert script("stop").stdout == "no broker runs\n"
    asked = script("status")
    assert (asked.returncode, asked.stderr) == (1, "Error: no broker runs: scripts/kafka start\n")


@pytest.mark.parametrize("verb", ["stop", "status"])
def test_a_stranger_with_the_recycled_pid_is_left_alone(verb: str, script: Run, tmp_path: Path) -> None:
    data = tmp_path / "state" / "broker"
    data.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        pidfile = {"pid": stranger.pid, "mark": "1", "bootstrap": "127.0.0.1:9092"}
        (data / "broker.json").write_text(json.dumps(pidfile))
        assert "no broker runs" in "".join((script(verb).stdout, script("status").stderr))
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1}', "nonsense"])
def test_a_pidfile_that_means_nothing_counts_as_no_broker(content: str, script: Run, tmp_path: Path) -> None:
    data = tmp_path / "state" / "broker"
    data.mkdir(parents=True)
    (data / "broker.json").write_text(content)
    assert script("stop").stdout == "no broker runs\n"
    assert not data.exists()


def test_missing_tools_are_named_in_one_line(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path), "JAVA_HOME": "", "MLSERVER_KAFKA_CACHE": str(tmp_path / "cache")}
    settings = os.environ | nothing | {"MLSERVER_KAFKA_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "mlserver.testing.kafka_cli", "start", "--port", "0"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: Apache Kafka needs Java 17 or newer and Maven: please install (")
    assert done.stderr.count("\n") == 1


def test_maven_counts_only_while_the_jars_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("MLSERVER_KAFKA_CACHE", str(tmp_path / "cache"))
    assert str(missing_tools("9.9.9")).startswith("Apache Kafka needs Maven: please install")
    (tmp_path / "cache" / "9.9.9").mkdir(parents=True)
    assert missing_tools("9.9.9") is None


@pytest.mark.parametrize("version", ["0.0.1"])
def test_a_download_that_fails_leaves_nothing_to_mistake_for_a_full_one(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("java", "mvn"):
        (tmp_path / tool).write_text("#!/bin/sh\necho cannot reach it\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("MLSERVER_KAFKA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / ".new-killed").mkdir(parents=True)
    broker = Broker(version=version)
    with pytest.raises(BrokerError, match=r"^Maven could not fetch Kafka 0.0.1\n  cannot reach it$"):
        broker.start()
    assert list((tmp_path / "cache").iterdir()) == []
    assert not broker.data.exists()


@pytest.mark.usefixtures("kafka_tools")
def test_a_port_that_is_taken_is_named_in_one_line(script: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = script("start", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: port {port} is taken: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("kafka_tools")
def test_a_broker_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    broker = Broker(data=tmp_path / "data")
    broker.start()
    broker.kill()
    settings = broker.data / "server.properties"
    settings.write_text(settings.read_text().replace("node.id=1", "node.id=2"))
    with pytest.raises(BrokerError, match=r"(?s)ended while starting\n.*node.id") as failure:
        broker.start()
    assert broker.pid is None
    assert len(str(failure.value).splitlines()) <= 21
    assert broker.data.exists()
    broker.stop()
    assert not broker.data.exists()


def test_the_mock_serves_both_clients_and_a_group() -> None:
    with MockBroker() as mock:
        produce(mock.bootstrap, "topic", b"one", api_version=(2, 1))
        produce(mock.bootstrap, "topic", b"two", api_version=(2, 1))
        assert consume(mock.bootstrap, "topic", 2, api_version=(2, 1)) == [b"one", b"two"]
        assert read_as_group(mock.bootstrap, "topic", "group") == (b"one", 1)
