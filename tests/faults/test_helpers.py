"""The helpers of the fault tests see what they are there to see."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlserver.grpc.dataplane_pb2 import ModelInferRequest
from tests.faults.canary import Canary, GrpcCanary
from tests.faults.sampler import Sampler, sample


class Handler(BaseHTTPRequestHandler):
    """Answers `GET /STATUS` and echoes bodies; `/gone` hangs up."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/gone":
            self.close_connection = True
            return
        self.send_response(int(self.path[1:]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # seconds until it sees its end
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("body", [None, {"inputs": []}])
def test_a_healthy_server(url: str, body: object) -> None:
    with Canary(f"{url}/200", body, every_seconds=0.001) as canary:
        canary.wait_for(5)
    canary.assert_healthy(p99_seconds=20, at_least=5)
    assert canary.statuses.total() == len(canary.seconds) >= 5
    with pytest.raises(AssertionError, match="p99"):
        canary.assert_healthy(p99_seconds=0)


@pytest.mark.parametrize(("path", "status"), [("503", 503), ("gone", "ConnectionError")])
def test_an_ailing_server(url: str, path: str, status: object) -> None:
    with Canary(f"{url}/{path}", every_seconds=0.001) as canary:
        canary.wait_for(2)
    assert set(canary.statuses) == {status}
    with pytest.raises(AssertionError, match=str(status)):
        canary.assert_healthy()


def test_a_server_that_speaks_no_grpc(url: str) -> None:
    with GrpcCanary(url.removeprefix("http://"), ModelInferRequest(), every_seconds=0.001) as canary:
        canary.wait_for(2)
    assert set(canary.statuses) == {"UNAVAILABLE"}
    with pytest.raises(AssertionError, match="UNAVAILABLE"):
        canary.assert_healthy()


CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def test_a_tree_of_processes() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Sampler(process.pid) as sampler:
            now = sample(process.pid)
        process.communicate(b"\n")
    assert now.processes == sampler.first.processes == sampler.peak.processes == 2
    assert now.threads >= 2
    assert now.descriptors >= 6
    assert sampler.peak.rss_bytes >= now.rss_bytes > 5_000_000
    assert sample(process.pid).processes == 0
