"""What librdkafka repeats many times a second is passed on once a minute."""

import logging

import pytest
from confluent_kafka import Consumer

from mlserver.kafka.client_log import client_logger
from mlserver.kafka.seldom import Seldom
from mlserver.testing.kafka_process import free_port
from tests.kafka.client import eventually


def test_a_broker_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints: list[str] = []

    def noted(record: logging.LogRecord) -> bool:
        complaints.append(record.getMessage())
        return True

    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "g", "reconnect.backoff.max.ms": 100}
    client_logger.filters.insert(0, noted)
    consumer = Consumer(config, logger=client_logger)
    try:
        consumer.subscribe(["t"])
        with caplog.at_level(logging.INFO, client_logger.name):
            eventually(lambda: consumer.poll(0.05) is None and len(complaints) > 5, "the client does not try again")
    finally:
        consumer.close()
        client_logger.removeFilter(noted)
    assert "Connection refused" in complaints[-1]
    assert len([record for record in caplog.records if "Connection refused" in record.getMessage()]) == 1


def test_kinds_are_apart_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("mlserver.kafka.seldom.time.monotonic", lambda: now)
    once = Seldom()
    assert once.due("a")
    assert once.due("b")
    assert not once.due("a")
    now += 59
    assert not once.due("a")
    now += 1
    assert once.due("a")
    for number in range(10_000):
        once.due(number)
    assert len(once._said) <= 1_024
