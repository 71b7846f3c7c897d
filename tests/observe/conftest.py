"""A server for the whole room."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.observe.serving import folder_of, serve
from tests.rest.conftest import free_port
from tests.seed.serving import Served

MODELS: dict[str, dict[str, Any]] = {
    "recorder": {"implementation": "kitchen.Recorder", "parameters": {"version": "v1"}},
    "slow": {"implementation": "kitchen.Slow"},
    "together": {"implementation": "kitchen.Slow", "max_batch_size": 64, "max_batch_time": 0.01},
    "spanner": {"implementation": "kitchen.Spanner"},
    "streamer": {"implementation": "kitchen.Streamer"},
    "talker": {"implementation": "kitchen.Talker"},
}


@pytest.fixture(scope="session")
def metrics_port() -> int:
    """Where `served` has its metrics."""
    return free_port()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[Served]:
    """A server with a worker, an access log, and JSON lines."""
    settings: dict[str, Any] = {
        "debug": True,
        "use_structured_logging": True,
        "parallel_workers": 1,
        "max_queue_requests": 4,
    }
    metrics: dict[str, Any] = {"metrics_endpoint": "/metrics", "metrics_port": metrics_port}
    with serve(folder_of(tmp_path_factory.mktemp("served"), MODELS, **settings, **metrics)) as server:
        yield server
        server.stop()
        assert server.stderr == ""
