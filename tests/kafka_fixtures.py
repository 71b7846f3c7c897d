"""A Kafka broker for the tests that need one: load with ``pytest_plugins = ["tests.kafka_fixtures"]``.

Tests that use it bear the marker `kafka`, and are counted by name at the end of a run that had to skip them.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mlserver.testing.kafka import Broker, create_topics, missing_tools

NEEDS = "needs a Kafka broker: "


@dataclass(frozen=True)
class Topics:
    """Names that no other test has; the dead-letter topic is the only one not created."""

    bootstrap: str
    input: str
    output: str
    dead_letter: str
    group: str


@pytest.fixture(scope="session")
def kafka_tools() -> None:
    """Skip where no broker can be started here; fail instead where the environment says CI."""
    if missing := missing_tools():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NEEDS + missing)


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a broker which all tests share: that in KAFKA_BOOTSTRAP, else one started for this run."""
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield given
        return
    request.getfixturevalue("kafka_tools")
    with Broker() as broker:
        yield broker.bootstrap


@pytest.fixture
def kafka_topics(kafka_bootstrap: str) -> Callable[..., Topics]:
    """Call it with `partitions` (default 1) for a fresh set of topics and a fresh group name."""

    def fresh(partitions: int = 1) -> Topics:
        name = f"test-{uuid.uuid4().hex[:12]}"
        topics = Topics(kafka_bootstrap, f"{name}-input", f"{name}-output", f"{name}-dead-letter", f"{name}-group")
        create_topics(kafka_bootstrap, topics.input, topics.output, partitions=partitions)
        return topics

    return fresh


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kafka: needs a Kafka broker (set on every test that uses one)")
    # kafka-python reads its schemas by a function that Python 3.11 and 3.12 call deprecated.
    config.addinivalue_line("filterwarnings", r"ignore:(read|open)_text is deprecated:DeprecationWarning")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"kafka_bootstrap", "kafka_tools"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if NEEDS in report.longreprtext]
    if skipped:
        terminalreporter.section(f"{len(skipped)} skipped for lack of a Kafka broker", yellow=True)
        for report in skipped:
            terminalreporter.write_line(report.nodeid)
