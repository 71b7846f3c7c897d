"""Groups and topics that change: named members, the new protocol, partitions added, topics made anew, offsets gone."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from mlserver.testing.kafka import create_topics
from tests.kafka.client import Sent, Topics, Watch, all_committed, eventually, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder


def records(count: int, partitions: int = 1) -> list[Sent]:
    """Records for all partitions in turn."""
    return [Sent(request(float(n)), model("sum"), b"%d" % n, n % partitions) for n in range(count)]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_the_new_group_protocol(delivery: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, 4)
    config = {"group.protocol": "consumer"}
    folder = make_folder(tmp_path / "served", topics, SUM, kafka_consumer_config=config, kafka_delivery=delivery)
    with Server(folder) as first, Watch(kafka_bootstrap, topics.output) as answers:
        answers.of(send(topics, records(100, 4)))
        with Server(folder) as second:
            eventually(lambda: "assigned kafka-" in second.log, "the second has nothing")
            answers.of_some(send(topics, records(400, 4)))
            all_committed(topics)
            second.stop()
        answers.of_some(send(topics, records(100, 4)))
        all_committed(topics)
        first.stop()
    assert len(answers.records) == 600


def test_a_member_with_a_name_comes_back_to_what_it_had(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, 2)
    folders = [
        make_folder(tmp_path / name, topics, SUM, kafka_consumer_config={"group.instance.id": name})
        for name in ("one", "two")
    ]
    with Server(folders[0]) as one, Watch(kafka_bootstrap, topics.output) as answers:
        with Server(folders[1]) as two:
            eventually(lambda: "assigned kafka-" in two.log, "the second has nothing")
            answers.of(send(topics, records(20, 2)))
            two.stop()
        before = one.log.count("assigned")
        with Server(folders[1]) as two:
            eventually(lambda: "assigned kafka-" in two.log, "the second has nothing")
            answers.of(send(topics, records(20, 2)))
            all_committed(topics)
            two.stop()
        assert one.log.count("assigned") == before, "nobody else was disturbed"
        one.stop()


def test_partitions_that_are_added_are_read(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    config = {"topic.metadata.refresh.interval.ms": 500}
    with (
        Server(make_folder(tmp_path / "served", topics, SUM, kafka_consumer_config=config)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        answers.of(send(topics, records(10)))
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        admin.create_partitions([NewPartitions(topics.input, 3)])[topics.input].result(30)
        server.wait_for(f"{topics.input}/2")
        own = fresh_sender(topics)
        answers.of_some(own)
        all_committed(topics)
        server.stop()


def fresh_sender(topics: Topics) -> list[str]:
    """Records for the partitions that were added, as soon as the producer knows of them."""
    from tests.kafka.client import producer_of

    def known() -> bool:
        return len(producer_of(topics.bootstrap).list_topics(topics.input, 5).topics[topics.input].partitions) == 3

    eventually(known, "no new partitions")
    return send(topics, records(30, 3))


def test_a_topic_that_is_made_anew_is_read_from_its_beginning(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    config = {"topic.metadata.refresh.interval.ms": 500}
    with (
        Server(make_folder(tmp_path / "served", topics, SUM, kafka_consumer_config=config)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        answers.of(send(topics, records(50)))
        all_committed(topics)
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        admin.delete_topics([topics.input])[topics.input].result(30)
        eventually(lambda: topics.input not in admin.list_topics(timeout=5).topics, "not deleted")
        create_topics(kafka_bootstrap, topics.input)
        send(topics, records(20))
        answers.until(lambda found: len(found) == 70)
        all_committed(topics)
        server.stop()
    assert [answer.source for answer in answers.records[50:]] == [f"{topics.input}/0/{n}" for n in range(20)]


def committed(consumer: Consumer, position: TopicPartition) -> bool:
    """Whether it could be; a broker that has just started does not coordinate groups yet."""
    try:
        return bool(consumer.commit(offsets=[position], asynchronous=False))
    except KafkaException:
        return False


@pytest.mark.parametrize("policy", ["earliest", "latest", "error"])
def test_offsets_that_are_gone(policy: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    """The group has committed what the log does not have."""
    topics = fresh(kafka_bootstrap)
    sources = send(topics, records(10))
    given: dict[str, Any] = {"bootstrap.servers": kafka_bootstrap, "group.id": topics.group}
    consumer = Consumer(given)
    eventually(lambda: committed(consumer, TopicPartition(topics.input, 0, 1_000)), "no coordinator")
    consumer.close()
    folder = make_folder(tmp_path / "served", topics, SUM, kafka_auto_offset_reset=policy)
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        if policy == "error":
            server.wait_for(f"{topics.input}/0 is not read: ")
            assert server.ready()
        elif policy == "earliest":
            answers.of(sources)
        else:
            server.wait_for("offset reset (at offset 1000")
            eventually(lambda: send(topics, records(1)) and answers.poll(0.2), "nothing is read")
        server.stop()
    found = {answer.source for answer in answers.records}
    assert policy != "latest" or found
    assert found & set(sources) == (set(sources) if policy == "earliest" else set())
