"""A real Apache Kafka broker (one node, KRaft mode) for tests and walk-throughs, and an in-memory stand-in for it.

In Python: ``with Broker() as broker: ... broker.bootstrap``. In a shell: ``python -m mlserver.testing.kafka start``.
Needs Java and, the first time, Maven; the jars are kept in ``MLSERVER_KAFKA_CACHE`` (``~/.cache/mlserver/kafka``).
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import click
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

KAFKA_VERSION = os.environ.get("MLSERVER_KAFKA_VERSION") or "4.4.0"
HOST = "127.0.0.1"
START_S, STOP_S, DOWNLOAD_S, POLL_S = 90.0, 20.0, 900.0, 0.02
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


class BrokerError(click.ClickException):
    """A broker or topic could not be brought up; the first line says why, the tail of a log may follow."""


def missing_tools(version: str = KAFKA_VERSION) -> str | None:
    """One line saying what to install, or None where Java is there and Maven too (or the jars are here already)."""
    tools = {"Java 17 or newer": _which_java(), "Maven": (_cache() / version).is_dir() or shutil.which("mvn")}
    missing = " and ".join(name for name, found in tools.items() if not found)
    hint = "Debian, Ubuntu: apt-get install default-jre-headless maven; macOS: brew install openjdk maven"
    return f"Apache Kafka needs {missing}: please install ({hint})" if missing else None


def create_topics(bootstrap: str, *names: str, partitions: int = 1) -> list[str]:
    """Create the topics that are missing, and wait until each of `names` has a leader for every partition.

    Returns those newly created. Raises BrokerError where the broker refuses one or is silent for 30 s.
    """
    admin, created = _admin(bootstrap), []
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
    """

    def __init__(
        self, port: int = 0, *, version: str = KAFKA_VERSION, data: Path | None = None, daemon: bool = False
    ) -> None:
        self.port = port or _free_port()
        self.bootstrap = f"{HOST}:{self.port}"
        self.version = version
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
        if not _is_free(self.port):
            raise BrokerError(
                f"port {self.port} is taken: stop what listens there, or choose another (0: any free one)"
            )
        fresh = not self.data.exists()
        try:
            self._spawn()
            admin = _admin(self.bootstrap)
            _wait(lambda: self._answers(admin), START_S, lambda: self._failure(f"no answer after {START_S:.0f} s"))
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
            if running := _Running.find(self.data):
                running.end(how)
            self._process.kill()
            self._process.wait()
            self._process = None

    def _prepare(self) -> list[str]:
        """The command line up to the main class; the first time, also write the settings and format the storage."""
        temporary, records, server = (self.data / name for name in ("tmp", "records", "server.properties"))
        java = [str(_which_java()), *_JAVA, f"-Djava.io.tmpdir={temporary}", "-cp", f"{_jars(self.version)}/*"]
        if not (records / "meta.properties").exists():
            temporary.mkdir(parents=True, exist_ok=True)
            ports = {"port": self.port, "controller": _free_port(self.port)}
            server.write_text(_SERVER.format(host=HOST, records=records, **ports))
            tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", uuid.uuid4().hex, "-c", str(server)]
            _run([*java, *tool], START_S, f"Kafka {self.version} could not format its storage")
        return java

    def _spawn(self) -> None:
        command = [*self._prepare(), "kafka.Kafka", str(self.data / "server.properties")]
        if sys.platform == "linux" and not self._daemon:
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_STARTER, str(os.getpid()), *command]
        with (self.data / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command, cwd=self.data, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        running = _Running(self._process.pid, _start_mark(self._process.pid), self.bootstrap)
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
        return f"Kafka {self.version} at {self.bootstrap} {what}{_tail((self.data / 'broker.log').read_text())}"


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


class _Running(NamedTuple):
    """A running broker; the mark (its start) tells it from a stranger to whom the system gave the same pid."""

    pid: int
    mark: str
    bootstrap: str

    @classmethod
    def find(cls, data: Path) -> Self | None:
        """The broker whose data are there, or None where it does not run."""
        try:
            found = cls(**json.loads((data / "broker.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.mark and _start_mark(found.pid) == found.mark else None

    def end(self, how: signal.Signals) -> None:
        """Send `how`, and SIGKILL where that has not ended it within 20 s; returns when it is gone."""
        deadline = time.monotonic() + STOP_S
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
            while _start_mark(self.pid) == self.mark:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(POLL_S)


def _start_mark(pid: int) -> str:
    """When the process started, in the system's own terms; empty where there is none, or only its zombie."""
    try:
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            state, mark = fields[0], fields[19]
        else:
            state, _, mark = _run(["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], 10, "ps failed").partition(" ")
    except (OSError, BrokerError):
        return ""
    return "" if state[:1] in "ZX" else mark.strip()


def _run(command: list[str], timeout_s: float, failure: str) -> str:
    """What the command printed; BrokerError with `failure` and the last lines of that where it failed."""
    try:
        return subprocess.check_output(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
    except subprocess.CalledProcessError as exc:
        raise BrokerError(f"{failure}{_tail(exc.output)}") from exc
    except subprocess.TimeoutExpired as exc:
        raise BrokerError(f"{failure}: not done after {timeout_s:.0f} s") from exc


def _which_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")


def _cache() -> Path:
    return Path(os.environ.get("MLSERVER_KAFKA_CACHE") or Path.home() / ".cache" / "mlserver" / "kafka").absolute()


def _jars(version: str) -> Path:
    """The directory with this version's jars; where it is not there yet, Maven fills it, whole or not at all."""
    jars = _cache() / version
    if not jars.is_dir():
        with _alone(_cache()), tempfile.TemporaryDirectory(prefix=".new-", dir=_cache()) as new:
            for left in set(_cache().glob(".new-*")) - {Path(new)}:
                shutil.rmtree(left)  # by a download that was killed
            if not jars.is_dir():
                maven = [str(shutil.which("mvn")), "-B", "-q", "-Dstyle.color=never", "-f"]
                maven += [str(Path(__file__).with_name("kafka-broker.pom.xml")), "dependency:copy-dependencies"]
                settings = [f"-DoutputDirectory={new}/jars", f"-Dkafka.version={version}"]
                _run([*maven, *settings], DOWNLOAD_S, f"Maven could not fetch Kafka {version}")
                Path(new, "jars").rename(jars)
    return jars


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Make the directory, and keep out every other process that asks the same for it."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def _free_port(taken: int = 0) -> int:
    """A free port below those the system gives to clients, so that none of them sits on it during a restart."""
    while (port := 15000 + secrets.randbelow(15000)) == taken or not _is_free(port):
        pass
    return port


def _admin(bootstrap: str) -> AdminClient:
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
        time.sleep(POLL_S)


def _tail(log: str) -> str:
    return "".join(f"\n  {line}" for line in log.splitlines()[-20:])


@click.group(help="A real Apache Kafka broker on this machine, to try things out with.")
def main() -> None:
    pass


@main.command(help="Start the broker and print its address, also where it runs already.")
@click.option("--port", default=9092, show_default=True, help="Where it listens on loopback; 0 takes a free port.")
@click.option("--version", default=KAFKA_VERSION, show_default=True, help="Apache Kafka's version.")
def start(port: int, version: str) -> None:
    with _alone(_data().parent):
        if running := _Running.find(_data()):
            click.echo(f"runs already: {running.bootstrap}")
            return
        shutil.rmtree(_data(), ignore_errors=True)  # left by a broker that ended by itself, or with the machine
        broker = Broker(port, version=version, data=_data(), daemon=True)
        broker.start()
        click.echo(broker.bootstrap)


@main.command(help="Stop the broker and remove its data.")
def stop() -> None:
    with _alone(_data().parent):
        if running := _Running.find(_data()):
            running.end(signal.SIGTERM)
        shutil.rmtree(_data(), ignore_errors=True)
        click.echo(f"stopped: {running.bootstrap}" if running else "no broker runs")


@main.command(help="Print where the broker runs; the exit code is 1 where none does.")
def status() -> None:
    click.echo(f"runs: {_bootstrap()}")


@main.command(help="Create the topics named (one that exists is no error); with no names, list those there are.")
@click.argument("names", nargs=-1)
@click.option("--partitions", default=1, show_default=True, help="Partitions of each topic created.")
def topics(names: tuple[str, ...], partitions: int) -> None:
    bootstrap = _bootstrap()
    created = create_topics(bootstrap, *names, partitions=partitions)
    for name in names:
        click.echo(f"{name}: {'created' if name in created else 'exists already'}")
    for name, topic in sorted(_admin(bootstrap).list_topics(timeout=10).topics.items() if not names else ()):
        click.echo(f"{name}: partitions {len(topic.partitions)}")


def _data() -> Path:
    """The one directory that the verbs fill and remove; its parent is what they lock, so that they take turns."""
    return Path(os.environ.get("MLSERVER_KAFKA_STATE") or ".cache/kafka").absolute() / "broker"


def _bootstrap() -> str:
    if (running := _Running.find(_data())) is None:
        raise BrokerError("no broker runs: scripts/kafka start")
    return running.bootstrap


if __name__ == "__main__":
    main(prog_name="scripts/kafka")
