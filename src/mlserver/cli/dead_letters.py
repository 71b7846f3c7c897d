"""`mlserver dead-letters`: look at the records that could not be served, send them again, or be done with them."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mlserver.cli.start import one_line
from mlserver.errors import ConfigurationError

if TYPE_CHECKING:
    from mlserver.kafka.dead_letters import DeadLetter, DeadLetters

_COLUMNS = ("letter", "time (UTC)", "error", "model", "attempts", "source", "message")
_MESSAGE_CHARACTERS = 60

folder_argument = click.argument("folder", type=click.Path(exists=True, file_okay=False))
count_option = click.option("--count", type=click.IntRange(min=1), help="Only so many, the oldest first.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that could not be served over Kafka.

    The settings in FOLDER say which broker and topic. A letter is dealt with when it has been replayed or dropped;
    the topic's retention deletes it.
    """


@dead_letters.command("list")
@folder_argument
@click.option("--all", "all_", is_flag=True, help="Those too that have been dealt with.")
def list_(folder: str, all_: bool) -> None:
    """Show the letters, the oldest first."""
    with _opened(folder) as letters:
        rows = [_row(letter) for letter in letters.read(all_=all_)]
    widths = [max(len(row[column]) for row in [_COLUMNS, *rows]) for column in range(len(_COLUMNS))]
    for row in [_COLUMNS, *rows] if rows else []:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"{len(rows)} dead letters", err=True)


@dead_letters.command()
@folder_argument
@count_option
@click.option("--skip-truncated", is_flag=True, help="Pass over letters whose value or headers are missing.")
def replay(folder: str, count: int | None, skip_truncated: bool) -> None:
    """Send letters to the topics they came from: key, value and headers as they were."""
    with _opened(folder) as letters:
        found = _some(letters, count)
        whole = [letter for letter in found if letter.replayable]
        if len(whole) < len(found) and not skip_truncated:
            name = next(_name(letter) for letter in found if not letter.replayable)
            raise ConfigurationError(f"letter {name} is not whole; --skip-truncated passes over such letters")
        letters.replay(whole)
        letters.drop(found)
    click.echo(f"{len(whole)} replayed, {len(found) - len(whole)} passed over", err=True)


@dead_letters.command()
@folder_argument
@count_option
@click.option("--all", "all_", is_flag=True, help="All of them.")
def drop(folder: str, count: int | None, all_: bool) -> None:
    """Be done with letters: they are not shown or replayed any more."""
    if (count is None) is not all_:
        raise click.UsageError("give either --count or --all")
    with _opened(folder) as letters:
        found = _some(letters, count)
        letters.drop(found)
    click.echo(f"{len(found)} dropped", err=True)


def _some(letters: "DeadLetters", count: int | None) -> "Sequence[DeadLetter]":
    return list(itertools.islice(letters.read(), count))


@contextmanager
def _opened(folder: str) -> "Iterator[DeadLetters]":
    """What the settings of `folder` lead to; an error is one line, and exit status 1."""
    from pathlib import Path

    from mlserver.cli.serve import DEFAULT_SETTINGS_FILENAME
    from mlserver.kafka.dead_letters import DeadLetters
    from mlserver.settings import load_settings_env, load_settings_file

    file = Path(folder, DEFAULT_SETTINGS_FILENAME)
    try:
        settings = load_settings_file(str(file)) if file.exists() else load_settings_env()
        with _configured(lambda: DeadLetters(settings)) as letters:
            yield letters
    except ConfigurationError as error:
        click.echo(f"error: {one_line(error)}", err=True)
        sys.exit(1)


def _configured(make: "Callable[[], DeadLetters]") -> "DeadLetters":
    from confluent_kafka import KafkaException

    try:
        return make()
    except KafkaException as error:
        raise ConfigurationError(f"kafka_config: {error.args[0].str()}") from None


def _row(letter: "DeadLetter") -> Sequence[str]:
    from mlserver.logging import escaped

    said = letter.said
    stamp = said.get("timestamp", "")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(stamp) / 1000)) if stamp.isdigit() else ""
    message = said.get("message", "")
    texts = (said.get("error", ""), said.get("model", ""), said.get("attempts", ""), said.get("source", ""))
    return [_name(letter), when, *map(escaped, texts), escaped(message[:_MESSAGE_CHARACTERS])]


def _name(letter: "DeadLetter") -> str:
    return f"{letter.partition}/{letter.offset}"
