"""The broker as a process: told from a stranger with the same pid, ended, and on a port that was free."""

import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NamedTuple, Self

from mlserver.testing.kafka_jars import BrokerError, run

HOST = "127.0.0.1"
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02


class Running(NamedTuple):
    """A running broker; the mark (its start) tells it from a stranger to whom the system gave the same pid."""

    pid: int
    mark: str
    bootstrap: str

    @classmethod
    def find(cls, data: Path) -> Self | None:
        """The broker whose data are there, or None where it does not run."""
        try:
            found = cls(**json.loads((data / "broker.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.mark and start_mark(found.pid) == found.mark else None

    def end(self, how: signal.Signals) -> None:
        """Send `how`, and SIGKILL where that has not ended it within 20 s; returns when it is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
            while start_mark(self.pid) == self.mark:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(POLL_SECONDS)


def start_mark(pid: int) -> str:
    """When the process started, in the system's own terms; empty where there is none, or only its zombie."""
    try:
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            state, mark = fields[0], fields[19]
        else:
            state, _, mark = run(["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], 10, "ps failed").partition(" ")
    except (OSError, BrokerError):
        return ""
    return "" if state[:1] in "ZX" else mark.strip()


def is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def free_port(*taken: int) -> int:
    """A free port below those the system gives to clients, so that none of them sits on it during a restart."""
    while (port := 15000 + secrets.randbelow(15000)) in taken or not is_free(port):
        pass
    return port
