"""librdkafka's configuration: our defaults beneath the user's words, which win."""

from typing import Any

from mlserver.settings import Settings

Config = dict[str, Any]

# A killed member's partitions stand still until its session ends: 10 s instead of librdkafka's 45 s. The heartbeat
# is far below a third of it, so that a loaded machine does not lose its membership.
_CLASSIC_GROUP = {
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "partition.assignment.strategy": "cooperative-sticky",
}


# A broker that is back is found within 2 s, where librdkafka's pauses between tries grow to 10 s.
_CONNECTION = {"reconnect.backoff.max.ms": 2_000}


def consumer_config(settings: Settings) -> Config:
    """The consumer's: a group, explicit commits, the settings' place to start."""
    config: Config = {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": settings.server_name,
        **_CONNECTION,
        "group.id": settings.kafka_group_id,
        "auto.offset.reset": settings.kafka_auto_offset_reset,
        # A topic that does not exist yet is looked for this often, in milliseconds.
        "topic.metadata.refresh.interval.ms": 5_000,
        # What is fetched ahead comes on top of what is in flight, in KiB: a quarter of that bound (16 MiB of 64) is a
        # quarter of a second's reading on a fast disk.
        "queued.max.messages.kbytes": max(1_024, settings.kafka_max_in_flight_bytes // 4_096),
        # With so little ahead, fetching must go on soon after there is room again; librdkafka's own is a second.
        "fetch.queue.backoff.ms": 20,
    }
    own = _CLASSIC_GROUP | config
    user = _given(settings.kafka_config | settings.kafka_consumer_config)
    if user.get("group.protocol") == "consumer":
        own = config  # this protocol refuses the classic one's settings
    return own | user | {"enable.auto.commit": False, "enable.auto.offset.store": False}


def producer_config(settings: Settings) -> Config:
    """The producer's: idempotent, acknowledged by all replicas, never giving up on a broker that is away."""
    own: Config = {
        "bootstrap.servers": settings.kafka_servers,
        "client.id": settings.server_name,
        **_CONNECTION,
        # What Java's and kafka-python's producers use: equal keys meet in one partition whoever wrote them.
        "partitioner": "murmur2_random",
        # Answers come in bursts, one per batch: a millisecond gathers a burst, and costs an idle topic no more.
        "linger.ms": 1,
        # The broker's limit decides, and its refusal is answered; librdkafka's own would be one more to configure.
        "message.max.bytes": 128 << 20,
        # An answer waits for the broker as long as it takes; reading is bounded by what is in flight.
        "message.timeout.ms": 0,
    }
    user = _given(settings.kafka_config | settings.kafka_producer_config)
    return own | user | {"enable.idempotence": True, "acks": "all"}


def transactional_config(settings: Settings, consumer: Config, identity: str) -> Config:
    """The producer's for exactly once. Its name outlives the process, so that the next life ends its transactions."""
    config = producer_config(settings)
    if config["message.timeout.ms"] == 0:
        del config["message.timeout.ms"]  # by default that of the transaction, and it may not be more
    # What a kill leaves open, every reader of committed records waits for, and so does whoever takes the partitions
    # over. Brokers look every 10 s for transactions that are over their time: 4 s instead of librdkafka's minute make
    # 14 s at most. A transaction fills for 0.1 s; one that a slow broker lets grow old is aborted, and done again.
    config = {"transaction.timeout.ms": 4_000} | config
    if "socket.timeout.ms" in config:  # said of consumer and producer perhaps; the client refuses a longer one here
        config["socket.timeout.ms"] = min(int(config["socket.timeout.ms"]), _request_timeout(config))
    name = f"{settings.kafka_group_id}-{consumer.get('group.instance.id') or identity}"
    return config | {"transactional.id": name}


def request_seconds(config: Config) -> float:
    """How long a transactional producer of `config` waits for the answer to a request."""
    return int(config.get("socket.timeout.ms", _request_timeout(config))) / 1_000


def _request_timeout(config: Config) -> int:
    """Milliseconds, by librdkafka's own rule: at least one request fits into a transaction."""
    return max(900, int(config["transaction.timeout.ms"]) - 100)


def admin_config(settings: Settings) -> Config:
    """What creates topics: the producer's way to the broker, without a producer's identity."""
    return {key: value for key, value in producer_config(settings).items() if key != "enable.idempotence"}


def _given(config: Config) -> Config:
    """Without what is null, which in settings means not given; the client may abort the process over it."""
    return {key: value for key, value in config.items() if value is not None}
