"""The order in which answers leave. Pure: no client, no clock, no lock; one thread owns it.

The rule: what entered a lane of order leaves it in the order of entering, whatever order it is settled in. Lanes know
nothing of each other, so that one record that is slow, or tried again, holds up only those behind it in its own lane.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, Literal, TypeVar

T = TypeVar("T", bound=Hashable)

Ordering = Literal["key", "partition", "none"]


def lane_of_order(ordering: Ordering, partition: Hashable, key: bytes | None) -> Hashable | None:
    """The lane that a record's answer keeps the order of: its key within its partition, its partition, or none."""
    if ordering == "partition":
        return partition
    return None if key is None or ordering == "none" else (partition, key)


class Order(Generic[T]):
    """Items enter in the order of reading, are settled in any, and leave in the order of their lane."""

    __slots__ = ("_lanes", "_settled")

    def __init__(self) -> None:
        self._lanes: dict[Hashable, deque[T]] = {}
        self._settled: set[T] = set()

    def enter(self, lane: Hashable | None, item: T) -> None:
        """`item`, which no other equals, is the last of `lane`; in None there is no order."""
        if lane is None:
            return
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        waiting.append(item)

    def settle(self, lane: Hashable | None, item: T) -> Sequence[T]:
        """What may leave now that `item`, which is in `lane`, is settled: perhaps nothing, perhaps others too."""
        if lane is None:
            return (item,)
        waiting = self._lanes[lane]
        if waiting[0] is not item:
            self._settled.add(item)
            return ()
        leaving = [waiting.popleft()]
        while waiting and waiting[0] in self._settled:
            self._settled.discard(waiting[0])
            leaving.append(waiting.popleft())
        if not waiting:
            del self._lanes[lane]
        return leaving

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))
