"""A real Apache Kafka broker (one node, KRaft mode) for tests and walk-throughs, and an in-memory stand-in for it.

In Python: ``with Broker() as broker: ... broker.bootstrap``. In a shell: ``scripts/kafka start``.
Needs Java and, the first time, Maven; the jars are kept in ``MLSERVER_KAFKA_CACHE`` (``~/.cache/mlserver/kafka``).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from mlserver.testing.kafka_jars import KAFKA_VERSION, BrokerError, jars_of, missing_tools, run, tail, which_java
from mlserver.testing.kafka_java import Classes
from mlserver.testing.kafka_process import HOST, POLL_SECONDS, Running, free_port, is_free, start_mark
from mlserver.testing.kafka_relayed import Relayed
from mlserver.testing.kafka_secure import Secure

__all__ = ["KAFKA_VERSION", "Broker", "BrokerError", "MockBroker", "create_topics", "missing_tools"]

START_SECONDS = 90.0
_JAVA = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.awt.headless=true", "-Dlog4j2.level=WARN"]
# Linux only: the kernel kills the process when the thread that started it ends; exec keeps that, and the pid.
_DIE_WITH_STARTER = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_SERVER = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller}
log.dirs={records}
auto.create.topics.enable=false
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# After a kill the broker waits until its former life has timed out; by default that takes 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def create_topics(bootstrap: str, *names: str, partitions: int = 1) -> list[str]:
    """Create the topics that are missing, and wait until each of `names` has a leader for every partition.

    Returns those newly created. Raises BrokerError where the broker refuses one or is silent for 30 s.
    """
    admin, created = admin_of(bootstrap), []
    wanted = [NewTopic(name, num_partitions=partitions) for name in dict.fromkeys(names)]
    for name, future in (admin.create_topics(wanted, request_timeout=30) if wanted else {}).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BrokerError(f"topic {name}: {exc.args[0].str()}") from exc
    _wait(lambda: _have_leaders(admin, names), 30, lambda: f"not ready after 30 s: {', '.join(names)}")
    return created


class Broker:
    """One Apache Kafka broker of our own, on loopback; a context manager that starts it and removes all it wrote.

    `port` 0 takes a free one; `data` is the directory it may fill and remove (default: a temporary one). The broker
    dies with the thread that started it (Linux), even if that is killed; with `daemon` it outlives its starter.
    One that is `lasting` is slower to start and quicker afterwards: to measure with.
    With `beside` it also listens at `bootstrap_beside`: `Secure` for those who can show what that asks for, `Relayed`
    for those who come through something that stands in between.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        lasting: bool = False,
        version: str = KAFKA_VERSION,
        data: Path | None = None,
        daemon: bool = False,
        beside: Secure | Relayed | None = None,
    ) -> None:
        self.port = port or free_port()
        self._beside = beside
        self.port_beside = free_port(self.port) if beside else 0
        self.bootstrap_beside = f"{HOST}:{self.port_beside}"
        self.bootstrap = f"{HOST}:{self.port}"
        self.version = version
        self._lasting = lasting
        self.data = (data or Path(tempfile.gettempdir(), f"mlserver-kafka-{uuid.uuid4().hex}")).absolute()
        self._daemon = daemon
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id, or None while it does not run."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, with the records of before where there are any, and wait until it answers (at most 90 s).

        Raises BrokerError where a tool is missing, the port is taken, or the broker ends or stays silent.
        """
        if missing := missing_tools(self.version):
            raise BrokerError(missing)
        if not is_free(self.port):
            raise BrokerError(
                f"port {self.port} is taken: stop what listens there, or choose another (0: any free one)"
            )
        fresh = not self.data.exists()
        try:
            self._spawn()
            admin = admin_of(self.bootstrap)
            _wait(
                lambda: self._answers(admin),
                START_SECONDS,
                lambda: self._failure(f"no answer after {START_SECONDS:.0f} s"),
            )
        except BaseException:
            self.kill()
            if fresh:
                shutil.rmtree(self.data, ignore_errors=True)
            raise

    def stop(self) -> None:
        """End it, with SIGKILL where SIGTERM has not after 20 s, and remove its data; no error where it is gone."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.data, ignore_errors=True)

    def kill(self) -> None:
        """End it as a crash would, with SIGKILL; its data stay, and start() goes on with them."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it with SIGTERM and start it again on the same port and data; errors as those of start()."""
        self._end(signal.SIGTERM)
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            if running := Running.find(self.data):
                running.end(how)
            self._process.kill()
            code = self._process.wait()
            self._process = None
            if not self._lasting:
                self._classes().keep(code)

    def _classes(self) -> Classes:
        return Classes(str(which_java()), jars_of(self.version), self.data / "classes.jsa")

    def _prepare(self) -> list[str]:
        """The command line up to the main class; the first time, also write the settings and format the storage."""
        temporary, records, server = (self.data / name for name in ("tmp", "records", "server.properties"))
        java = [str(which_java()), *_JAVA, f"-Djava.io.tmpdir={temporary}", "-cp", f"{jars_of(self.version)}/*"]
        if not self._lasting:
            java += self._classes().reading()
        if not (records / "meta.properties").exists():
            temporary.mkdir(parents=True, exist_ok=True)
            controller = free_port(self.port, self.port_beside)
            settings = _SERVER.format(host=HOST, records=records, port=self.port, controller=controller)
            tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", uuid.uuid4().hex, "-c", str(server)]
            if self._beside is not None:
                settings += self._beside.properties(self.port, self.port_beside, controller)
                tool += self._beside.credentials()
            server.write_text(settings)
            run([*java, *tool], START_SECONDS, f"Kafka {self.version} could not format its storage")
        return java

    def _spawn(self) -> None:
        java = self._prepare()
        if not (self._lasting or self._daemon):
            java += self._classes().writing()
        command = [*java, "kafka.Kafka", str(self.data / "server.properties")]
        if sys.platform == "linux" and not self._daemon:
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_STARTER, str(os.getpid()), *command]
        with (self.data / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command, cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        running = Running(self._process.pid, start_mark(self._process.pid), self.bootstrap)
        (self.data / "broker.json").write_text(json.dumps(running._asdict()))

    def _answers(self, admin: AdminClient) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise BrokerError(self._failure("ended while starting"))
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
            return any(broker.port == self.port for broker in admin.list_topics(timeout=1).brokers.values())
        except (OSError, KafkaException):
            return False

    def _failure(self, what: str) -> str:
        return f"Kafka {self.version} at {self.bootstrap} {what}{tail((self.data / 'broker.log').read_text())}"


class MockBroker:
    """librdkafka's built-in mock cluster as a context manager: in this process, in memory, good for one run only.

    No Java. Topics come into being by their first use, with 4 partitions. Fit for producing, and for consuming without
    a group or as a group's first member, with commits; one that joins after the last member left is given nothing.
    Not fit for anything about transactions: it does not hide an aborted record from `read_committed`. kafka-python
    cannot read its answer about protocol versions: give that client ``api_version=(2, 1)``.
    """

    def __init__(self) -> None:
        self.bootstrap = ""
        self._owner: Producer | None = None

    def __enter__(self) -> Self:
        self._owner = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._owner.list_topics(timeout=10).brokers.values()
        self.bootstrap = f"{broker.host}:{broker.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._owner = None


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})


def _have_leaders(admin: AdminClient, names: tuple[str, ...]) -> bool:
    topics = admin.list_topics(timeout=10).topics
    found = [topics[name].partitions for name in names if name in topics]
    return len(found) == len(names) and all(p and all(part.leader >= 0 for part in p.values()) for p in found)


def _wait(condition: Callable[[], bool], timeout_s: float, failure: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BrokerError(failure())
        time.sleep(POLL_SECONDS)
