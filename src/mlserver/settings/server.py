"""Settings of the server: `settings.json` and ``MLSERVER_*``."""

import os
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ImportString, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from mlserver.settings.base import BaseSettings, other_names
from mlserver.version import __version__

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(ge=0)]

MIB = 1024 * 1024

# Dictionaries that carry passwords and keys (`sasl.password`, `ssl.key.password`): shown without their values.
SECRET_DICTS = (
    "kafka_config",
    "kafka_consumer_config",
    "kafka_producer_config",
    "model_repository_implementation_args",
)
# What no message and no log shows.
SECRETS = (*SECRET_DICTS, "admin_token")


class CORSSettings(BaseSettings):
    """Cross-origin requests to the REST door; without it browsers may not read answers from other origins."""

    model_config = SettingsConfigDict(env_prefix="MLSERVER_")

    allow_origins: list[str] = Field([], description='Origins that may call; `["*"]` for any.')
    allow_origin_regex: str | None = Field(None, description="Regular expression of origins that may call.")
    allow_credentials: bool = Field(False, description="Whether cookies may be sent along.")
    allow_methods: list[str] = Field(["GET"], description='HTTP methods that may be used; `["*"]` for all.')
    allow_headers: list[str] = Field([], description='Request headers that may be sent; `["*"]` for all.')
    expose_headers: list[str] = Field([], description="Response headers that a browser's script may read.")
    max_age: Count = Field(600, description="Seconds for which a browser may remember the answer to a preflight.")


