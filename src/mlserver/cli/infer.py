"""`mlserver infer`: the requests of a file, answered by a running server."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from mlserver.errors import ConfigurationError

_EPILOG = """\b
Examples:
  mlserver infer -m iris -i requests.jsonl -o answers.jsonl
  mlserver infer -u models.example.com:443 --use-ssl -m iris -i - -o - < requests.jsonl
"""


def _env(name: str) -> str:
    return f"MLSERVER_INFER_{name}"


@click.command(epilog=_EPILOG)
@click.option("-u", "--url", default="localhost:8080", show_default=True, envvar=_env("URL"), help="Server to ask.")
@click.option("-m", "--model-name", required=True, envvar=_env("MODEL_NAME"), help="Model to ask.")
@click.option(
    "-i", "--input-data-path", required=True, envvar=_env("INPUT_DATA_PATH"), metavar="FILE",
    help="Inference requests, one JSON object per line; '-' reads standard input.",
)  # fmt: skip
@click.option(
    "-o", "--output-data-path", required=True, envvar=_env("OUTPUT_DATA_PATH"), metavar="FILE",
    help="Where the answers go, one per line; '-' writes to standard output.",
)  # fmt: skip
@click.option(
    "-w", "--workers", default=10, show_default=True, type=click.IntRange(1), envvar=_env("WORKERS"),
    help="Requests that are under way at once.",
)  # fmt: skip
@click.option(
    "-r", "--retries", default=3, show_default=True, type=click.IntRange(0), envvar=_env("RETRIES"),
    help="Tries after the first one, where the server cannot be reached, is busy or fails.",
)  # fmt: skip
@click.option(
    "-s", "--batch-size", default=1, show_default=True, type=click.IntRange(1), envvar=_env("BATCH_SIZE"),
    help="Lines that go into one request at most.",
)  # fmt: skip
@click.option(
    "-b", "--binary-data", is_flag=True, envvar=_env("BINARY_DATA"),
    help="Send tensors in binary and ask for binary answers. Needs a server that can.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, envvar=_env("VERBOSE"), help="Tell of retries and of lines that fail.")
@click.option("-vv", "--extra-verbose", is_flag=True, envvar=_env("EXTRA_VERBOSE"), help="Tell of every request, too.")
@click.option(
    "-t", "--transport", default="rest", show_default=True, type=click.Choice(["rest", "grpc"]),
    envvar=_env("TRANSPORT"), help="How to ask.",
)  # fmt: skip
@click.option(
    "-H", "--request-headers", multiple=True, envvar=_env("REQUEST_HEADERS"), metavar="'NAME: VALUE'",
    help="Header of every request; may be given several times. In the variable they are separated by spaces.",
)  # fmt: skip
@click.option(
    "--timeout", default=60.0, show_default=True, type=click.FloatRange(0, min_open=True),
    envvar=_env("CONNECTION_TIMEOUT"), help="Seconds until a try is given up.",
)  # fmt: skip
@click.option(
    "--batch-interval", default=0.0, show_default=True, type=click.FloatRange(0), envvar=_env("BATCH_INTERVAL"),
    help="Seconds that a worker waits between its requests.",
)  # fmt: skip
@click.option(
    "--batch-jitter", default=0.0, show_default=True, type=click.FloatRange(0), envvar=_env("BATCH_JITTER"),
    help="A random part of so many seconds is added to that.",
)  # fmt: skip
@click.option("--use-ssl", is_flag=True, envvar=_env("USE_SSL"), help="Speak TLS; a URL with https:// does so too.")
@click.option("--insecure", is_flag=True, envvar=_env("INSECURE"), help="Take any certificate.")
@click.pass_context
def infer(context: click.Context, /, **given: Any) -> None:
    """Ask a running server to answer a file of inference requests.

    Every line gets one line of output, in the order of the answers: the response, with the place of its line, counted
    from 0, as "batch_index" and the id of the request it went with as "inference_id" in its "parameters"; or an
    "error" in place of the outputs. A line that is wrong harms no other one.

    Ends with status 1 where a line got an error. Each option may also be a variable: MLSERVER_INFER_MODEL_NAME.
    """
    verbose, extra = given.pop("verbose"), given.pop("extra_verbose")
    _log_to_stderr(logging.DEBUG if extra else logging.INFO if verbose else logging.WARNING)
    from_variable = context.get_parameter_source("request_headers") is ParameterSource.ENVIRONMENT
    headers = given.pop("request_headers")
    try:
        _run(given, _joined(headers) if from_variable else headers)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'output'}: {error.strerror or error}") from None


def _run(given: dict[str, Any], headers: Sequence[str]) -> None:
    from mlserver.batch_processing import process_batch
    from mlserver.batch_processing.options import parse_headers
    from mlserver.logging import escaped

    summary = asyncio.run(process_batch(**given, request_headers=parse_headers(headers)))
    if summary.first_failure is not None:
        place, message = summary.first_failure
        lines = f"{summary.failed} of {summary.total} lines"
        click.echo(f"error: {lines} failed, first line {place}: {escaped(message)}", err=True)
        sys.exit(1)


def _joined(words: Sequence[str]) -> list[str]:
    """The headers of a variable, which click has split at its spaces: `A: 1 B:2` are `A:1` and `B:2`."""
    headers: list[str] = []
    for word in words:
        if headers and headers[-1].endswith(":"):
            headers[-1] += word
        else:
            headers.append(word)
    return headers


def _log_to_stderr(level: int) -> None:
    """Standard output may be where the answers go."""
    logger = logging.getLogger("mlserver.batch")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)
