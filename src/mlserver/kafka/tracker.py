"""Which offsets may be committed. Pure: no client, no clock, no lock; one thread owns it.

The rule: commit the lowest offset that is not done. A record is done when the broker has acknowledged its terminal
record - a result or an error - so a crash at any moment repeats work but loses none.
"""

from collections import deque


class Lane:
    """One partition, for the length of one assignment.

    Offsets are read in rising order, with gaps where the log was compacted or holds transaction markers, and done in
    any order. After a revocation the lane is dropped: what is done later counts for nothing, because by then another
    member may have read on.
    """

    __slots__ = (
        "_committed",
        "_done",
        "_next",
        "_pending",
        "_settled",
        "bytes",
        "group",
        "partition",
        "revoked",
        "source",
        "start",
        "topic",
    )

    bytes: int
    """Size of the records that are read and not yet committed."""
    revoked: bool
    """Whether the partition has gone to another member: its records are not worth predicting any more."""
    group: str
    """The consumer group that it was assigned to."""
    source: str
    """topic/partition."""
    start: int | None
    """The first offset that was read, if any was."""

    def __init__(self, topic: str, partition: int, group: str = "") -> None:
        self.topic = topic
        self.partition = partition
        self.group = group
        self.source = f"{topic}/{partition}"
        self.start = None
        self.bytes = 0
        self.revoked = False
        self._pending: deque[tuple[int, int, float]] = deque()  # (offset, size, read at) from the lowest not done
        self._settled: deque[tuple[int, int, float]] = deque()  # below it: done, not yet committed
        self._done: set[int] = set()
        self._next = 0
        self._committed = 0

    def read(self, offset: int, size: int, now: float = 0.0) -> None:
        """A record of `size` bytes was read, at the time `now`.

        Raises ValueError where `offset` is not above all that were read.
        """
        if offset < self._next:
            raise ValueError(f"offset {offset} is read after {self._next - 1} in {self!r}")
        if self.start is None:
            self.start = self._committed = offset
        self._pending.append((offset, size, now))
        self._next = offset + 1
        self.bytes += size

    def done(self, offset: int) -> None:
        """The terminal record of `offset` was acknowledged."""
        self._done.add(offset)

    @property
    def position(self) -> int:
        """The offset to commit: the lowest that is read and not done, else one above the last read."""
        pending, done = self._pending, self._done
        while pending and pending[0][0] in done:
            settled = pending.popleft()
            done.discard(settled[0])
            self._settled.append(settled)
        return pending[0][0] if pending else self._next

    @property
    def uncommitted(self) -> int | None:
        """The position, where committing it would move the group forward; else None."""
        position = self.position
        return position if position > self._committed else None

    def committed(self, position: int) -> None:
        """The broker holds `position` for this lane. A late word of a lower one changes nothing."""
        self._committed = max(self._committed, position)
        settled = self._settled
        while settled and settled[0][0] < position:
            self.bytes -= settled.popleft()[1]

    @property
    def records(self) -> int:
        """How many records are read and not yet committed: what a crash now would repeat at most."""
        return len(self._pending) + len(self._settled)

    @property
    def finished(self) -> bool:
        """Whether everything that was read is done."""
        return self.position == self._next

    @property
    def oldest(self) -> float:
        """When the lowest record that is not done was read. Only where not `finished`."""
        return self._pending[0][2]

    def __repr__(self) -> str:
        return f"Lane({self.topic}/{self.partition}, {len(self._pending)} pending, position {self.position})"
