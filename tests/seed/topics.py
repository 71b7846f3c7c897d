"""Sending to a server's topics and reading from them, by a client that is not the server's own."""

import uuid
from collections.abc import Iterable

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from mlserver.testing.kafka import create_topics
from tests.kafka_fixtures import Topics

PATIENCE_SECONDS = 60.0
HEADERS = [("mlserver-model", b"mnist-svm"), ("mlserver-version", b"v0.1.0")]


def fresh(bootstrap: str) -> Topics:
    """Topics and a group that nobody else has, for servers that several tests share."""
    name = f"seed-{uuid.uuid4().hex[:12]}"
    topics = Topics(bootstrap, f"{name}-input", f"{name}-output", f"{name}-dead-letter", f"{name}-group")
    create_topics(bootstrap, topics.input, topics.output)
    return topics


def settings_of(topics: Topics) -> dict[str, str]:
    """What makes a server use them, as in `settings.json`."""
    return {
        "kafka_servers": topics.bootstrap,
        "kafka_group_id": topics.group,
        "kafka_topic_input": topics.input,
        "kafka_topic_output": topics.output,
        "kafka_topic_dead_letter": topics.dead_letter,
    }


def send(topics: Topics, values: Iterable[bytes]) -> None:
    """Produce one record per value for the model of the walk-through."""
    with KafkaProducer(bootstrap_servers=topics.bootstrap) as producer:
        sent = [producer.send(topics.input, value, headers=HEADERS) for value in values]
        for each in sent:
            each.get(PATIENCE_SECONDS)


def records(topics: Topics, count: int) -> list[ConsumerRecord]:
    """The records of the output topic, as soon as there are `count`. Fails where there are fewer, or more by then."""
    consumer = KafkaConsumer(
        topics.output,
        bootstrap_servers=topics.bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=int(PATIENCE_SECONDS * 1000),
    )
    with consumer:
        found = [record for _, record in zip(range(count), consumer, strict=False)]
        partition = TopicPartition(topics.output, 0)
        assert len(found) == consumer.end_offsets([partition])[partition] == count
    return found
