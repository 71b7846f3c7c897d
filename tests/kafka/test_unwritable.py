"""A dead-letter topic that cannot be written: its partition stands still, operators see it, and nothing is dropped."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from mlserver.testing.kafka import create_topics
from tests.kafka.client import Sent, Topics, Watch, all_committed, eventually, fresh, lag, model, request, send
from tests.kafka.serving import SUM, Server, make_folder
from tests.kafka.test_metrics import metrics
from tests.kafka.test_poison import check_letter

IN_FLIGHT = 100
GOOD = Sent(request(1.0), model("sum"))
POISON = Sent(b"?", [*model("sum"), ("mine", b"\xff")], b"poison")


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_dead_letters_that_cannot_be_written(
    delivery: str, kafka_bootstrap: str, tmp_path: Path, free_port: int
) -> None:
    topics = fresh(kafka_bootstrap)
    degraded = f'kafka_degraded{{group="{topics.group}"}}'
    folder = make_folder(
        tmp_path / "served", topics, SUM, kafka_delivery=delivery, kafka_max_in_flight_records=IN_FLIGHT,
        kafka_counts_for_ready=True, metrics_endpoint="/metrics", metrics_port=free_port,
        kafka_producer_config={"topic.metadata.propagation.max.ms": 300, "topic.metadata.refresh.interval.ms": 300},
    )  # fmt: skip
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        server.wait_for(f"created topic {topics.dead_letter}")
        before = send(topics, [GOOD] * 10)
        answers.of(before)
        eventually(lambda: metrics(free_port).get(degraded) == 0, "degraded from the beginning")
        delete(topics, topics.dead_letter)
        sources = send(topics, [POISON, *[GOOD] * 500])
        server.wait_for(f"topic {topics.dead_letter} does not take the dead letter of")
        server.wait_for("paused: ")
        eventually(lambda: metrics(free_port).get(degraded) == 1, "not degraded")
        eventually(lambda: not server.ready(), "ready without a place for dead letters")
        assert position(topics) == len(before), "committed past a record that has no end"
        assert lag(topics) == len(sources)
        create_topics(kafka_bootstrap, topics.dead_letter)
        with Watch(kafka_bootstrap, topics.dead_letter) as letters:
            answers.of(sources)
            check_letter(letters.of(sources[:1])[0], POISON, sources[0], "invalid")
        all_committed(topics)
        eventually(server.ready, "not ready again")
        eventually(lambda: metrics(free_port).get(degraded) == 0, "still degraded")
        server.stop()
    assert len(answers.records) == len(before) + len(sources)


def delete(topics: Topics, name: str) -> None:
    """Returns when the broker does not know it any more."""
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    admin.delete_topics([name])[name].result(30)
    eventually(lambda: name not in admin.list_topics(timeout=5).topics, "not deleted")


def position(topics: Topics) -> int:
    """Where the group stands in the only partition."""
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topics.group, "log_level": 0})
    try:
        (found,) = consumer.committed([TopicPartition(topics.input, 0)], 30)
        return int(found.offset)
    finally:
        consumer.close()
