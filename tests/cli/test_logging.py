"""The log: its two forms, what configures it, and that no message can pass for more than one."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.context import model_context
from mlserver.errors import ConfigurationError
from mlserver.logging import configure_logging, escaped, held_logs, logger
from mlserver.settings import ModelSettings, Settings

pytestmark = pytest.mark.usefixtures("here")

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture(autouse=True)
def _logger_as_before() -> Iterator[None]:
    names = (None, "mlserver", "mlserver.below")
    before = [(found, found.level, [*found.handlers]) for found in map(logging.getLogger, names)]
    yield
    for found, level, handlers in before:
        found.setLevel(level)
        found.handlers = handlers


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    logger.info("one %s", "two")
    logger.debug("not shown")
    logging.getLogger("mlserver.below").warning("below")
    with model_context(ModelSettings(name="m", implementation="a.B")):
        logger.info("without a version")
    with model_context(ModelSettings(name="m", implementation="a.B", parameters={"version": "v1"})):
        logger.error("with one")
    with model_context(ModelSettings(name="m", implementation="a.B"), "id\n1"):
        logger.info("of a request")
    logger.info("outside")
    found = lines(capsys)
    expected = [
        r"\[mlserver\] INFO - one two",
        r"\[mlserver\.below\] WARNING - below",
        r"\[mlserver\]\[m\] INFO - without a version",
        r"\[mlserver\]\[m:v1\] ERROR - with one",
        r"\[mlserver\]\[m\]\[id\\n1\] INFO - of a request",
        r"\[mlserver\] INFO - outside",
    ]
    assert len(found) == len(expected)
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(f"{TIME} {pattern}", line)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(use_structured_logging=True, debug=True))
    logger.debug('quote " and\nline %s', "\x1b[31m")
    with model_context(ModelSettings(name="m", implementation="a.B", parameters={"version": "v1"})):
        logger.info("in a model")
    with model_context(ModelSettings(name="m", implementation="a.B"), "7" * 1000):
        logger.info("of a request")
    logger.info("of another", extra={"request_id": "8"})
    logger.info("of none")
    first, second, third, fourth, fifth = map(json.loads, lines(capsys))
    assert re.fullmatch(TIME, first.pop("time"))
    assert first == {"name": "mlserver", "level": "DEBUG", "message": 'quote " and\nline \x1b[31m'}
    assert list(second) == ["time", "name", "level", "message", "model_name", "model_version"]
    assert (second["model_name"], second["model_version"]) == ("m", "v1")
    assert (third["request_id"], fourth["request_id"]) == ("7" * 256, "8")
    assert "request_id" not in second.keys() | fifth.keys()


@pytest.mark.parametrize("structured", [False, True])
def test_tracebacks(structured: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(use_structured_logging=structured))
    try:
        raise ValueError("a\n2026-01-01 00:00:00,000 [mlserver] INFO - forged\x1b[2J")
    except ValueError:
        logger.exception("failed")
    found = lines(capsys)
    if structured:
        assert len(found) == 1
        assert "Traceback" in json.loads(found[0])["exception"]
    else:
        assert found[0].endswith("ERROR - failed")
        assert found[1].strip() == "Traceback (most recent call last):"
        assert all(line.startswith("  ") for line in found[1:])
        assert "\x1b" not in "".join(found)


def test_a_message_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    logger.info("model %s", "x\r\n2026-01-01 [mlserver] INFO - forged\x1b[2K\x85\u2028\ud800\x00\t.")
    (line,) = lines(capsys)
    assert line.endswith(r"model x\r\n2026-01-01 [mlserver] INFO - forged\x1b[2K\x85\u2028\ud800\x00" + "\t.")


@given(st.text())
def test_escaped_text_is_one_harmless_line(text: str) -> None:
    found = escaped(text)
    assert len(found.splitlines()) <= 1
    assert found.encode().decode() == found
    assert found == text or not (text.isprintable() and text.isascii())


def test_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    configure_logging(Settings(use_structured_logging=True))
    logger.info("once")
    (line,) = lines(capsys)
    assert json.loads(line)["message"] == "once"


CONFIG = {
    "formatters": {"own": {"format": "own %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stdout"}},
    "loggers": {"mlserver": {"handlers": ["own"], "level": "ERROR"}},
}
INI = """[loggers]
keys=root,mlserver
[handlers]
keys=own
[formatters]
keys=own
[logger_root]
handlers=
[logger_mlserver]
qualname=mlserver
handlers=own
level=ERROR
[handler_own]
class=StreamHandler
args=(sys.stdout,)
formatter=own
[formatter_own]
format=own %(message)s
"""


@pytest.mark.parametrize("form", ["object", "own.json", "own.ini"])
def test_logging_settings(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.json").write_text(json.dumps({"version": 1, **CONFIG}))
    Path("own.ini").write_text(INI)
    bystander = logging.getLogger("bystander")
    configure_logging(Settings(logging_settings=CONFIG if form == "object" else form))
    logger.warning("below the level")
    logger.error("shown")
    assert lines(capsys) == ["own shown"]
    assert bystander.disabled is False


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("none.json", "none.json: FileNotFoundError: [Errno 2] No such file or directory: 'none.json'"),
        ("bad.json", "bad.json: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("list.json", "list.json: TypeError: 'list' object is not a mapping"),
        ({"handlers": {"x": {"class": "no.Where"}}}, "ValueError: Unable to configure handler 'x'"),
    ],
)
def test_logging_settings_that_cannot_be_applied(given: Any, line: str) -> None:
    Path("bad.json").touch()
    Path("list.json").write_text("[1]")
    with pytest.raises(ConfigurationError) as caught:
        configure_logging(Settings(logging_settings=given))
    assert str(caught.value) == f"logging_settings: cannot be applied: {line}"


@pytest.mark.parametrize("name", ["none.ini", "empty.ini"])
def test_ini_files_that_cannot_be_applied(name: str) -> None:
    Path("empty.ini").touch()
    with pytest.raises(ConfigurationError, match=rf"^logging_settings: cannot be applied: {name}: .+$"):
        configure_logging(Settings(logging_settings=name))


def test_held_until_configured(capsys: pytest.CaptureFixture[str]) -> None:
    with held_logs():
        logger.warning("early")
        assert lines(capsys) == []
        configure_logging(Settings(use_structured_logging=True))
    assert [json.loads(line)["message"] for line in lines(capsys)] == ["early"]


def test_held_and_never_configured(capsys: pytest.CaptureFixture[str]) -> None:
    logger.handlers = []
    with held_logs():
        logger.warning("early")
    (line,) = lines(capsys)
    assert line.endswith("[mlserver] WARNING - early")
