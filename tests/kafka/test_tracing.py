"""One id, followed from a record through its batch to the worker."""

import secrets
from pathlib import Path

from tests.kafka.client import Sent, Watch, fresh, model, request, send
from tests.kafka.serving import SUM, Server, make_folder
from tests.observe.collector import Collector

PARENT = "00f067aa0ba902b7"


def test_records_continue_their_traces(kafka_bootstrap: str, tmp_path: Path) -> None:
    topics = fresh(kafka_bootstrap)
    traces = [secrets.token_hex(16) for _ in range(20)]
    contexts = [f"00-{trace}-{PARENT}-01" for trace in traces]
    records = [Sent(request(1.0), [*model("sum"), ("traceparent", context.encode())]) for context in [*contexts, "a,b"]]
    records.append(Sent(b"?", [*model("sum"), ("traceparent", contexts[0].encode())]))
    with Collector() as collector:
        settings = {"tracing_server": f"127.0.0.1:{collector.port}", "parallel_workers": 1}
        folder = make_folder(tmp_path / "served", topics, SUM, **settings)
        with Watch(kafka_bootstrap, topics.output) as answers, Server(folder) as server:
            found = answers.of(send(topics, records))
            server.stop()
        assert found[0].header("traceparent") == contexts[0].encode(), "answers carry it back"
        for trace in traces:
            spans = collector.of(trace, 3)
            assert {"kafka infer", "queue", "predict"} <= spans.keys()
            assert spans["kafka infer"].parent == PARENT
            assert spans["queue"].parent == spans["predict"].parent == spans["kafka infer"].id
            assert spans["kafka infer"].attributes["mlserver.model.name"] == "sum"
        in_worker = [span for span in collector.spans if span.name == "predict in worker"]
        assert {span.trace for span in in_worker} & set(traces)
