"""Deadlines of a connection, on one timer."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

from mlserver.rest.limits import Limits
from mlserver.rest.requests import RequestReader

# When the server stops: how long a connection between two requests may still bring one. A caller that is busy sends the
# next within this time, hears `connection: close` with its answer, and goes elsewhere; to close at once would cut off
# what it is just sending.
LAST_REQUEST_SECONDS = 0.25


class Phase:
    """What a connection waits for, and so what it means when that takes too long.

    Plain numbers: an enumeration takes a microsecond of every request.
    """

    WORK: Final = 0
    """The server's own answer: no deadline of the connection's."""
    REQUEST: Final = 1
    """The first byte of a request."""
    HEAD: Final = 2
    """The rest of a request's line and headers."""
    BODY: Final = 3
    """The rest of its body."""
    READER: Final = 4
    """The caller, to read what it was sent."""
    PROBE: Final = 5
    """Word of a caller who sends no more and may have gone."""
    LINGER: Final = 6
    """The end of what is in flight after a refusal."""
    CLOSE: Final = 7
    """The last bytes to leave before the connection closes."""


class Watch:
    """The one deadline that a connection has at a time.

    The timer is set anew only where a deadline comes before it; one that moves away is seen when the timer ends. So a
    request that comes in one read and is answered in time costs no timer at all.
    """

    __slots__ = ("_act", "_due", "_limits", "_loop", "_set_for", "_timer", "phase")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits, act: Callable[[], None]) -> None:
        self.phase: int = Phase.WORK
        self._loop = loop
        self._limits = limits
        self._act = act
        self._due = self._set_for = inf
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, phase: int, seconds: float) -> None:
        """From now on: call `act` if nothing else is expected within `seconds`."""
        self.phase = phase
        self._due = due = self._loop.time() + seconds
        if due < self._set_for:
            self._set(due)

    def expect_more(self, reader: RequestReader, *, stopping: bool) -> None:
        """The deadline for what `reader` needs next, set once: what trickles in does not move it."""
        limits = self._limits
        if not reader.receiving:
            if self.phase != Phase.REQUEST:
                self.expect(Phase.REQUEST, LAST_REQUEST_SECONDS if stopping else limits.idle_timeout_seconds)
        elif reader.in_body:
            if self.phase != Phase.BODY:
                self.expect(Phase.BODY, limits.body_timeout_seconds)
        elif self.phase != Phase.HEAD:
            self.expect(Phase.HEAD, limits.header_timeout_seconds)

    def work(self) -> None:
        """Nothing is expected of the caller."""
        self.phase = Phase.WORK
        self._due = inf

    def end(self) -> None:
        """No deadline any more, and no hold on who would be told."""
        self._due = inf
        self._act = _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._set_for = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._set_for = inf
        if self._due <= self._loop.time():
            self._due = inf
            self._act()
        elif self._due < inf:
            self._set(self._due)


def _nothing() -> None:
    """What is done for a connection that has ended."""
