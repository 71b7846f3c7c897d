"""What models record of their own, in workers and in process, on the page that Prometheus reads."""

import os
import signal
from pathlib import Path

import pytest
import requests

from mlserver.metrics import MAX_MERGED, MetricsRegistry
from tests.observe.serving import ask, eventually, folder_of, serve, until, value_of
from tests.rest.conftest import free_port
from tests.rest.test_metrics import Series, scraped

MODELS = {"m": {"implementation": "kitchen.Recorder", "parameters": {"version": "v1"}}}


def made(folder: Path, workers: int, port: int) -> Path:
    return folder_of(folder, MODELS, parallel_workers=workers, metrics_endpoint="/metrics", metrics_port=port)


def recorded_by_m(found: Series, name: str, **labels: str) -> float:
    return value_of(found, name, model_name="m", model_version="v1", **labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_models_record(tmp_path: Path, workers: int) -> None:
    port = free_port()
    with serve(made(tmp_path, workers, port)) as server:
        assert [ask(server, "m", value) for value in (0.5, 5, 50)] == [200] * 3
        found = scraped(port)
        assert recorded_by_m(found, "asked_sum") == 55.5
        assert [recorded_by_m(found, "asked_bucket", le=le) for le in ("1.0", "10.0", "+Inf")] == [1, 2, 3]
        assert recorded_by_m(found, "loads_count") == 1
        requests.post(f"{server.url}/v2/repository/models/m/unload", timeout=30).raise_for_status()
        assert recorded_by_m(scraped(port), "unloads_count") == 1, "what it records last is not lost"
        assert recorded_by_m(scraped(port), "asked_count") == 3, "and the rest stays"
        server.stop()


def test_a_worker_s_death_loses_nothing_that_was_told(tmp_path: Path) -> None:
    port = free_port()
    with serve(made(tmp_path, 1, port)) as server:
        assert ask(server, "m", 5) == 200
        (pid,) = [int(child) for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        server.wait_for("killed by SIGKILL")
        eventually(lambda: ask(server, "m", 7) == 200)
        found = until(port, lambda found: recorded_by_m(found, "asked_count") == 2)
        assert recorded_by_m(found, "asked_sum") == 12
        assert recorded_by_m(found, "loads_count") == 2, "it was loaded anew"
        assert not list(tmp_path.glob("**/*.db"))
        server.stop()


def test_a_worker_that_lies(tmp_path: Path) -> None:
    port = free_port()
    models = {"liar": {"implementation": "kitchen.Liar"}}
    settings = {"parallel_workers": 1, "metrics_endpoint": "/metrics", "metrics_port": port}
    with serve(folder_of(tmp_path, models, **settings)) as server:
        assert ask(server, "liar", 1) == 200
        until(port, lambda found: value_of(found, "lie_count", model_name="liar", model_version="") == 1)
        assert not [key for key in scraped(port) if "made-up" in str(key)], "labels are those of models"
        ask(server, "liar", 0)
        server.wait_for("it broke the protocol: what models recorded")
        eventually(lambda: ask(server, "liar", 1) == 200)
        assert value_of(scraped(port), "workers_ended_total") == 1
        server.stop()


def test_names_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    registry = MetricsRegistry()
    registry.merge([["x" * 300, "", "m", "", [1.0], [1, 0], 0.5], ["w", "", "m", "", [*range(300)], [0] * 301, 0.5]])
    registry.merge([f"n{number}", "d" * 5_000, "m", "", [1.0], [1, 0], 0.5] for number in range(2 * MAX_MERGED))
    assert len(list(registry)) == MAX_MERGED
    assert len(registry["n0"].description) < 2_000
    registry.merge([["n0", "", "m", "", [1.0], [1, 0], 0.5]])
    assert registry["n0"].series()[0][1].counts == [2, 0]
    assert len(caplog.records) == 1
