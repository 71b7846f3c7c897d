"""Ended at each point where a power cut would tell, once, twice and three times passed it; in both deliveries."""

from pathlib import Path

import pytest

from mlserver.kafka.failpoints import POINTS, FailPoint, next_life
from tests.kafka.client import Watch, all_committed, eventually, fresh, send
from tests.kafka.serving import SUM, Server, make_folder, slow
from tests.kafka.test_exactly_once import PARTITIONS, in_order, numbered

WINDOW = 500
KILLS = 3
IN_ONE_MEMBER = [
    (delivery, point)
    for delivery in ("at_least_once", "exactly_once")
    for point in POINTS
    if point != "mid_rebalance" and (point != "mid_transaction" or delivery == "exactly_once")
]


def test_a_point_is_passed_until_it_is_the_last() -> None:
    chosen = FailPoint("after_infer:2,after_consume:1")
    assert [chosen.passing(name) for name in ("after_consume", "after_infer", "after_infer", "after_infer")] == [
        False,
        False,
        True,
        False,
    ]
    assert not FailPoint(None).passing("after_infer")
    assert next_life("after_infer:2,after_consume:1") == "after_consume:1"
    assert next_life("after_consume:1") == next_life("") == next_life(None) == ""


@pytest.mark.parametrize(("delivery", "point"), IN_ONE_MEMBER)
def test_killed_three_times_at(delivery: str, point: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(
        tmp_path / "served", topics, SUM, kafka_delivery=delivery, kafka_max_in_flight_records=WINDOW,
        kafka_consumer_config={"group.instance.id": "one"},
    )  # fmt: skip
    sources = send(topics, numbered(1_500))
    with (
        Watch(kafka_bootstrap, topics.output) as answers,
        Server(folder, fail_point=",".join(f"{point}:{count + 1}" for count in range(KILLS))) as server,
    ):
        answers.of_some(sources)
        while server.log.count("the Kafka door ended with code -9") < KILLS:
            assert len(sources) < 1_600, "it was not killed three times"
            sources += send(topics, numbered(1, first=len(sources)))
            answers.of_some(sources)
            all_committed(topics)  # or a hundred answers might have one commit
        all_committed(topics)
        server.stop()
        answers.poll(0.2)
    if delivery == "exactly_once":
        in_order(answers.records)
    assert {answer.source for answer in answers.records} == set(sources)
    assert len(answers.records) <= len(sources) + WINDOW * KILLS


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_killed_while_it_hands_partitions_over(delivery: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap, PARTITIONS)
    folder = make_folder(
        tmp_path / "served", topics, slow(0.02), kafka_delivery=delivery, kafka_max_in_flight_records=WINDOW,
        kafka_consumer_config={"session.timeout.ms": 6000},
    )  # fmt: skip
    sources = send(topics, numbered(2_000, "slow"))
    with (
        Watch(kafka_bootstrap, topics.output) as answers,
        Server(folder, fail_point="mid_rebalance:1") as first,
    ):
        answers.until(lambda found: len(found) > 100)
        with Server(folder) as second:
            first.wait_for("the Kafka door ended with code -9")
            eventually(lambda: "assigned kafka-" in second.log, "no assignment")
            answers.of_some(sources)
            all_committed(topics)
            second.stop()
        first.stop()
        answers.poll(0.2)
    if delivery == "exactly_once":
        in_order(answers.records)
    assert {answer.source for answer in answers.records} == set(sources)
    assert len(answers.records) <= len(sources) + WINDOW
