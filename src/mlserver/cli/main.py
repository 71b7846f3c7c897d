"""The command group. Every command imports what it needs when it runs, so that `--help` is quick."""

import click

from mlserver.cli.dead_letters import dead_letters
from mlserver.cli.start import start
from mlserver.version import __version__


@click.group()
@click.version_option(__version__, prog_name="mlserver", message="%(prog)s, version %(version)s")
def root() -> None:
    """Serve machine-learning models over REST and Kafka."""


root.add_command(start)
root.add_command(dead_letters)


def main() -> None:
    """Run the command line: exit status 0, 1 where a command failed, 2 where it was called wrongly."""
    root(prog_name="mlserver")
