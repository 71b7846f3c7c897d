"""`mlserver start`: serve the models of a folder until told to stop."""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import click

from mlserver.errors import ConfigurationError

logger = logging.getLogger("mlserver")


_EPILOG = """\b
Examples:
  mlserver start .
  MLSERVER_HTTP_PORT=9000 mlserver start models
"""


@click.command(epilog=_EPILOG)
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
def start(folder: str) -> None:
    """Serve the models in FOLDER.

    The server's settings are in FOLDER/settings.json, those of each model in a model-settings.json in FOLDER or below.
    What they leave out is taken from the environment, MLSERVER_ and the name of a setting in capitals for the server,
    MLSERVER_MODEL_ for models, and from the file .env. Ports, unless they say otherwise: REST 8080 (http_port),
    gRPC 8081 (grpc_port), metrics 8082 (metrics_port).

    Ends with status 1 and one line where a setting cannot be used or a model cannot be loaded; with 0 when it was
    stopped, by SIGTERM or Ctrl-C, after what is under way has been answered.
    """
    try:
        run(serve(folder))
    except ConfigurationError as error:
        click.echo(f"error: {one_line(error)}", err=True)
        sys.exit(1)


async def serve(folder: str) -> None:
    """Read all settings and serve until stopped. Raises ConfigurationError."""
    from mlserver.cli.neighbours import warnings
    from mlserver.cli.serve import read
    from mlserver.engine.pools import Pools
    from mlserver.grpc.forks import without_fork_handlers
    from mlserver.logging import configure_logging, held_logs

    with held_logs():
        found = await read(folder)
        configure_logging(found.settings)
    for warning in warnings():
        logger.warning("%s", warning)

    pools = Pools(found.settings)
    pools.start()
    try:
        with without_fork_handlers():
            # In a thread, while the loop starts the workers: together they take half of a start's time.
            server = await asyncio.to_thread(import_module, "mlserver.server")
        await server.MLServer(found.settings, pools).start(found.models, complete=found.complete)
    finally:
        await pools.close()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run `coroutine` on uvloop, or on asyncio's own loop on platforms without it."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(coroutine)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes uvloop's event loop; None, which stands for asyncio's, where it is not installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def one_line(error: BaseException) -> str:
    """The message of `error` with line ends and other control characters written out."""
    from mlserver.logging import escaped

    return escaped(str(error))
