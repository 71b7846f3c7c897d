"""Tasks that take their first step at once: a predict has nothing to wait for, and a turn of the loop costs 10 us."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

if sys.version_info >= (3, 12):

    def begun(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str) -> "asyncio.Task[None]":
        """A task for `work`, which has come to where it waits, or has ended."""
        return asyncio.Task(work, loop=loop, name=name, eager_start=True)

else:

    def begun(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str) -> "asyncio.Task[None]":
        """A task for `work`; before Python 3.12 it begins in the loop's next turn.

        Not `loop.create_task`, which makes up a name: that costs as much as the task.
        """
        return asyncio.Task(work, loop=loop, name=name)
