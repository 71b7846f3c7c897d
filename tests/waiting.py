"""To wait for what another process does."""

import time
from collections.abc import Callable

from tests.seed.serving import PATIENCE_SECONDS


def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds; fails where that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
