"""Settings and CORSSettings: names, defaults, precedence, how they are written out."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlserver.settings import CORSSettings, ModelParameters, ModelSettings, Settings
from mlserver.version import __version__

pytestmark = pytest.mark.usefixtures("here")

DEFAULTS: dict[str, Any] = {
    "debug": False,
    "parallel_workers": 1,
    "parallel_workers_timeout": 5,
    "model_repository_implementation": None,
    "model_repository_root": ".",
    "model_repository_implementation_args": {},
    "load_models_at_startup": True,
    "server_name": "mlserver",
    "server_version": __version__,
    "extensions": [],
    "host": "0.0.0.0",
    "http_port": 8080,
    "root_path": "",
    "grpc_port": 8081,
    "grpc_max_message_length": None,
    "cors_settings": None,
    "metrics_endpoint": "/metrics",
    "metrics_port": 8082,
    "metrics_rest_server_prefix": "rest_server",
    "use_structured_logging": False,
    "logging_settings": None,
    "kafka_enabled": False,
    "kafka_servers": "localhost:9092",
    "kafka_topic_input": "mlserver-input",
    "kafka_topic_output": "mlserver-output",
    "tracing_server": None,
    "cache_enabled": False,
    "cache_size": 100,
    "gzip_enabled": True,
    "on_load_failure": "exit",
    "max_body_bytes": 64 * 1024 * 1024,
    "max_header_bytes": 64 * 1024,
    "max_json_depth": 64,
    "header_timeout_seconds": 10,
    "body_timeout_seconds": 60,
    "idle_timeout_seconds": 75,
    "shutdown_grace_seconds": 25,
    "kafka_group_id": "mlserver",
    "grpc_stream_format": "auto",
    "kafka_auto_offset_reset": "earliest",
    "kafka_delivery": "at_least_once",
    "kafka_ordering": "key",
    "kafka_unknown_model": "error",
    "kafka_retry_max_attempts": 5,
    "kafka_retry_backoff_seconds": 0.2,
    "kafka_reply_topics": [],
    "kafka_echo_headers": [],
    "kafka_cloudevents": False,
    "kafka_counts_for_ready": False,
    "kafka_config": {},
    "kafka_consumer_config": {},
    "kafka_producer_config": {},
    "kafka_topic_dead_letter": "mlserver-dead-letter",
    "kafka_topic_error": None,
    "worker_threads": None,
    "worker_heartbeat_seconds": 5,
    "admin_access": "loopback",
    "admin_token": None,
    "default_timeout_seconds": None,
    "max_queue_requests": 1024,
    "max_queue_bytes": 256 * 1024 * 1024,
    "kafka_max_in_flight_records": 10000,
    "kafka_max_in_flight_bytes": 64 * 1024 * 1024,
}


def test_names_and_defaults_are_the_promised_ones() -> None:
    found = Settings().model_dump()
    assert found.pop("environments_dir") == os.path.join(os.getcwd(), ".envs")
    assert found.pop("metrics_dir") == os.path.join(os.getcwd(), ".metrics")
    assert found == DEFAULTS


def test_cors_defaults() -> None:
    assert CORSSettings().model_dump() == {
        "allow_origins": [],
        "allow_origin_regex": None,
        "allow_credentials": False,
        "allow_methods": ["GET"],
        "allow_headers": [],
        "expose_headers": [],
        "max_age": 600,
    }


@pytest.mark.parametrize("cls", [Settings, CORSSettings, ModelSettings, ModelParameters])
def test_every_setting_says_what_it_is(cls: type[Settings]) -> None:
    for name, field in cls.model_fields.items():
        assert (field.description or "").endswith("."), name


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().http_port == 8080
    Path(".env").write_text("MLSERVER_HTTP_PORT=1\nMLSERVER_GRPC_PORT=1\nmlserver_metrics_port=1\n")
    monkeypatch.setenv("mlserver_Http_Port", "2")
    monkeypatch.setenv("MLSERVER_GRPC_PORT", "2")
    found = Settings(http_port=3)
    assert (found.http_port, found.grpc_port, found.metrics_port) == (3, 2, 1)


def test_dotenv_file_can_be_left_out() -> None:
    Path(".env").write_text("MLSERVER_HTTP_PORT=1\n")
    assert Settings(_env_file=None).http_port == 8080


def test_the_seeds_settings() -> None:
    Path("settings.json").write_text('{"debug": "true", "kafka_enable": "true"}')
    found = Settings.parse_file("settings.json")
    assert found.debug is True
    assert found.kafka_enabled is True


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({"kafka_enable": True}, {}, True),
        ({"kafka_enabled": False, "kafka_enable": True}, {}, False),
        ({"kafka_enable": True, "kafka_enabled": False}, {}, False),
        ({}, {"MLSERVER_KAFKA_ENABLE": "1"}, True),
        ({}, {"MLSERVER_KAFKA_ENABLE": "1", "MLSERVER_KAFKA_ENABLED": "0"}, False),
        ({"kafka_enable": False}, {"MLSERVER_KAFKA_ENABLED": "1"}, False),
        ({"kafka_enabled": False}, {"MLSERVER_KAFKA_ENABLE": "1"}, False),
        ({"KAFKA_ENABLE": "yes"}, {}, True),
    ],
)
def test_both_names_of_kafka_enabled(
    given: dict[str, Any], environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings(**given).kafka_enabled is expected


@pytest.mark.parametrize(
    ("variable", "text", "field", "expected"),
    [
        ("MLSERVER_EXTENSIONS", '["a", "b"]', "extensions", ["a", "b"]),
        ("MLSERVER_KAFKA_CONFIG", '{"a": "b"}', "kafka_config", {"a": "b"}),
        ("MLSERVER_LOGGING_SETTINGS", "x.ini", "logging_settings", "x.ini"),
        ("MLSERVER_LOGGING_SETTINGS", '{"version": 1}', "logging_settings", {"version": 1}),
        ("MLSERVER_CORS_SETTINGS", "null", "cors_settings", None),
        ("MLSERVER_SERVER_NAME", "[odd]", "server_name", "[odd]"),
        ("MLSERVER_TRACING_SERVER", "null", "tracing_server", "null"),
        ("MLSERVER_METRICS_ENDPOINT", "", "metrics_endpoint", None),
        ("MLSERVER_DEBUG", "true", "debug", True),
    ],
)
def test_values_of_the_environment(
    variable: str, text: str, field: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), field) == expected


def test_the_environment_completes_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_KAFKA_CONFIG", '{"a": 1, "b": 1}')
    monkeypatch.setenv("MLSERVER_MAX_AGE", "7")
    found = Settings(kafka_config={"b": 2}, cors_settings={"allow_origins": ["*"]})
    assert found.kafka_config == {"a": 1, "b": 2}
    assert found.cors_settings is not None
    assert (found.cors_settings.allow_origins, found.cors_settings.max_age) == (["*"], 7)


def test_only_what_was_given_is_written_out() -> None:
    found = Settings(http_port=1, tracing_server=None, kafka_enable="true")
    assert found.dict() == {"http_port": 1, "kafka_enabled": True}
    assert json.loads(found.json()) == {"http_port": 1, "kafka_enabled": True}
    assert found.dict(exclude_none=False)["tracing_server"] is None


def test_repository_class_is_imported() -> None:
    found = Settings(model_repository_implementation="mlserver.repository.SchemalessModelRepository")
    assert found.model_repository_implementation is not None
    assert found.model_repository_implementation.__name__ == "SchemalessModelRepository"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("http_port", 65536),
        ("grpc_port", -1),
        ("parallel_workers", -1),
        ("max_body_bytes", 0),
        ("kafka_max_in_flight_records", 0),
        ("kafka_max_in_flight_bytes", -1),
        ("shutdown_grace_seconds", -0.1),
        ("shutdown_grace_seconds", float("inf")),
        ("shutdown_grace_seconds", float("nan")),
        ("parallel_workers_timeout", -1),
        ("cache_size", -1),
        ("grpc_max_message_length", 0),
        ("grpc_max_message_length", -2),
        ("kafka_group_id", ""),
        ("on_load_failure", "panic"),
        ("kafka_auto_offset_reset", "newest"),
    ],
)
def test_bounds(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Settings(**{field: value})


@pytest.mark.parametrize(
    "field", ["kafka_config", "kafka_consumer_config", "kafka_producer_config", "model_repository_implementation_args"]
)
def test_secrets_are_not_shown(field: str) -> None:
    given: dict[str, Any] = {field: {"sasl.username": "me", "sasl.password": "hunter2"}}
    found = Settings(**given)
    assert getattr(found, field)["sasl.password"] == "hunter2"
    for shown in (repr(found), str(found), f"{found}"):
        assert "hunter2" not in shown
        assert "'sasl.password': '...'" in shown


def test_secrets_are_not_shown_in_errors() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(kafka_config="sasl.password=hunter2")
    assert "hunter2" not in str(caught.value)


def test_arguments_of_the_constructor_are_no_settings() -> None:
    Path("other.env").write_text("MLSERVER_HTTP_PORT=1\n")
    Path("settings.json").write_text('{"_env_file": "other.env", "grpc_port": 2}')
    found = Settings.parse_file("settings.json")
    assert (found.http_port, found.grpc_port) == (8080, 2)


def test_private_settings_can_be_set_in_code() -> None:
    found = Settings()
    assert found._custom_rest_server_settings is None
    found._custom_rest_server_settings = {"limit_concurrency": 1}
    assert found._custom_rest_server_settings == {"limit_concurrency": 1}
