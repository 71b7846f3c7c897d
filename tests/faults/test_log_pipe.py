"""A log that nobody reads, or whose reader is gone, stops nothing; and the server says what is missing."""

import fcntl
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.canary import Canary
from tests.seed.serving import environment

PATIENCE_SECONDS = 60
# The smallest pipe there is: two lines fill it.
PIPE_BYTES = 4096
MODEL = """
import logging
from mlserver import MLModel
from mlserver.types import InferenceResponse

class Talker(MLModel):
    async def predict(self, payload):
        for number in range(20):
            logging.getLogger("mlserver").info("%d %s", number, "x" * 3000)
        return InferenceResponse(model_name=self.name, outputs=[])
"""
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}


class Talkative:
    """A server whose model says 60 KB at each request, and the end of the pipe that it says it to."""

    def __init__(self, folder: Path) -> None:
        (folder / "talker.py").write_text(MODEL)
        (folder / "settings.json").write_text(
            json.dumps({"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_endpoint": ""})
        )
        (folder / "model-settings.json").write_text(json.dumps({"name": "t", "implementation": "talker.Talker"}))
        self.process = subprocess.Popen(
            ["mlserver", "start", "."],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=PIPE_BYTES,
        )

    def ready_at(self) -> str:
        """Read the log no further than to where it answers."""
        assert self.process.stdout is not None
        for line in iter(self.process.stdout.readline, b""):
            if found := re.search(rb"ready: REST on (.+)$", line.rstrip()):
                return f"http://{found[1].decode()}/v2/models/t/infer"
        raise AssertionError("it ended before it was ready")

    def end(self) -> bytes:
        """SIGTERM; what it has said to standard error by its end. Nobody reads its log meanwhile."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_SECONDS) == 0
        assert self.process.stderr is not None
        return self.process.stderr.read()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Talkative]:
    found = Talkative(tmp_path)
    with found.process:
        try:
            yield found
        finally:
            found.process.kill()


def test_a_log_that_nobody_reads(server: Talkative) -> None:
    url = server.ready_at()
    assert server.process.stdout is not None
    assert fcntl.fcntl(server.process.stdout, fcntl.F_GETPIPE_SZ) == PIPE_BYTES
    # More than is kept: some lines have to go.
    with Canary(url, BODY, every_seconds=0) as canary:
        canary.wait_for(120)
    canary.assert_healthy(at_least=120)
    assert canary.percentile(0.9) < 1
    assert server.end() == b""


def test_what_is_missing_is_said_when_it_is_read_again(server: Talkative) -> None:
    url = server.ready_at()
    with Canary(url, BODY, every_seconds=0) as canary:
        canary.wait_for(120)
    assert server.process.stdout is not None
    said = b"lines of this log were dropped, because nobody read standard output"
    lines: list[bytes] = []
    for line in iter(server.process.stdout.readline, b""):
        lines.append(line)
        if said in line:
            break
    dropped = re.search(rb"WARNING - (\d+) lines", lines[-1])
    assert dropped is not None
    kept = sum(b"xxx" in line for line in lines)
    assert kept + int(dropped[1]) == 20 * len(canary.seconds)
    with Canary(url, BODY) as canary:
        canary.wait_for(1)
    canary.assert_healthy()


def test_a_log_whose_reader_is_gone(server: Talkative) -> None:
    url = server.ready_at()
    assert server.process.stdout is not None
    server.process.stdout.close()
    with Canary(url, BODY, every_seconds=0) as canary:
        canary.wait_for(20)
    canary.assert_healthy(at_least=20)
    assert server.end() == b""
