"""What a slow record holds up: its own lane of order, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.kafka.client import Got, Sent, Watch, all_committed, fresh, model, request, send
from tests.kafka.serving import Server, make_folder

GATED: dict[str, dict[str, Any]] = {"gated": {"implementation": "kitchen.Gated"}}
SLOW = 13.0
"""The number that `Gated` waits at, until its gate is there."""


def answered(
    kafka_bootstrap: str, tmp_path: Path, ordering: str | None, records: list[Sent], before: set[int]
) -> list[Got]:
    """The answers, of which those `before` must come while the gate is shut and no others may."""
    topics = fresh(kafka_bootstrap)
    gate = tmp_path / "gate"
    models = {"gated": {**GATED["gated"], "parameters": {"extra": {"gate": str(gate)}}}}
    given = {} if ordering is None else {"kafka_ordering": ordering}
    with (
        Server(make_folder(tmp_path / "served", topics, models, **given)) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
    ):
        sources = send(topics, records)
        answers.of_some([sources[index] for index in before])
        answers.poll(0.3)
        assert {sources.index(answer.source) for answer in answers.records} == before
        gate.touch()
        found = answers.of(sources)
        all_committed(topics)
        server.stop()
    return found


def test_one_key_waits_and_the_others_go_on(kafka_bootstrap: str, tmp_path: Path) -> None:
    """By default; more polls' worth than frames were ever at the scheduler at once."""
    records = [Sent(request(SLOW if n == 0 else 1.0), model("gated"), b"%d" % (n % 7)) for n in range(2_100)]
    before = {n for n in range(2_100) if n % 7}
    found = answered(kafka_bootstrap, tmp_path, None, records, before)
    for key in range(7):
        offsets = [answer.offset for n, answer in enumerate(found) if n % 7 == key]
        assert offsets == sorted(offsets)


def test_records_without_a_key_have_no_order(kafka_bootstrap: str, tmp_path: Path) -> None:
    records = [Sent(request(SLOW if n == 0 else 1.0), model("gated")) for n in range(10)]
    answered(kafka_bootstrap, tmp_path, "key", records, set(range(1, 10)))


@pytest.mark.parametrize(("ordering", "before"), [("partition", {0, 1}), ("none", {0, 1, 3, 4, 5})])
def test_other_orders(ordering: str, before: set[int], kafka_bootstrap: str, tmp_path: Path) -> None:
    records = [Sent(request(SLOW if n == 2 else 1.0), model("gated"), b"%d" % (n % 2)) for n in range(6)]
    answered(kafka_bootstrap, tmp_path, ordering, records, before)
