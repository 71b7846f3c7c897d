"""Loaded for every test."""

from collections.abc import Callable

import pytest

pytest_plugins = ["tests.kafka_fixtures"]


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Write a line to the terminal: seeds, figures."""

    def line(text: str) -> None:
        with capsys.disabled():
            request.config.get_terminal_writer().line(f"\n  {text}")

    return line
