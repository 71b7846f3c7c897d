"""Our defaults, beneath what the user says; and what nobody may change."""

from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from mlserver.kafka.config import admin_config, consumer_config, producer_config, request_seconds, transactional_config
from mlserver.settings import Settings

CLASSIC = {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"}


def settings(**given: Any) -> Settings:
    return Settings(kafka_servers="here:9092", **given)


def test_the_client_takes_the_defaults() -> None:
    Consumer(consumer_config(settings())).close()
    Producer(producer_config(settings()))
    Producer(admin_config(settings()))


def test_the_group_is_the_settings() -> None:
    config = consumer_config(settings(kafka_group_id="us", kafka_auto_offset_reset="latest", server_name="me"))
    assert (config["group.id"], config["auto.offset.reset"], config["client.id"]) == ("us", "latest", "me")
    assert (config["session.timeout.ms"], config["heartbeat.interval.ms"]) == (10_000, 1_000)


@pytest.mark.parametrize("config", [consumer_config, producer_config, admin_config])
def test_the_user_wins(config: Any) -> None:
    found = config(
        settings(kafka_config={"bootstrap.servers": "there:1", "client.id": "x", "socket.keepalive.enable": "true"})
    )
    assert (found["bootstrap.servers"], found["client.id"], found["socket.keepalive.enable"]) == (
        "there:1",
        "x",
        "true",
    )


def test_one_side_wins_over_both() -> None:
    given = settings(
        kafka_config={"client.id": "both"},
        kafka_consumer_config={"client.id": "consumer"},
        kafka_producer_config={"client.id": "producer"},
    )
    assert consumer_config(given)["client.id"] == "consumer"
    assert producer_config(given)["client.id"] == "producer"
    assert admin_config(given)["client.id"] == "producer"


def test_the_promise_is_not_configurable() -> None:
    given = settings(kafka_config={"enable.auto.commit": True, "enable.idempotence": False, "acks": 0})
    assert consumer_config(given)["enable.auto.commit"] is False
    assert consumer_config(given)["enable.auto.offset.store"] is False
    assert producer_config(given)["enable.idempotence"] is True
    assert producer_config(given)["acks"] == "all"


def test_the_new_group_protocol_gets_nothing_that_it_refuses() -> None:
    given = settings(kafka_consumer_config={"group.protocol": "consumer"})
    assert not CLASSIC & consumer_config(given).keys()
    Consumer(consumer_config(given)).close()
    assert consumer_config(settings()).keys() >= CLASSIC


def test_null_is_not_given() -> None:
    given = settings(kafka_config={"group.id": None, "sasl.username": None})
    assert consumer_config(given)["group.id"] == "mlserver"
    assert "sasl.username" not in producer_config(given)


@pytest.mark.parametrize(("bound", "kib"), [(1, 1_024), (64 << 20, 16_384)])
def test_what_is_fetched_ahead_follows_the_bound(bound: int, kib: int) -> None:
    assert consumer_config(settings(kafka_max_in_flight_bytes=bound))["queued.max.messages.kbytes"] == kib


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 3.9),
        ({"transaction.timeout.ms": "60000"}, 59.9),
        ({"socket.timeout.ms": 2_000}, 2.0),
        ({"socket.timeout.ms": 30_000}, 3.9),  # meant for the consumer: here librdkafka would refuse it
        ({"transaction.timeout.ms": 1_000, "socket.timeout.ms": "60000"}, 0.9),
    ],
)
def test_a_request_of_a_transaction_is_waited_for_no_longer_than_that_lasts(
    given: dict[str, Any], seconds: float
) -> None:
    said = settings(kafka_config=given)
    config = transactional_config(said, consumer_config(said), "me")
    assert request_seconds(config) == seconds
    Producer(config)
