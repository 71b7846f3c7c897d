"""The verbs of `scripts/kafka`."""

import os
import shutil
import signal
from pathlib import Path

import click

from mlserver.testing.kafka import Broker, admin_of, create_topics
from mlserver.testing.kafka_jars import KAFKA_VERSION, BrokerError, alone
from mlserver.testing.kafka_process import Running


@click.group(help="A real Apache Kafka broker on this machine, to try things out with.")
def main() -> None:
    pass


@main.command(help="Start the broker and print its address, also where it runs already.")
@click.option("--port", default=9092, show_default=True, help="Where it listens on loopback; 0 takes a free port.")
@click.option("--version", default=KAFKA_VERSION, show_default=True, help="Apache Kafka's version.")
def start(port: int, version: str) -> None:
    with alone(_data().parent):
        if running := Running.find(_data()):
            click.echo(f"runs already: {running.bootstrap}")
            return
        shutil.rmtree(_data(), ignore_errors=True)  # left by a broker that ended by itself, or with the machine
        broker = Broker(port, version=version, data=_data(), daemon=True)
        broker.start()
        click.echo(broker.bootstrap)


@main.command(help="Stop the broker and remove its data.")
def stop() -> None:
    with alone(_data().parent):
        if running := Running.find(_data()):
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
    for name, topic in sorted(admin_of(bootstrap).list_topics(timeout=10).topics.items() if not names else ()):
        click.echo(f"{name}: partitions {len(topic.partitions)}")


def _data() -> Path:
    """The one directory that the verbs fill and remove; its parent is what they lock, so that they take turns."""
    return Path(os.environ.get("MLSERVER_KAFKA_STATE") or ".cache/kafka").absolute() / "broker"


def _bootstrap() -> str:
    if (running := Running.find(_data())) is None:
        raise BrokerError("no broker runs: scripts/kafka start")
    return running.bootstrap


if __name__ == "__main__":
    main(prog_name="scripts/kafka")
