"""A run of the batch client: workers that share the lines of one file, and one file that the answers go to."""

import asyncio
import contextlib
import logging
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mlserver.batch_processing.lines import BadLine, Line, read_lines
from mlserver.batch_processing.options import BatchOptions
from mlserver.batch_processing.results import Results, Summary
from mlserver.batch_processing.sender import Sender
from mlserver.batch_processing.transport import Transport
from mlserver.errors import ConfigurationError

logger = logging.getLogger("mlserver.batch")


async def process_batch(**options: Any) -> Summary:
    """Send every line of a file to a model and write the answers to another; how many lines got which.

    The options are the fields of `BatchOptions`. Every line gets exactly one line of output, an answer or an error, in
    the order of the answers; `parameters.batch_index` is the place of its line. Raises ConfigurationError, before
    anything is sent, for options that cannot be used and files that cannot be opened.
    """
    given = BatchOptions(**options)
    transport = _transport(given)
    try:
        with _files(given) as (source, sink), _bar(given) as bar:
            results = Results(sink, bar.update)
            await _run(given, source, Sender(transport, given.retries, results))
            return results.summary
    finally:
        await transport.close()


async def _run(options: BatchOptions, source: IO[bytes], sender: Sender) -> None:
    lines = read_lines(source)
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(options.workers):
                tasks.create_task(_work(options, lines, sender))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _work(options: BatchOptions, lines: Iterator[Line | BadLine], sender: Sender) -> None:
    """Take the next lines and send them, until there are none."""
    while taken := list(islice(lines, options.batch_size)):
        await sender.send(taken)
        pause = options.batch_interval + random.uniform(0, options.batch_jitter)  # noqa: S311 - no secret
        if pause:
            await asyncio.sleep(pause)


def _transport(options: BatchOptions) -> Transport:
    """The way to the server; what it needs is imported only where it is taken."""
    if options.transport == "grpc":
        from mlserver.batch_processing.grpc import GrpcTransport

        return GrpcTransport(options)
    from mlserver.batch_processing.rest import RestTransport

    return RestTransport(options)


@contextlib.contextmanager
def _files(options: BatchOptions) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The input and the output, opened in this order, so that a wrong input leaves an old output as it was."""
    if options.input_data_path != "-" and _same(options.input_data_path, options.output_data_path):
        raise ConfigurationError(f"output_data_path: {options.output_data_path} is the input")
    with contextlib.ExitStack() as stack:
        source = _open(options.input_data_path, "input", stack)
        yield source, _open(options.output_data_path, "output", stack)


def _open(path: str, side: str, stack: contextlib.ExitStack) -> IO[bytes]:
    """A file of `stack`, or standard input or output, which are nobody's to close."""
    if path == "-":
        return sys.stdin.buffer if side == "input" else sys.stdout.buffer
    try:
        return stack.enter_context(open(path, "rb" if side == "input" else "wb"))
    except OSError as error:
        raise ConfigurationError(f"{side}_data_path: {path}: {error.strerror or error}") from None


def _same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


@contextlib.contextmanager
def _bar(options: BatchOptions) -> Iterator["tqdm[Any]"]:
    """A bar on standard error where that is a terminal; what is logged meanwhile goes above it."""
    total = None if not sys.stderr.isatty() else _count(options.input_data_path)
    with tqdm(total=total, unit="line", disable=None, file=sys.stderr) as bar, logging_redirect_tqdm([logger]):
        yield bar


def _count(path: str) -> int | None:
    """How many lines that are not blank a file has; None where it can be read only once."""
    if not Path(path).is_file():
        return None
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip())
