"""Tasks that take their first step at once: most have nothing to wait for, and a turn of the loop costs 10 us."""

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

if sys.version_info >= (3, 12):

    def begun(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context | None = None
    ) -> "asyncio.Task[None]":
        """A task for `work`, which has come to where it waits, or has ended."""
        return asyncio.Task(work, loop=loop, name=name, context=context, eager_start=True)

else:

    def begun(
        work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context | None = None
    ) -> "asyncio.Task[None]":
        """A task for `work`; before Python 3.12 it begins in the loop's next turn.

        Not `loop.create_task`, which is three layers around this; and a name, since making one up costs as much.
        """
        return asyncio.Task(work, loop=loop, name=name, context=context)
