"""More than a model can take: reading stops at the bound, polling goes on, and nobody is thrown out of the group."""

import json
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlserver.settings import Settings
from tests.kafka.client import Got, Sent, Tell, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import Server, make_folder, slow
from tests.kafka.test_metrics import metrics

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


NARROW: dict[str, dict[str, Any]] = {
    "narrow": {"implementation": "kitchen.Narrow", "parameters": {"extra": {"seconds": 0.02}}}
}
KIB = 1 << 10
FULL = [pytest.mark.nightly, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("count", "kib", "seconds"),
    [
        (12_000, 10, 12), pytest.param(100_000, 10, 240, marks=FULL),
        (600, 900, 8), pytest.param(4_000, 900, 60, marks=FULL),
    ],
)  # fmt: skip
def test_far_more_than_a_model_can_take(
    count: int, kib: int, seconds: float, kafka_bootstrap: str, tmp_path: Path, free_port: int, tell: Tell
) -> None:
    """50 records a second can be served; with our own bounds, and a group that bears silence for six seconds."""
    topics = fresh(kafka_bootstrap, 2)
    folder = make_folder(
        tmp_path / "served", topics, NARROW, metrics_endpoint="/metrics", metrics_port=free_port, debug=False,
        kafka_consumer_config={"max.poll.interval.ms": 6000, "session.timeout.ms": 6000}, shutdown_grace_seconds=1,
    )  # fmt: skip
    limit = Settings().kafka_max_in_flight_records
    in_flight: list[float] = []
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        server.wait_for("assigned kafka-")
        before = peak = tree_rss(server)
        for first in range(0, count, 100):
            send(topics, [text(kib, n % 2) for n in range(first, min(count, first + 100))])
            peak = max(peak, tree_rss(server))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            peak = max(peak, tree_rss(server))
            in_flight.append(metrics(free_port).get(f'kafka_in_flight_records{{group="{topics.group}"}}', 0))
            answers.poll(0.1)
        log = server.log
        server.end(signal.SIGTERM)
        server.gone(30)
    tell(f"{count} x {kib} KiB: {(peak - before) / MIB:.0f} MiB more, {max(in_flight):.0f} in flight at most")
    assert len(answers.records) > 10 * seconds
    assert peak - before <= 128 * MIB
    assert 0 < max(in_flight) <= min(limit, 64 * KIB // kib + 2)
    assert log.count("assigned kafka-") == 1
    assert "lost" not in log
    assert "revoked" not in log


def text(kib: int, partition: int) -> Sent:
    """A record of so many KiB."""
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["x" * (kib * KIB - 100)]}
    return Sent(json.dumps({"inputs": [tensor]}).encode(), model("narrow"), None, partition)


def tree_rss(server: Server) -> int:
    """Bytes, of the server and its door."""
    return sum(int(process.memory_info().rss) for process in [server.process, *server.process.children()])
