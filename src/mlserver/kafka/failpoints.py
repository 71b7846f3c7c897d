"""Places at which tests end the door as a power cut would. Without the variable they cost a comparison.

``MLSERVER_FAIL_POINT=after_produce:2,after_commit:1`` ends the first life of a server's door, by SIGKILL, at its second
passing of `after_produce`, the next life at its first of `after_commit`, and no later one.
"""

import os
import signal

VARIABLE = "MLSERVER_FAIL_POINT"
POINTS = (
    "after_consume",
    "after_infer",
    "after_produce",
    "before_commit",
    "after_commit",
    "mid_rebalance",
    "mid_transaction",
)


class FailPoint:
    """The one that this life of the door is to end at, if any."""

    def __init__(self, given: str | None) -> None:
        name, _, count = (given or "").split(",")[0].partition(":")
        self._name = name
        self._left = int(count or 1)

    def passing(self, name: str) -> bool:
        """Whether this is where it ends."""
        if name != self._name:
            return False
        self._left -= 1
        return self._left == 0


_chosen = FailPoint(os.environ.get(VARIABLE))


def hit(name: str) -> None:
    """Pass the point `name`, one of POINTS; perhaps never return."""
    if _chosen.passing(name):
        os.kill(os.getpid(), signal.SIGKILL)


def next_life(given: str | None) -> str:
    """The variable for the life after the one that had `given`."""
    return (given or "").partition(",")[2]
