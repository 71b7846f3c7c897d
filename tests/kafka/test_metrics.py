"""What operators see: metrics of the door, and readiness where they ask for it."""

import signal
from pathlib import Path

import requests

from mlserver.testing.kafka import Broker, create_topics
from tests.kafka.client import Sent, Watch, all_committed, eventually, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder, slow


def metrics(port: int) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    lines = [line for line in text.splitlines() if line.startswith("kafka_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_is_counted(kafka_bootstrap: str, tmp_path: Path, free_port: int) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(
        tmp_path / "served", topics, SUM, metrics_endpoint="/metrics", metrics_port=free_port,
        kafka_unknown_model="skip", kafka_counts_for_ready=True,
    )  # fmt: skip
    group = f'group="{topics.group}"'
    own = f'{{{group},partition="0",topic="{topics.input}"}}'
    records = [*[Sent(request(1.0), model("sum"))] * 100, Sent(b"?", model("sum")), Sent(request(1.0), model("who"))]
    server = Server(folder)
    try:
        eventually(lambda: "REST on " in server.log, "not started")
        with Watch(kafka_bootstrap, topics.output) as answers:
            answers.of(send(topics, records)[:101])
        all_committed(topics)
        eventually(lambda: metrics(free_port).get(f'kafka_records_total{{{group},outcome="skipped"}}'), "no report")
        eventually(lambda: metrics(free_port).get(f"kafka_lag_records{own}") == 0, "lag stays")
        found = metrics(free_port)
        assert found[f'kafka_records_total{{{group},outcome="ok"}}'] == 100
        assert found[f'kafka_records_total{{{group},outcome="error"}}'] == 1
        assert found[f'kafka_records_total{{{group},outcome="dead_letter"}}'] == 1
        assert found[f"kafka_in_flight_records{{{group}}}"] == 0
        assert found[f"kafka_oldest_unfinished_seconds{own}"] == 0
        assert found[f"kafka_commit_duration_seconds_count{{{group}}}"] >= 1
        assert found[f"kafka_rebalances_total{{{group}}}"] == 1
        assert found["kafka_batch_records_sum"] == 102
        assert found[f"kafka_up{{{group}}}"] == 1
        assert server.ready()
        server.door().send_signal(signal.SIGSTOP)
        server.door().kill()
        eventually(lambda: not server.ready() or metrics(free_port)[f"kafka_up{{{group}}}"] == 0, "nobody noticed")
        eventually(server.ready, "not ready again")
        server.stop()
    finally:
        server.__exit__()


def test_what_is_late(kafka_bootstrap: str, tmp_path: Path, free_port: int) -> None:
    topics = fresh(kafka_bootstrap)
    folder = make_folder(
        tmp_path / "served", topics, slow(3600), metrics_endpoint="/metrics", metrics_port=free_port,
        shutdown_grace_seconds=1,
    )  # fmt: skip
    own = f'{{group="{topics.group}",partition="0",topic="{topics.input}"}}'
    with Server(folder) as server:
        send(topics, [Sent(request(1.0), model("slow"))] * 5)
        eventually(lambda: metrics(free_port).get(f"kafka_oldest_unfinished_seconds{own}", 0) > 1, "no age")
        assert metrics(free_port)[f"kafka_lag_records{own}"] == 5
        assert metrics(free_port)[f'kafka_in_flight_records{{group="{topics.group}"}}'] == 5
        server.end(signal.SIGTERM)
        server.gone(10)


def test_ready_means_the_broker_is_there(kafka_tools: None, tmp_path: Path) -> None:
    with Broker() as broker:
        topics = fresh(broker.bootstrap, create=False)
        create_topics(broker.bootstrap, topics.input, topics.output)
        with Server(make_folder(tmp_path / "served", topics, SUM, kafka_counts_for_ready=True)) as server:
            eventually(server.ready, "never ready")
            broker.kill()
            eventually(lambda: not server.ready(), "ready without a broker")
            broker.start()
            eventually(server.ready, "not ready again")
            server.stop()
