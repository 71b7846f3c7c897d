"""Offsets are committed by members of the group only: a broker does not look at who names none."""

from confluent_kafka import Consumer, TopicPartition

from mlserver.kafka.config import consumer_config, transactional_config
from mlserver.kafka.records import Record
from mlserver.kafka.tracker import Lane
from mlserver.kafka.transactions import Transactions
from mlserver.settings import Settings
from tests.kafka.client import PATIENCE_SECONDS, eventually, fresh


def test_who_was_put_out_of_the_group_commits_nothing(kafka_bootstrap: str) -> None:
    """Its client names no member then, as one that has not joined yet, and no poll has taken its partitions away."""
    topics = fresh(kafka_bootstrap)
    settings = Settings(
        kafka_servers=kafka_bootstrap, kafka_group_id=topics.group, kafka_delivery="exactly_once",
        kafka_topic_input=topics.input, kafka_topic_output=topics.output, kafka_topic_dead_letter=topics.dead_letter,
    )  # fmt: skip
    config = consumer_config(settings)
    consumer = Consumer(config)
    transactions = Transactions(settings, transactional_config(settings, config, "me"))
    transactions.attach(consumer, lambda: 1)
    record = Record(Lane(topics.input, 0, topics.group), 0, None, b"{}")
    record.body = b"{}"
    try:
        transactions.serve()
        transactions.end(record)
        eventually(lambda: transactions.rewinding.is_set() or transactions._committed, "nothing became of the record")
        assert transactions.rewinding.is_set()
        (found,) = consumer.committed([TopicPartition(topics.input, 0)], timeout=PATIENCE_SECONDS)
        assert found.offset < 0
    finally:
        transactions.close(1)
        consumer.close()
