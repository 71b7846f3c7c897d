"""More than a model can take: reading stops at the bound, polling goes on, and nobody is thrown out of the group."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.kafka.client import Got, Sent, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import Server, make_folder, slow

BOUND = 1_000
MIB = 1 << 20


def test_in_flight_is_bounded(kafka_bootstrap: str, tmp_path: Path) -> None:
    """100 MB wait. What a pause logs is the peak: reading goes on until there is no room."""
    topics = fresh(kafka_bootstrap, 2)
    value = request(*[1.0] * 2_000)
    records = [Sent(value, model("slow"), None, n % 2) for n in range(10_000)]
    assert len(value) * len(records) > 100_000_000
    folder = make_folder(
        tmp_path / "served", topics, slow(0.01), kafka_max_in_flight_records=BOUND, kafka_max_in_flight_bytes=8 * MIB
    )
    sources = send(topics, records)
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        door = server.door()
        before, peak = door.memory_info().rss, 0

        def all_there(found: Sequence[Got]) -> bool:
            nonlocal peak
            peak = max(peak, door.memory_info().rss)
            return len(found) >= len(sources)

        answers.until(all_there)
        all_committed(topics)
        server.stop()
        log = server.log
    assert max(pauses(log)) * len(value) <= 8 * MIB * 2
    assert peak - before < 96 * MIB
    assert log.count("assigned kafka-") == 1
    assert "lost" not in log
    assert len(answers.records) == len(sources)


def pauses(log: str) -> list[int]:
    """How many records were in flight at each pause; there must be one."""
    seen = [int(found) for found in re.findall(r"paused: (\d+) records in flight", log)]
    assert seen, "it never paused"
    return seen


def test_a_small_bound_of_records(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(tmp_path / "served", topics, slow(0.6), kafka_max_in_flight_records=100)
    sources = send(topics, [Sent(request(1.0), model("slow")) for _ in range(300)])
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        answers.of(sources)
        all_committed(topics)
        server.stop()
        assert max(pauses(server.log)) <= 100


def test_a_call_longer_than_the_longest_silence_a_group_bears(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(
        tmp_path / "served", topics, slow(10),
        kafka_consumer_config={"max.poll.interval.ms": 6000, "session.timeout.ms": 6000},
    )  # fmt: skip
    sources = send(topics, [Sent(request(1.0), model("slow")) for _ in range(3)])
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        answers.of(sources)
        all_committed(topics)
        assert "lost" not in server.log
        assert "revoked" not in server.log
        server.stop()
