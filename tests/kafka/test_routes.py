"""Where records belong and where their answers go: topics of a model, `reply-to`, headers that come back."""

import signal
from pathlib import Path
from typing import Any

import pytest

from mlserver.engine.words import ModelTopics
from mlserver.errors import InferenceError
from mlserver.kafka.routes import Routes
from mlserver.testing.kafka import create_topics
from tests.kafka.client import Headers, Sent, Watch, all_committed, fresh, lag, model, request, send
from tests.kafka.serving import SUM, Server, make_folder, slow


def test_a_topic_of_one_model_names_it() -> None:
    routes = Routes(
        [
            ModelTopics("a", None, ["a-in", "both", "shared"], "a-out", None),
            ModelTopics("a", "v1", ["a-in", "both", "shared"], "a-out", None),
            ModelTopics("b", None, ["both"], None, None),
        ],
        shared_topic="shared",
    )
    assert [routes.model_of(topic) for topic in ("a-in", "both", "shared", "other")] == ["a", None, None, None]
    assert [routes.output_of("a", None), routes.output_of("a", "v1"), routes.output_of("a", "v2")] == [
        "a-out",
        "a-out",
        None,
    ]
    assert routes.output_of("b", None) is None


def test_reply_topics_are_allowed_by_pattern() -> None:
    routes = Routes(reply_topics=["replies-*", "one"])
    assert [routes.reply_topic(name) for name in ("replies-", "replies-7", "one")] == ["replies-", "replies-7", "one"]
    for name, words in (("two", "does not allow"), ("replies-/etc", "name of a topic"), ("..", "name of a topic")):
        with pytest.raises(InferenceError, match=words):
            routes.reply_topic(name)
    assert not Routes().replies


def test_answers_go_where_the_sender_says(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    mine, missing = f"{topics.output}-mine", f"{topics.output}-missing"
    create_topics(kafka_bootstrap, mine)
    folder = make_folder(
        tmp_path / "served", topics, SUM, kafka_reply_topics=[f"{topics.output}-m*"], kafka_echo_headers=["Tenant"],
        kafka_cloudevents=True, kafka_producer_config={"topic.metadata.propagation.max.ms": 300},
    )  # fmt: skip

    def to(topic: str, value: bytes, *more: tuple[str, bytes | None]) -> Sent:
        headers: Headers = [*model("sum"), ("Reply-To", topic.encode()), *more]
        return Sent(value, headers)

    extra: Headers = [("tenant", b"\xff"), ("TENANT", None), ("traceparent", b"00-1"), ("tracestate", b"a=b")]
    with (
        Server(folder) as server,
        Watch(kafka_bootstrap, topics.output) as answers,
        Watch(kafka_bootstrap, mine) as replies,
        Watch(kafka_bootstrap, topics.dead_letter) as letters,
    ):
        sources = send(
            topics,
            [to(mine, request(1.0), *extra), to(mine, b"?"), to("else", request(1.0)), to(missing, request(1.0)),
             to(missing, b"?"), Sent(request(1.0), model("sum"))],
        )  # fmt: skip
        good, bad = replies.of(sources[:2])
        refused, gone, bad_and_gone, usual = answers.of(sources[2:])
        letters.of(sources[1:5])
        all_committed(topics)
        server.stop()
    assert (good.status, bad.status, usual.status) == ("ok", "error", "ok")
    assert "does not allow" in refused.error
    assert "could not be written to reply-to topic" in gone.error
    assert "invalid inference request" in bad_and_gone.error
    assert len(letters.records) == 4
    names = [name for name, _ in good.headers]
    assert names[4:8] == ["traceparent", "tracestate", "tenant", "TENANT"]
    assert good.header("ce_specversion") == b"1.0"
    assert good.header("ce_id") == sources[0].encode()
    assert good.header("ce_modelid") == b"sum"


def test_a_model_with_topics_of_its_own(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    own = fresh(kafka_bootstrap)
    models: dict[str, dict[str, Any]] = {
        **SUM,
        "own": {**SUM["sum"], "kafka_input_topics": [own.input], "kafka_output_topic": own.output},
    }
    with (
        Server(make_folder(tmp_path / "served", topics, models)) as server,
        Watch(kafka_bootstrap, topics.output, own.output) as answers,
    ):
        unnamed, named = send(own, [Sent(request(1.0), []), Sent(request(1.0), model("sum"))])
        (shared,) = send(topics, [Sent(request(1.0), model("own"))])
        found = answers.of([unnamed, named, shared])
        server.stop()
    assert [answer.body["model_name"] for answer in found] == ["own", "sum", "own"]
    assert [answer.topic for answer in found] == [own.output, topics.output, own.output]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_group_of_its_own_waits_for_nobody(delivery: str, kafka_bootstrap: str, tmp_path: Path) -> None:
    """One consumer has no room, since its model never answers; those of other groups go on, and commit."""
    topics, own, stuck = (fresh(kafka_bootstrap) for _ in range(3))
    hanging = slow(3600)["slow"] | {"kafka_input_topics": [stuck.input], "kafka_group_id": stuck.group}
    mine = SUM["sum"] | {"kafka_input_topics": [own.input], "kafka_group_id": own.group}
    folder = make_folder(
        tmp_path / "served", topics, {**SUM, "own": mine, "slow": hanging}, kafka_delivery=delivery,
        kafka_max_in_flight_records=100, shutdown_grace_seconds=2,
    )  # fmt: skip
    with Server(folder) as server, Watch(kafka_bootstrap, topics.output) as answers:
        send(stuck, [Sent(request(1.0), [])] * 300)
        server.wait_for("paused: ")
        sources = send(own, [Sent(request(1.0), [])] * 300) + send(topics, [Sent(request(1.0), model("sum"))] * 300)
        found = answers.of(sources)
        all_committed(topics)
        all_committed(own)
        assert lag(stuck) == 300
        server.end(signal.SIGTERM)
        assert server.gone(10) == 0
    assert [answer.body["model_name"] for answer in found] == ["own"] * 300 + ["sum"] * 300
