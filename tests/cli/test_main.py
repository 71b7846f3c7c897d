"""Calls, exit statuses, and the one line that a wrong configuration gets."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlserver.version import __version__
from tests.cli.commands import FREE_PORTS, mlserver, put

pytestmark = pytest.mark.usefixtures("here")


def test_version() -> None:
    done = mlserver("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mlserver, version {__version__}\n", "")


def test_console_script() -> None:
    script = Path(sys.executable).with_name("mlserver")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mlserver, version {__version__}\n"


def test_help_names_the_commands() -> None:
    done = mlserver("--help")
    assert done.returncode == 0
    assert re.search(r"^  start +Serve the models in FOLDER\.$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["start", "init", "infer", "dockerfile", "build"])
def test_help_has_an_example(command: str) -> None:
    done = mlserver(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(rf"^  Examples?:\n    (\w+=\w+ )?mlserver {command} ", done.stdout, re.MULTILINE)
    assert all(len(line) <= 80 or "mlserver infer -u" in line for line in done.stdout.splitlines())


def test_help_needs_no_library_but_click() -> None:
    code = "import sys, mlserver.cli\nprint({'pydantic', 'aiohttp', 'numpy', 'uvloop', 'tqdm'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["start"], "Error: Missing argument 'FOLDER'."),
        (["start", "nowhere"], "Error: Invalid value for 'FOLDER': Directory 'nowhere' does not exist."),
        (["start", "file"], "Error: Invalid value for 'FOLDER': Directory 'file' is a file."),
        (["start", ".", "more"], "Error: Got unexpected extra argument (more)"),
        (["strat"], "Error: No such command 'strat'."),
        (["start", "--port", "1", "."], "Error: No such option"),
    ],
)
def test_wrong_calls(arguments: list[str], line: str) -> None:
    Path("file").touch()
    done = mlserver(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith("Usage: mlserver")
    assert done.stderr.splitlines()[-1].startswith(line)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"settings.json": '{"debug": }'}, "settings.json:1:11: not valid JSON: Expecting value"),
        ({"settings.json": {"http_port": "abc"}}, "settings.json: http_port: expected an integer, got 'abc'"),
        ({"model-settings.json": {"name": "x"}}, "model-settings.json: implementation: missing"),
        (
            {"model-settings.json": {"implementation": "a.B", "name": "a\x1b[31m\nb"}},
            "model-settings.json: name: expected 1 to 128 letters, digits, '.', '_' or '-', the first a letter or "
            "digit, without '..', got 'a\\x1b[31m\\nb'",
        ),
        (
            {"a/model-settings.json": "[]", "b/model-settings.json": "[]"},
            "a/model-settings.json: expected a JSON object, got [] (and 1 more like it)",
        ),
        (
            {"settings.json": {"logging_settings": "none.json"}},
            "logging_settings: cannot be applied: none.json: "
            "FileNotFoundError: [Errno 2] No such file or directory: 'none.json'",
        ),
    ],
)
def test_one_line_for_a_wrong_configuration(files: dict[str, object], line: str) -> None:
    for file, given in files.items():
        put(file, given)
    done = mlserver("start", ".")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {line}\n")


def test_one_line_for_a_wrong_variable() -> None:
    done = mlserver("start", ".", MLSERVER_HTTP_PORT="abc")
    line = "error: environment variable MLSERVER_HTTP_PORT: expected an integer, got 'abc'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


def test_an_unknown_key_is_warned_of_in_the_log() -> None:
    put("settings.json", {"htp_port": 1, "http_port": "abc"})
    done = mlserver("start", ".")
    assert done.returncode == 1
    assert done.stdout.endswith(
        " [mlserver] WARNING - settings.json: htp_port: unknown key, ignored; did you mean 'http_port'?\n"
    )
    assert done.stderr == "error: settings.json: http_port: expected an integer, got 'abc'\n"


@pytest.mark.parametrize(
    ("implementation", "why"),
    [
        ("nowhere.Model", "there is no module 'nowhere'"),
        ("runtime.Missing", "module 'runtime' has no attribute 'Missing'"),
        ("broken.Model", "RuntimeError: at import (broken.py:1)"),
    ],
)
def test_an_implementation_that_cannot_be_imported(implementation: str, why: str) -> None:
    put("settings.json", FREE_PORTS | {"parallel_workers": 0})
    put("runtime.py", "class Model: ...\n")
    put("broken.py", "raise RuntimeError('at import')\n")
    put("model-settings.json", {"name": "m", "implementation": implementation})
    done = mlserver("start", ".")
    expected = f"error: model-settings.json: implementation: {implementation!r} cannot be imported: {why}\n"
    assert (done.returncode, done.stderr) == (1, expected)


@pytest.mark.parametrize(
    ("implementation", "why"),
    [
        ("runtime.Model", "'runtime.Model' is no subclass of mlserver.MLModel"),
        ("runtime.function", "'runtime.function' is no class (found: function); expected a class that extends "),
    ],
)
def test_an_implementation_that_is_no_model(implementation: str, why: str) -> None:
    put("settings.json", FREE_PORTS | {"parallel_workers": 0})
    put("runtime.py", "class Model: ...\ndef function(): ...\n")
    put("model-settings.json", {"name": "m", "implementation": implementation})
    done = mlserver("start", ".")
    assert done.returncode == 1
    assert re.fullmatch(f"error: .*{re.escape(why)}.*\n", done.stderr)


def test_a_model_file_that_is_missing(here: Path) -> None:
    put("settings.json", FREE_PORTS | {"parallel_workers": 0})
    model = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": "./gone.joblib"}}
    put("model-settings.json", model)
    done = mlserver("start", ".")
    assert done.returncode == 1
    assert re.fullmatch(f"error: .*no such file or folder: {re.escape(str(here))}/gone.joblib\n", done.stderr)


def test_what_nobody_expected_keeps_its_traceback() -> None:
    put("repository.py", "raise RuntimeError('a mistake of ours')\n")
    put("settings.json", {"model_repository_implementation": "repository.Mine"})
    done = mlserver("start", ".")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("RuntimeError: a mistake of ours\n")
