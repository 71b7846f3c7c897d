"""Producers that are given up: what they say, and that they end."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from mlserver.kafka.config import transactional_config
from mlserver.kafka.remedies import Remedy, remedy
from mlserver.kafka.transactional_client import TransactionalClient
from mlserver.settings import Settings
from mlserver.testing.kafka_process import free_port
from tests.kafka.client import eventually, fresh


def config_for(bootstrap: str) -> dict[str, Any]:
    settings = Settings(kafka_servers=bootstrap, kafka_group_id="given-up", kafka_delivery="exactly_once")
    return transactional_config(settings, {}, "me")


def clients_of_kafka() -> int:
    """How many clients of librdkafka live in this process: each has one main thread."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return names.count("rdk:main")


def ready(client: TransactionalClient) -> Producer | None:
    """Its producer; None where the coordinator, of a broker just started, is not there yet."""
    try:
        return client.ready()
    except KafkaException:
        return None


def test_one_whose_broker_is_away_ends_when_it_is_thrown_away() -> None:
    """Alive it would ask for the next epoch of its name as soon as the broker is there, and fence its successor."""
    before = clients_of_kafka()
    client = TransactionalClient(config_for(f"127.0.0.1:{free_port()}"))
    client.call_seconds = 0.2
    with pytest.raises(KafkaException):
        client.ready()
    client.throw_away()
    eventually(lambda: clients_of_kafka() <= before, "the producer lives on", patience=10)


def test_one_that_was_fenced_says_so(kafka_bootstrap: str) -> None:
    """While deliveries are reported, whose callbacks then seem to fail."""
    reports: list[KafkaError | None] = []
    first, second = (TransactionalClient(config_for(kafka_bootstrap)) for _ in range(2))
    producer = eventually(lambda: ready(first), "the coordinator does not answer")
    producer.begin_transaction()
    eventually(lambda: ready(second), "the coordinator does not answer")
    topic = fresh(kafka_bootstrap).output
    for _ in range(3):
        producer.produce(topic, b"x", on_delivery=lambda error, _: reports.append(error))
    with pytest.raises(KafkaException) as raised:
        first.call(producer.flush, 10)
    assert remedy(raised.value.args[0]) is Remedy.RENEW
    first.throw_away()
    second.throw_away()
