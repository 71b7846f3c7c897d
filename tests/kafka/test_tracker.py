"""The offset tracker against a model that is too simple to be wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlserver.kafka.tracker import Lane


class LaneMachine(RuleBasedStateMachine):
    """Any order of reading, finishing and committing."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane("input", 3)
        self.read: list[int] = []
        self.done: set[int] = set()
        self.next = 0
        self.committed: int | None = None

    @rule(gap=st.integers(0, 5), size=st.integers(0, 100))
    def read_one(self, gap: int, size: int) -> None:
        offset = self.next + gap
        self.lane.read(offset, size)
        self.read.append(offset)
        self.next = offset + 1

    @precondition(lambda self: set(self.read) - self.done)
    @rule(data=st.data())
    def finish_one(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(set(self.read) - self.done)))
        self.lane.done(offset)
        self.done.add(offset)

    @rule()
    def commit(self) -> None:
        position = self.lane.uncommitted
        if position is not None:
            assert self.committed is None or position > self.committed
            self.lane.committed(position)
            self.committed = position

    @invariant()
    def the_position_is_the_lowest_that_is_not_done(self) -> None:
        left = [offset for offset in self.read if offset not in self.done]
        assert self.lane.position == (left[0] if left else self.next)
        assert self.lane.finished == (not left)

    @invariant()
    def nothing_that_is_not_done_is_ever_below_a_commit(self) -> None:
        if self.committed is not None:
            assert all(offset in self.done for offset in self.read if offset < self.committed)

    @invariant()
    def what_is_in_flight_is_what_is_read_and_not_committed(self) -> None:
        floor = self.committed if self.committed is not None else -1
        assert self.lane.records == sum(1 for offset in self.read if offset >= floor)


TestLane = LaneMachine.TestCase


@given(st.permutations(range(20)))
def test_every_order_of_completion_ends_at_the_end(order: list[int]) -> None:
    lane = Lane("input", 0)
    for offset in range(20):
        lane.read(offset, 10)
    positions = []
    for offset in order:
        lane.done(offset)
        positions.append(lane.position)
    assert positions == sorted(positions)
    assert positions[-1] == 20
    assert lane.finished


def test_a_lane_that_starts_in_the_middle_has_nothing_to_commit() -> None:
    lane = Lane("input", 0)
    lane.read(1_000, 1)
    assert lane.uncommitted is None
    lane.done(1_000)
    assert lane.uncommitted == 1_001


def test_bytes_are_given_back_by_commits() -> None:
    lane = Lane("input", 0)
    for offset, size in enumerate((5, 7, 11)):
        lane.read(offset, size)
    lane.done(0)
    assert lane.bytes == 23
    lane.committed(lane.position)
    assert lane.bytes == 18


def test_a_late_word_of_an_older_commit_changes_nothing() -> None:
    lane = Lane("input", 0)
    for offset in range(3):
        lane.read(offset, 1)
        lane.done(offset)
    assert lane.uncommitted == 3
    lane.committed(3)
    lane.committed(1)
    assert lane.uncommitted is None


@pytest.mark.parametrize("offset", [4, 5])
def test_reading_backwards_is_refused(offset: int) -> None:
    lane = Lane("input", 0)
    lane.read(5, 1)
    with pytest.raises(ValueError, match="read after 5"):
        lane.read(offset, 1)
