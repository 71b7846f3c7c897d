"""Servers with a Kafka door, as people start them."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.kafka.client import Topics, eventually
from tests.seed.serving import Served, environment

SUM: dict[str, dict[str, Any]] = {"sum": {"implementation": "kitchen.Sum"}}


def slow(seconds: float) -> dict[str, dict[str, Any]]:
    """A model that takes so long for a call, however many rows that has."""
    return {"slow": {"implementation": "kitchen.Slow", "parameters": {"extra": {"seconds": seconds}}}}


def make_folder(folder: Path, topics: Topics, models: dict[str, dict[str, Any]], **settings: Any) -> Path:
    """What `mlserver start` serves: each model in a folder of its own, on a port that is free."""
    folder.mkdir(exist_ok=True)
    given = {
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_endpoint": "",
        "parallel_workers": 0,
        "debug": True,
        "kafka_enabled": True,
        "kafka_servers": topics.bootstrap,
        "kafka_group_id": topics.group,
        "kafka_topic_input": topics.input,
        "kafka_topic_output": topics.output,
        "kafka_topic_dead_letter": topics.dead_letter,
        **settings,
    }
    (folder / "settings.json").write_text(json.dumps(given))
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    for name, model in models.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "model-settings.json").write_text(json.dumps({"name": name, **model}))
    return folder


class Server(Served):
    """The server of a folder; entering the context waits until it is ready."""

    def __init__(self, folder: Path, **variables: str) -> None:
        """`variables` are set in its environment, as `MLSERVER_*`."""
        super().__init__(".", cwd=folder, env=environment(**variables))

    @property
    def process(self) -> psutil.Process:
        """The server's own process."""
        return psutil.Process(self._process.pid)

    def door(self) -> psutil.Process:
        """The process of the Kafka door, as soon as there is one."""

        def found() -> psutil.Process | None:
            doors = [child for child in self.process.children() if "mlserver.kafka" in _command(child)]
            return doors[0] if doors else None

        return eventually(found, "no Kafka door runs")

    def ready(self) -> bool:
        """What REST says."""
        return requests.get(f"{self.url}/v2/health/ready", timeout=5).status_code == 200

    def end(self, how: signal.Signals) -> None:
        """Send a signal to the server's own process."""
        os.kill(self._process.pid, how)

    def gone(self, timeout_seconds: float) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(timeout_seconds)


def kill_all(server: Server) -> None:
    """The server and its door at one moment, as with a machine that is lost: nobody leaves the group."""
    with contextlib.suppress(psutil.NoSuchProcess):  # a door that is just being started anew
        for process in [*server.process.children(), server.process]:
            process.suspend()
    for process in [*server.process.children(), server.process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.gone(10)


def ended(process: psutil.Process) -> bool:
    """Whether a process has ended; one that nobody has asked for its exit code since is called a zombie."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
