"""Servers that share a group share the work; what waits while there is none is answered later."""

from pathlib import Path

from tests.kafka.client import Sent, Watch, all_committed, eventually, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder

PARTITIONS = 4
COUNT = 10_000


def records(count: int) -> list[Sent]:
    """Records for all partitions in turn."""
    return [Sent(request(float(n % 100)), model("sum"), b"%d" % n, n % PARTITIONS) for n in range(count)]


def test_two_servers_share_what_comes_and_a_restart_goes_on(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(tmp_path / "served", topics, SUM, kafka_ordering="partition")
    with Watch(kafka_bootstrap, topics.output) as answers:
        with Server(folder) as first, Server(folder) as second:
            for server in (first, second):
                eventually(lambda server=server: "assigned kafka-" in server.log, "no assignment")  # type: ignore[misc]
            sources = send(topics, records(COUNT))
            found = answers.of(sources)
            all_committed(topics)
            first.stop()
            second.stop()
            for server in (first, second):
                assert "lost" not in server.log
        later = send(topics, records(500))
        with Server(folder) as again:
            found += answers.of(later)
            all_committed(topics)
            again.stop()
            assert "retained records" not in again.log
    assert len(answers.records) == COUNT + 500
    assert {answer.status for answer in found} == {"ok"}
    for partition in range(PARTITIONS):
        mine = [answer for answer in found if answer.source.split("/")[1] == str(partition)]
        assert {answer.partition for answer in mine} == {partition}
        assert [answer.offset for answer in mine] == list(range(len(mine)))


def test_other_counts_of_partitions(kafka_bootstrap: str, tmp_path: Path) -> None:
    """Then the key decides, by the hash that Java's client uses."""
    topics = fresh(kafka_bootstrap, 1)
    topics = type(topics)(kafka_bootstrap, topics.input, f"{topics.output}-3", topics.dead_letter, topics.group)
    fresh_output(topics.bootstrap, topics.output)
    with (
        Server(make_folder(tmp_path / "served", topics, SUM)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        keys = [b"%d" % (n % 20) for n in range(200)]
        found = answers.of(send(topics, [Sent(request(1.0), model("sum"), key) for key in keys]))
        server.wait_for("have 1 and 3 partitions")
        server.stop()
    # murmur2, as org.apache.kafka.clients.producer computes it, of "0".."19", modulo 3.
    by_key = {answer.key: answer.partition for answer in found}
    assert [by_key[b"%d" % n] for n in range(20)] == [murmur2(b"%d" % n) % 3 for n in range(20)]
    for key in set(keys):
        offsets = [answer.offset for answer in found if answer.key == key]
        assert offsets == sorted(offsets)


def fresh_output(bootstrap: str, name: str) -> None:
    """A topic with three partitions."""
    from mlserver.testing.kafka import create_topics

    create_topics(bootstrap, name, partitions=3)


def murmur2(data: bytes) -> int:
    """The positive hash of a key that Java's client computes, from kafka-python's port of it."""
    from kafka.partitioner.default import murmur2

    return int(murmur2(data)) & 0x7FFFFFFF
