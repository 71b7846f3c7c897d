"""What an Apache Kafka broker needs on disk: Java, and the jars that Maven brings into a cache."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

KAFKA_VERSION = os.environ.get("MLSERVER_KAFKA_VERSION") or "4.4.0"
DOWNLOAD_SECONDS = 900.0


class BrokerError(click.ClickException):
    """A broker or topic could not be brought up; the first line says why, the tail of a log may follow."""


def missing_tools(version: str = KAFKA_VERSION) -> str | None:
    """One line saying what to install, or None where Java is there and Maven too (or the jars are here already)."""
    tools = {"Java 17 or newer": which_java(), "Maven": (cache() / version).is_dir() or shutil.which("mvn")}
    missing = " and ".join(name for name, found in tools.items() if not found)
    hint = "Debian, Ubuntu: apt-get install default-jre-headless maven; macOS: brew install openjdk maven"
    return f"Apache Kafka needs {missing}: please install ({hint})" if missing else None


def which_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return (shutil.which("java", path=f"{home}/bin") if home else None) or shutil.which("java")


def cache() -> Path:
    return Path(os.environ.get("MLSERVER_KAFKA_CACHE") or Path.home() / ".cache" / "mlserver" / "kafka").absolute()


def jars_of(version: str) -> Path:
    """The directory with this version's jars; where it is not there yet, Maven fills it, whole or not at all."""
    jars = cache() / version
    if not jars.is_dir():
        with alone(cache()), tempfile.TemporaryDirectory(prefix=".new-", dir=cache()) as new:
            for left in set(cache().glob(".new-*")) - {Path(new)}:
                shutil.rmtree(left)  # by a download that was killed
            if not jars.is_dir():
                maven = [str(shutil.which("mvn")), "-B", "-q", "-Dstyle.color=never", "-f"]
                maven += [str(Path(__file__).with_name("kafka-broker.pom.xml")), "dependency:copy-dependencies"]
                settings = [f"-DoutputDirectory={new}/jars", f"-Dkafka.version={version}"]
                run([*maven, *settings], DOWNLOAD_SECONDS, f"Maven could not fetch Kafka {version}")
                Path(new, "jars").rename(jars)
    return jars


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Make the directory, and keep out every other process that asks the same for it."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def run(command: list[str], timeout_s: float, failure: str) -> str:
    """What the command printed; BrokerError with `failure` and the last lines of that where it failed."""
    try:
        return subprocess.check_output(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
    except subprocess.CalledProcessError as exc:
        raise BrokerError(f"{failure}{tail(exc.output)}") from exc
    except subprocess.TimeoutExpired as exc:
        raise BrokerError(f"{failure}: not done after {timeout_s:.0f} s") from exc


def tail(log: str) -> str:
    return "".join(f"\n  {line}" for line in log.splitlines()[-20:])
