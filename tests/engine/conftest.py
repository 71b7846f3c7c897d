"""A worker that the tests of a module share, which therefore run in one event loop."""

from collections.abc import AsyncIterator

import pytest_asyncio

from mlserver.engine.pools import Pools
from tests.engine.workers import pools


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Pools]:
    """One worker with settings by default. Whoever ends it, or changes them, has one of their own."""
    async with pools(parallel_workers=1) as made:
        yield made
