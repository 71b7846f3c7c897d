"""The page about metrics, logs and traces: its blocks run, and its table is the page of metrics."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from mlserver.grpc.dataplane_pb2 import ServerMetadataRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.docs.pages import ROOT, blocks
from tests.docs.walk import Walk
from tests.observe.collector import Collector
from tests.observe.serving import grpc_port
from tests.rest.conftest import free_port
from tests.seed.serving import Served, environment

PAGE = ROOT / "docs" / "observability.md"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)
# These have a series with the first stream.
_STREAMS = {"grpc_server_msg_received_total", "grpc_server_msg_sent_total"}


def told(page: str) -> dict[str, tuple[str, set[str]]]:
    """Type and labels by name, as the table has them."""
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in _ROW.findall(page)}


def shown(port: int) -> Iterator[tuple[str, str, set[str]]]:
    """Name, type and labels of every family of the server's own."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    for family in text_string_to_metric_families(text):
        if not family.name.startswith(("process_", "python_", "widest")):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, {label for sample in family.samples for label in sample.labels} - {"le"}


def assert_told(port: int, served: Served) -> None:
    """The table has every family that the server shows, and no other, each as it is."""
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port(served)}") as channel:
        GRPCInferenceServiceStub(channel).ServerMetadata(ServerMetadataRequest(), timeout=30)
    table = told(PAGE.read_text())
    assert requests.get(f"{served.url}/v2", timeout=30).status_code == 200
    wrong = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    assert requests.post(f"{served.url}/v2/models/spread/infer", json=wrong, timeout=30).status_code == 500
    found = {name: (kind, labels) for name, kind, labels in shown(port)}
    assert found.keys() == table.keys()
    for name, described in found.items():
        if name not in _STREAMS:
            assert described == table[name], name


@pytest.mark.skipif(not shutil.which("curl"), reason="the page uses curl, which is not here")
def test_the_page(tmp_path: Path) -> None:
    port = free_port()
    env = environment(http_port=0, metrics_port=port)
    with Collector() as collector:
        instead = {"localhost:8082": f"127.0.0.1:{port}", "localhost:4317": f"127.0.0.1:{collector.port}"}
        with Walk(tmp_path, env, instead) as walk:
            walk.all(blocks(PAGE))
            served = walk.served
            assert served is not None
            assert '"model_name": "spread", "model_version": "1", "request_id": "r-17"' in served.wait_for("2 rows")
            assert_told(port, served)
            served.stop()
        rows = re.findall(r"^\| `([^|`]+)`[^|]*\| (?:the|it)", PAGE.read_text(), re.MULTILINE)
        assert set(collector.of(TRACE, 4)) == set(rows)
