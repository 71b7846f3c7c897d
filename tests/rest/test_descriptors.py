"""A server that has no file descriptor left for another connection."""

import contextlib
import resource
import socket
import time
from pathlib import Path

import psutil

from tests.rest.conftest import make_folder, serve
from tests.rest.raw import PATIENCE_SECONDS
from tests.rest.test_connections import healthy


def test_more_connections_than_descriptors(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "models", {"sum": {"implementation": "kitchen.Sum"}}, idle_timeout_seconds=1)
    with serve(folder) as server:
        process = psutil.Process(server.pid)
        process.rlimit(resource.RLIMIT_NOFILE, (64, 64))
        with contextlib.ExitStack() as closing:
            for _ in range(200):
                closing.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS))
            begun, busy = time.monotonic(), sum(process.cpu_times()[:2])
            deadline = begun + PATIENCE_SECONDS
            while not _recovered(server.port):
                assert time.monotonic() < deadline
            waited = time.monotonic() - begun
            assert sum(process.cpu_times()[:2]) - busy < 0.2 + 0.2 * waited
        assert healthy(server)
        server.stop()


def _recovered(port: int) -> bool:
    """Whether somebody new is answered, while those who came before stay."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as caller:
        caller.settimeout(1)
        caller.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        return caller.recv(1000).startswith(b"HTTP/1.1 200 ")
    return False
