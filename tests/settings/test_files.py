"""Files and variables that are wrong: one line each, which says where and what to change."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mlserver.errors import ConfigurationError
from mlserver.settings import (
    load_model_settings_env,
    load_model_settings_file,
    load_settings_env,
    load_settings_file,
)

pytestmark = pytest.mark.usefixtures("here")

NAME_RULE = "expected 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit, without '..'"


def written(text: str | bytes) -> Path:
    Path("x.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Path("x.json")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "x.json:1:1: not valid JSON: Expecting value"),
        ('{\n  "debug": true\n  "host": ""}', "x.json:3:3: not valid JSON: Expecting ',' delimiter"),
        ('{"debug": yes}', "x.json:1:11: not valid JSON: Expecting value"),
        ("[1]", "x.json: expected a JSON object, got [1]"),
        ("null", "x.json: expected a JSON object, got null"),
        (b'{"host": "\xff"}', "x.json: not valid UTF-8 at byte 10"),
        ("[" * 100_000, "x.json: not valid JSON: nested too deeply"),
        ('{"http_port": "abc"}', "x.json: http_port: expected an integer, got 'abc'"),
        ('{"http_port": 1.5}', "x.json: http_port: expected an integer, got 1.5"),
        ('{"http_port": null}', "x.json: http_port: expected an integer, got null"),
        ('{"HTTP_PORT": "abc"}', "x.json: http_port: expected an integer, got 'abc'"),
        ('{"http_port": 65536}', "x.json: http_port: expected 65535 or less, got 65536"),
        ('{"http_port": -1}', "x.json: http_port: expected 0 or more, got -1"),
        ('{"max_body_bytes": 0}', "x.json: max_body_bytes: expected more than 0, got 0"),
        ('{"debug": "maybe"}', "x.json: debug: expected true or false, got 'maybe'"),
        ('{"debug": {}}', "x.json: debug: expected true or false, got {}"),
        ('{"host": 1}', "x.json: host: expected a string, got 1"),
        ('{"host": true}', "x.json: host: expected a string, got true"),
        ('{"extensions": "a"}', "x.json: extensions: expected a list, got 'a'"),
        ('{"extensions": ["a", 1]}', "x.json: extensions.1: expected a string, got 1"),
        ('{"cors_settings": 3}', "x.json: cors_settings: expected an object, got 3"),
        ('{"cors_settings": {"max_age": "x"}}', "x.json: cors_settings.max_age: expected an integer, got 'x'"),
        ('{"logging_settings": 3}', "x.json: logging_settings: expected a string or an object, got 3"),
        ('{"shutdown_grace_seconds": NaN}', "x.json: shutdown_grace_seconds: expected a finite number, got NaN"),
        ('{"shutdown_grace_seconds": "x"}', "x.json: shutdown_grace_seconds: expected a number, got 'x'"),
        ('{"on_load_failure": "no"}', "x.json: on_load_failure: expected 'exit' or 'continue', got 'no'"),
        ('{"kafka_group_id": ""}', "x.json: kafka_group_id: expected a string of 1 or more characters, got ''"),
        ('{"kafka_enable": "x"}', "x.json: kafka_enabled: expected true or false, got 'x'"),
        ('{"kafka_config": "sasl.password=a"}', "x.json: kafka_config: expected an object, got a value of type str"),
        (
            '{"grpc_max_message_length": 0}',
            "x.json: grpc_max_message_length: expected a number of bytes, or -1 for no limit, got 0",
        ),
        (
            '{"http_port": "a", "grpc_port": "b", "debug": 7}',
            "x.json: debug: expected true or false, got 7 (also wrong: http_port, grpc_port)",
        ),
        (
            '{"host": [' + '"x", ' * 30 + "1]}",
            'x.json: host: expected a string, got ["x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "x", "...',
        ),
    ],
)
def test_server_settings(text: str | bytes, line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings_file(written(text))
    assert str(caught.value) == line


def test_repository_class_that_cannot_be_imported() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings_file(written('{"model_repository_implementation": "nowhere.X"}'))
    # The words are pydantic's, and not the same in all of its versions.
    assert str(caught.value).startswith("x.json: model_repository_implementation: Invalid python path: ")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"name": "x"}, "x.json: implementation: missing"),
        ({"implementaion": "a.B"}, "x.json: implementation: missing (is 'implementaion' meant to be it?)"),
        ({"implementation": 3}, "x.json: implementation: expected a string, got 3"),
        ({"parameters": {"version": 1}}, "x.json: parameters.version: expected a string, got 1"),
        ({"parameters": {"version": "a..b"}}, f"x.json: parameters.version: {NAME_RULE}, got 'a..b'"),
        ({"parameters": []}, "x.json: parameters: expected an object, got []"),
        ({"name": "../x"}, f"x.json: name: {NAME_RULE}, got '../x'"),
        ({"name": "a\nb"}, f"x.json: name: {NAME_RULE}, got 'a\\nb'"),
        (
            {"inputs": [{"name": 1}]},
            "x.json: inputs.0.name: expected a string, got 1 (also wrong: inputs.0.datatype, inputs.0.shape)",
        ),
        ({"max_batch_size": "many"}, "x.json: max_batch_size: expected an integer, got 'many'"),
    ],
)
def test_model_settings(given: dict[str, Any], line: str) -> None:
    complete = given if line.startswith("x.json: implementation") else {"implementation": "a.B", **given}
    with pytest.raises(ConfigurationError) as caught:
        load_model_settings_file(written(json.dumps(complete)))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("MLSERVER_HTTP_PORT", "abc", "environment variable MLSERVER_HTTP_PORT: expected an integer, got 'abc'"),
        ("mlserver_debug", "x", "environment variable mlserver_debug: expected true or false, got 'x'"),
        ("MLSERVER_EXTENSIONS", '["a",]', "environment variable MLSERVER_EXTENSIONS: expected a list, got '[\"a\",]'"),
        ("MLSERVER_KAFKA_ENABLE", "x", "environment variable MLSERVER_KAFKA_ENABLE: expected true or false, got 'x'"),
        (
            "MLSERVER_KAFKA_CONFIG",
            '{"sasl.password": "hunter2",}',
            "environment variable MLSERVER_KAFKA_CONFIG: expected an object, got a value of type str",
        ),
    ],
)
def test_variables(variable: str, text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, text)
    for load in (load_settings_env, lambda: load_settings_file(written("{}"))):
        with pytest.raises(ConfigurationError) as caught:
            load()
        assert str(caught.value) == line


def test_variable_of_a_models_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_MODEL_VERSION", "v/1")
    for given in ({"implementation": "a.B"}, {"implementation": "a.B", "parameters": None}):
        with pytest.raises(ConfigurationError) as caught:
            load_model_settings_file(written(json.dumps(given)))
        assert str(caught.value) == f"environment variable MLSERVER_MODEL_VERSION: {NAME_RULE}, got 'v/1'"


def test_variable_in_dotenv() -> None:
    Path(".env").write_text("MLSERVER_HTTP_PORT=zz\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings_env()
    assert str(caught.value) == ".env: MLSERVER_HTTP_PORT: expected an integer, got 'zz'"


def test_file_that_cannot_be_read() -> None:
    Path("folder").mkdir()
    for path, why in (("none.json", "No such file or directory"), ("folder", "Is a directory")):
        with pytest.raises(ConfigurationError) as caught:
            load_settings_file(path)
        assert str(caught.value) == f"{path}: cannot be read: {why}"


def test_paths_are_shown_relative_to_the_working_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written("[]").absolute()
    with pytest.raises(ConfigurationError, match=r"^x\.json: "):
        load_settings_file(path)
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    with pytest.raises(ConfigurationError, match=f"^{path}: "):
        load_settings_file("../x.json")


def test_byte_order_mark_is_skipped() -> None:
    assert load_settings_file(written(b'\xef\xbb\xbf{"http_port": 1}')).http_port == 1


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ('{"htp_port": 1}', ["x.json: htp_port: unknown key, ignored; did you mean 'http_port'?"]),
        ('{"qqq": 1}', ["x.json: qqq: unknown key, ignored"]),
        ('{"_env_file": "x"}', ["x.json: _env_file: unknown key, ignored"]),
        (
            '{"cors_settings": {"allow_origin": []}}',
            ["x.json: cors_settings.allow_origin: unknown key, ignored; did you mean 'allow_origins'?"],
        ),
        ('{"kafka_config": {"anything": 1}, "HOST": "x", "kafka_enable": true}', []),
    ],
)
def test_unknown_keys_of_the_server(text: str, warnings: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlserver"):
        load_settings_file(written(text))
    assert caplog.messages == warnings


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({"nam": "x"}, ["x.json: nam: unknown key, ignored; did you mean 'name'?"]),
        ({"version": "1"}, ["x.json: version: unknown key, ignored; did you mean 'parameters.version'?"]),
        ({"implementation_": "x"}, ["x.json: implementation_: unknown key, ignored; did you mean 'implementation'?"]),
        (
            {"parameters": {"urii": "x"}},
            ["x.json: parameters.urii: not a setting of the server, kept for the runtime; did you mean 'uri'?"],
        ),
        ({"parameters": {"model_type": "x", "threads": 1}}, []),
    ],
)
def test_unknown_keys_of_a_model(given: dict[str, Any], warnings: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mlserver"):
        load_model_settings_file(written(json.dumps({"implementation": "a.B", **given})))
    assert caplog.messages == warnings


def test_unknown_variables(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "MLSERVER_HTP_PORT",
        "MLSERVER_MODEL_NAMES",
        "MLSERVER_MODELS_DIR",
        "MLSERVER_SOMEONE_ELSES",
        "HTP_PORT",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MLSERVER_KAFKA_ENABLE", "true")
    with caplog.at_level(logging.WARNING, "mlserver"):
        load_settings_env()
    assert caplog.messages == [
        "environment variable MLSERVER_HTP_PORT: unknown, ignored; did you mean MLSERVER_HTTP_PORT?",
        "environment variable MLSERVER_MODEL_NAMES: unknown, ignored; did you mean MLSERVER_MODEL_NAME?",
    ]


def test_model_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model_settings_env() is None
    monkeypatch.setenv("MLSERVER_MODEL_URI", "/x")
    assert load_model_settings_env() is None
    Path(".env").write_text("MLSERVER_MODEL_IMPLEMENTATION=a.B\n")
    found = load_model_settings_env()
    assert found is not None
    assert found.parameters is not None
    assert (found.implementation_, found.parameters.uri, found._source) == ("a.B", "/x", None)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"admin_access": "token"}, 'x.json: admin_access "token" needs an admin_token'),
        ({"admin_token": "short-secret"}, "x.json: admin_token: expected 16 or more characters"),
    ],
)
def test_a_token_has_to_be_there_and_is_never_shown(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings_file(written(json.dumps(given)))
    assert str(caught.value).startswith(line)
    assert "short-secret" not in str(caught.value)


def test_batches_that_are_forbidden_and_asked_for() -> None:
    given = {"implementation": "a.B", "row_wise": False, "max_batch_size": 8, "max_batch_time": 0.1}
    with pytest.raises(ConfigurationError, match=r"^x\.json: row_wise: false forbids"):
        load_model_settings_file(written(json.dumps(given)))
