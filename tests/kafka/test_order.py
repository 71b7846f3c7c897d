"""The order of answers against a model that is too simple to be wrong."""

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlserver.kafka.order import Order, Ordering, lane_of_order


class OrderMachine(RuleBasedStateMachine):
    """Any order of entering and settling."""

    def __init__(self) -> None:
        super().__init__()
        self.order: Order[int] = Order()
        self.entered: list[tuple[Hashable, int]] = []
        self.settled: set[int] = set()
        self.left: list[int] = []

    @rule(lane=st.none() | st.sampled_from("abc"))
    def enter(self, lane: str | None) -> None:
        item = len(self.entered)
        self.entered.append((lane, item))
        self.order.enter(lane, item)

    @precondition(lambda self: len(self.settled) < len(self.entered))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        lane, item = data.draw(st.sampled_from([entry for entry in self.entered if entry[1] not in self.settled]))
        self.settled.add(item)
        self.left += self.order.settle(lane, item)

    @invariant()
    def what_has_left_is_what_is_settled_with_all_before_it_in_its_lane(self) -> None:
        expected = set()
        blocked: set[Hashable] = set()
        for lane, item in self.entered:
            if item not in self.settled and lane is not None:
                blocked.add(lane)
            if item in self.settled and lane not in blocked:
                expected.add(item)
        assert set(self.left) == expected
        assert len(self.left) == len(expected)

    @invariant()
    def each_lane_leaves_in_its_order(self) -> None:
        lanes = {item: lane for lane, item in self.entered}
        for name in "abc":
            mine = [item for item in self.left if lanes[item] == name]
            assert mine == sorted(mine)

    @invariant()
    def nothing_is_kept_of_what_has_left(self) -> None:
        assert len(self.order) == sum(1 for lane, item in self.entered if lane is not None and item not in self.left)


TestOrder = OrderMachine.TestCase


@given(st.permutations(range(20)))
def test_one_lane_leaves_as_it_entered(settling: list[int]) -> None:
    order: Order[int] = Order()
    for item in range(20):
        order.enter("lane", item)
    left: list[int] = []
    for item in settling:
        left += order.settle("lane", item)
    assert left == list(range(20))
    assert len(order) == 0


@pytest.mark.parametrize(
    ("ordering", "key", "expected"),
    [
        ("key", b"k", ("p", b"k")),
        ("key", b"", ("p", b"")),
        ("key", None, None),
        ("partition", b"k", "p"),
        ("partition", None, "p"),
        ("none", b"k", None),
        ("none", None, None),
    ],
)
def test_which_lane(ordering: Ordering, key: bytes | None, expected: Hashable) -> None:
    assert lane_of_order(ordering, "p", key) == expected
