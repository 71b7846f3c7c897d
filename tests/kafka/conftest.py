"""One server for the tests that look at single records."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kafka.client import Topics, Watch, all_committed, fresh
from tests.kafka.serving import Server, make_folder

MODELS: dict[str, dict[str, Any]] = {
    "sum": {"implementation": "kitchen.Sum"},
    "text": {"implementation": "kitchen.Text"},
    "odd": {"implementation": "kitchen.Odd"},
    "versioned-v1": {"name": "versioned", "implementation": "kitchen.Sum", "parameters": {"version": "v1"}},
    "versioned-v2": {"name": "versioned", "implementation": "kitchen.Sum", "parameters": {"version": "v2"}},
}


@pytest.fixture(scope="session")
def topics(kafka_bootstrap: str) -> Topics:
    """What `served` reads and writes; the input has one partition."""
    return fresh(kafka_bootstrap)


@pytest.fixture(scope="session")
def served(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all models. In the end everything that was sent has had its end, and nothing had two."""
    folder = make_folder(tmp_path_factory.mktemp("served"), topics, MODELS, kafka_ordering="partition")
    with Server(folder) as server:
        yield server
        all_committed(topics)
        server.stop()
        for word in ("Traceback", "never retrieved", "never awaited", "Task was destroyed"):
            assert word not in server.stderr, server.stderr


@pytest.fixture(scope="session")
def answers(served: Server, topics: Topics) -> Iterator[Watch]:
    """The output topic of `served`."""
    with Watch(topics.bootstrap, topics.output) as watch:
        yield watch


@pytest.fixture(scope="session")
def letters(served: Server, topics: Topics) -> Iterator[Watch]:
    """The dead-letter topic of `served`."""
    with Watch(topics.bootstrap, topics.dead_letter) as watch:
        yield watch


@pytest.fixture
def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
