"""The command group. Every command imports what it needs when it runs, so that `--help` is quick."""

import click

from mlserver.cli.build import build, dockerfile
from mlserver.cli.dead_letters import dead_letters
from mlserver.cli.infer import infer
from mlserver.cli.init import init
from mlserver.cli.start import start
from mlserver.version import __version__

_EPILOG = """\b
Begin with:
  mlserver init my-model
  mlserver start my-model

`mlserver COMMAND --help` says more of each.
"""


@click.group(epilog=_EPILOG)
@click.version_option(__version__, prog_name="mlserver", message="%(prog)s, version %(version)s")
def root() -> None:
    """Serve machine-learning models over REST, gRPC and Kafka."""


for command in (start, init, infer, dockerfile, build, dead_letters):
    root.add_command(command)


def main() -> None:
    """Run the command line: exit status 0, 1 where a command failed, 2 where it was called wrongly."""
    root(prog_name="mlserver")
