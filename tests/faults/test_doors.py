"""What is done to the doors elsewhere, done again while others ask both of them: nobody else notices.

The attacks are the tests of the doors, with the cases that those have, against one server with its models in a worker.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from mlserver import Settings
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.faults.canary import Canary, GrpcCanary
from tests.faults.sampler import Sample, sample
from tests.faults.serving import ready
from tests.grpc import test_calls, test_connections, test_errors, test_malformed
from tests.grpc.client import Door, refusal, typed_request
from tests.grpc.conftest import port_of
from tests.rest import (
    test_binary,
    test_compression,
    test_deadlines,
    test_sizes,
    test_smuggling,
    test_statuses,
)
from tests.rest import test_connections as test_http
from tests.rest.conftest import LARGE, WELL, free_port, make_folder, serve
from tests.rest.raw import Raw, get, inference, post
from tests.rest.test_metrics import scraped
from tests.seed.serving import Served
from tests.waiting import wait_until

# Generous, for a machine that does other things too: they tell a server that answers from one that is held up.
P99_SECONDS = 5.0
GROWTH_BYTES = 128 * 2**20
DESCRIPTORS = 8
IDLE = 400
UNKNOWN = 10_000


@dataclass(frozen=True)
class Attacked:
    """The server, what it took before the first attack, and where its metrics are."""

    server: Served
    metrics_port: int
    before: Sample
    target: str


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """A server with the default of workers that gives callers little time, after it has answered some requests."""
    models = {name: WELL[name] for name in ("sum", "echo", "gate", "large", "raiser")}
    timeouts = {"header_timeout_seconds": 0.5, "body_timeout_seconds": 0.8, "idle_timeout_seconds": 1.2}
    metrics = {"metrics_endpoint": "/metrics", "metrics_port": free_port()}
    workers = {"parallel_workers": Settings().parallel_workers}
    folder = make_folder(tmp_path_factory.mktemp("doors"), models, max_body_bytes=LARGE, **timeouts, **metrics, **workers)
    with serve(folder) as server:
        target = f"127.0.0.1:{port_of(server)}"
        with canaries(server, target) as asking:
            for canary in asking:
                canary.wait_for(5)
        yield Attacked(server, int(metrics["metrics_port"]), sample(server.pid), target)
        server.stop()
        assert server.stderr == ""
        for word in ("unexpected failure", "never retrieved", "never awaited", "Task was destroyed"):
            assert word not in server.log


class canaries(ExitStack):  # noqa: N801 - used as a function
    """One that asks REST and one that asks gRPC, of the same model."""

    def __init__(self, server: Served, target: str) -> None:
        super().__init__()
        self._rest = Canary(f"{server.url}/v2/models/sum/infer", inference(1, 2))
        self._grpc = GrpcCanary(target, typed_request("sum", 1, 2))

    def __enter__(self) -> Any:
        super().__enter__()
        return self.enter_context(self._rest), self.enter_context(self._grpc)