class Settings(BaseSettings):
    """Settings of the server. Every one may stand in `settings.json` or, with the prefix ``MLSERVER_``, in the
    environment; times are in seconds and sizes in bytes unless the description says otherwise.
    """

    # Errors of direct construction leave the input out: it may be a text full of passwords.
    model_config = SettingsConfigDict(env_prefix="MLSERVER_", hide_input_in_errors=True)

    debug: bool = Field(False, description="Log at DEBUG, with an access log.")
    server_name: str = Field("mlserver", description="Name in the server's metadata and in CloudEvents headers.")
    server_version: str = Field(__version__, description="Version in the server's metadata.")
    extensions: list[str] = Field([], description="Protocol extensions listed in the server's metadata.")
    on_load_failure: Literal["exit", "continue"] = Field(
        "exit",
        description="What a model that cannot be loaded at start does: `exit` ends the server with one line and "
        "status 1; `continue` leaves it up but not ready, and the other models serve.",
    )
    shutdown_grace_seconds: Seconds = Field(25, description="Seconds from SIGTERM to exit at the latest.")

    parallel_workers: Count = Field(1, description="Worker processes that run the models; 0 runs them in the server's.")
    parallel_workers_timeout: Seconds = Field(5, description="Seconds a worker may take to end before it is killed.")
    worker_threads: Size | None = Field(
        None,
        description="BLAS and OpenMP threads of each worker; null: the CPU quota of the cgroup divided by the workers.",
    )
    worker_heartbeat_seconds: Annotated[float, Field(gt=0)] = Field(
        5, description="Seconds after which a worker that is idle and silent is replaced."
    )
    environments_dir: str = Field(
        default_factory=lambda: os.path.join(os.getcwd(), ".envs"),
        description="Folder that environments of models are unpacked to; `.envs` in the working directory by default.",
    )

    model_repository_root: str = Field(".", description="Folder of the models; `mlserver start FOLDER` sets it.")
    model_repository_implementation: ImportString[type[Any]] | None = Field(
        None, description="Import path of a `ModelRepository` class; null takes the one that reads folders."
    )
    model_repository_implementation_args: dict[str, Any] = Field(
        {}, description="Keyword arguments of that class, besides `root`."
    )
    load_models_at_startup: bool = Field(True, description="Load every model of the repository at start.")

    admin_access: Literal["loopback", "token", "open", "off"] = Field(
        "loopback",
        description="Who may change the server (load and unload models): callers on this machine that no proxy and no "
        "web page stands in front of, callers with `admin_token`, everybody, or nobody.",
    )
    admin_token: SecretStr | None = Field(
        None, description='Bearer token for `admin_access: "token"`; at least 16 characters.', min_length=16
    )
    default_timeout_seconds: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Seconds after which a request that names no deadline gets its error; null: never."
    )
    max_queue_requests: Size = Field(
        1024, description="Requests that may wait for one model; those above are refused: 429, RESOURCE_EXHAUSTED."
    )
    max_queue_bytes: Size = Field(256 * MIB, description="Bytes of tensors that may wait for one model.")

    host: str = Field("0.0.0.0", description="Address that REST, gRPC and metrics listen on.")  # noqa: S104 - contract
    http_port: Port = Field(8080, description="Port of REST; 0 takes a free one.")
    root_path: str = Field("", description="Path prefix that a proxy in front of REST strips.")
    grpc_port: Port = Field(8081, description="Port of gRPC; 0 takes a free one.")
    grpc_max_message_length: int | None = Field(
        None, ge=-1, description="Bytes of the largest gRPC message; null: `max_body_bytes`; -1: no limit."
    )
    grpc_stream_format: Literal["auto", "mlserver", "triton"] = Field(
        "auto",
        description="Messages that `ModelStreamInfer` answers with: `mlserver` ModelInferResponse, `triton` "
        "ModelStreamInferResponse; `auto` takes Triton's where the first request has raw contents.",
    )
    max_body_bytes: Size = Field(64 * MIB, description="Bytes of a request body after inflation, on every door.")
    max_header_bytes: Size = Field(64 * 1024, description="Bytes of a request's line and headers; above it: 431.")
    max_json_depth: Annotated[int, Field(ge=4, le=512)] = Field(
        64, description="Depth of nested JSON in a request; the data of a tensor begin at 4."
    )
    header_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        10, description="Seconds from the first byte of a request to the end of its headers."
    )
    body_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        60, description="Seconds that a request's body may take, and a caller to read what it was sent."
    )
    idle_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        75, description="Seconds that a connection is kept between requests."
    )
    gzip_enabled: bool = Field(
        True, description="Compress answers to inference over REST for callers that accept gzip or deflate."
    )
    cors_settings: CORSSettings | None = Field(None, description="Cross-origin requests; null refuses them.")

    metrics_endpoint: str | None = Field("/metrics", description="Path of the metrics; null or empty: none.")
    metrics_port: Port = Field(8082, description="Port of the metrics; 0 takes a free one.")
    metrics_rest_server_prefix: str = Field("rest_server", description="Prefix of the names of REST metrics.")
    metrics_dir: str = Field(
        default_factory=lambda: os.path.join(os.getcwd(), ".metrics"),
        description="Folder of MLServer's metrics files. There are none: workers tell the server what they measure.",
    )
    tracing_server: str | None = Field(
        None, description="`host:port` of an OTLP/gRPC collector; null: no tracing. Needs the extra `tracing`."
    )
    use_structured_logging: bool = Field(False, description="Log one JSON object per line.")
    logging_settings: str | dict[str, Any] | None = Field(
        None, description="Python logging configuration: an object, or the path of a JSON or INI file."
    )

    cache_enabled: bool = Field(False, description="Cache responses of the models that ask for it as well.")
    cache_size: Count = Field(100, description="Responses that are kept in the cache.")

    kafka_enabled: bool = Field(
        False, description="Serve inference over Kafka.", json_schema_extra=other_names("kafka_enable")
    )
    kafka_servers: str = Field("localhost:9092", description="Comma-separated `host:port` of Kafka brokers.")
    kafka_topic_input: str = Field("mlserver-input", description="Topic that requests are read from.")
    kafka_topic_output: str = Field("mlserver-output", description="Topic that responses are written to.")
    kafka_topic_error: str | None = Field(None, description="Topic of error answers; null: the output topic.")
    kafka_topic_dead_letter: str = Field("mlserver-dead-letter", description="Topic of records that cannot be served.")
    kafka_group_id: str = Field("mlserver", min_length=1, description="Consumer group; replicas of it share the work.")
    kafka_auto_offset_reset: Literal["earliest", "latest", "error"] = Field(
        "earliest", description="Where a group without committed offsets starts; `error` refuses to start."
    )
    kafka_config: dict[str, Any] = Field({}, description="Options of librdkafka, passed on as they are.")
    kafka_consumer_config: dict[str, Any] = Field({}, description="The same for the consumer; beats `kafka_config`.")
    kafka_producer_config: dict[str, Any] = Field({}, description="The same for the producer; beats `kafka_config`.")
    kafka_delivery: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="Answers may come twice after a crash; or answers and offsets are committed in one transaction, "
        "and whoever reads committed records only sees each answer once.",
    )
    kafka_ordering: Literal["key", "partition", "none"] = Field(
        "key",
        description="What answers keep the order of: records of one key and partition, of one partition, or nothing. "
        "Records without a key have no order but with `partition`.",
    )
    kafka_unknown_model: Literal["error", "wait", "skip"] = Field(
        "error",
        description="A record for a model that is not served here: error answer and dead letter; waited for; or "
        "passed over, for servers that share a topic, each with a group of its own.",
    )
    kafka_retry_max_attempts: Size = Field(
        5, description="Predictions of a record that fail for a passing reason before it gets its error."
    )
    kafka_retry_backoff_seconds: Annotated[float, Field(gt=0)] = Field(
        0.2, description="Seconds before the first new attempt; each further one takes twice as long, at most 10 s."
    )
    kafka_reply_topics: list[str] = Field(
        [], description="Topics that a record's header `reply-to` may name for its answer: patterns with `*` and `?`."
    )
    kafka_echo_headers: list[str] = Field(
        [], description="Headers of requests that answers carry back, besides correlation ids and trace context."
    )
    kafka_cloudevents: bool = Field(False, description="Put CloudEvents attributes into the headers of answers.")
    kafka_counts_for_ready: bool = Field(
        False,
        description="The server is not ready while the Kafka door does not run, or broker or topics take no answers.",
    )
    kafka_max_in_flight_records: Size = Field(
        10_000, description="Records read and not yet committed: the most that are repeated after a crash."
    )
    kafka_max_in_flight_bytes: Size = Field(64 * MIB, description="Bytes of records read and not yet committed.")

    _custom_rest_server_settings: dict[str, Any] | None = PrivateAttr(None)
    _custom_metrics_server_settings: dict[str, Any] | None = PrivateAttr(None)
    _custom_grpc_server_settings: dict[str, Any] | None = PrivateAttr(None)

    @field_validator("metrics_endpoint")
    @classmethod
    def _empty_disables(cls, value: str | None) -> str | None:
        """The environment has no null, so that an empty text stands for it."""
        return value or None

    @field_validator("grpc_max_message_length")
    @classmethod
    def _zero_is_no_limit_of_any_kind(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("expected a number of bytes, or -1 for no limit, got 0")
        return value

    @model_validator(mode="after")
    def _token_to_check(self) -> Self:
        if self.admin_access == "token" and self.admin_token is None:
            raise ValueError('admin_access "token" needs an admin_token')
        return self

    def __repr_args__(self) -> Any:
        """Field names and values, with the values of secret-bearing dictionaries left out."""
        for name, value in super().__repr_args__():
            yield name, dict.fromkeys(value, "...") if name in SECRET_DICTS and isinstance(value, dict) else value
