"""The log's way out of a process: nothing is lost by a sudden end, a fork or a descriptor that does not wait."""

import os
import subprocess
import sys

import pytest

HEAD = """
import logging, os, sys
from mlserver.logging import configure_logging, logger
from mlserver.settings import Settings
configure_logging(Settings())
"""
PATIENCE_SECONDS = 60


def run(script: str, **environ: str) -> list[str]:
    """What a script of its own process logs, without the times."""
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + script],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert ended.stderr == ""
    return [line.partition(" - ")[2] for line in ended.stdout.splitlines()]


def test_last_words() -> None:
    assert run("logger.info('a'); logger.info('b'); os._exit(0)") == ["a", "b"]


def test_many_lines_keep_their_order() -> None:
    assert run("for i in range(5000): logger.info('%d', i)") == [str(number) for number in range(5000)]


def test_a_fork() -> None:
    # Python warns of forks beside threads; that they work here is what this is about.
    script = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
logger.info("before")
child = os.fork()
logger.info("in the child" if child == 0 else "in the parent")
if child:
    os.waitpid(child, 0)
"""
    before, *after = run(script)
    assert before == "before"
    assert sorted(after) == ["in the child", "in the parent"]


def test_what_the_encoding_has_not_is_written_out() -> None:
    assert run("logger.info('caf\\xe9')", PYTHONIOENCODING="ascii") == ["caf\\xe9"]


@pytest.mark.parametrize("stdout", ["None", "open(os.devnull, 'w')", "open('/dev/full', 'w')"])
def test_standard_output_of_any_kind_raises_nothing(stdout: str) -> None:
    assert run(f"sys.stdout = {stdout}; logger.info('a')\nsys.stdout = sys.__stdout__; logger.info('b')") == ["b"]


def test_a_closed_standard_output_raises_nothing() -> None:
    assert run("sys.stdout.close(); logger.info('a')") == []


def test_a_descriptor_that_does_not_wait() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    script = f"{HEAD}for i in range(300): logger.info('%d %s', i, 'x' * 1000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=writer) as process, os.fdopen(reader) as lines:
        os.close(writer)
        found = [line.split()[-2] for line in lines]
    assert process.returncode == 0
    assert found == [str(number) for number in range(300)]
