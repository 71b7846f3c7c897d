"""Who is predicted next, and with whom."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlserver.engine.window import Job, Piece, Window
from mlserver.types.tensors import Tensor, TensorRequest

REQUEST = TensorRequest("m", None, [Tensor("x", "FP64", [1], np.zeros(1))])


def job(key: str | None, rows: Sequence[int], name: str) -> Job[str]:
    return Job(REQUEST, rows, key, name)


def names(pieces: list[Piece[str]]) -> list[str]:
    return [piece.job.waiter for piece in pieces]


def test_the_oldest_key_is_first_and_none_starves() -> None:
    window: Window[str] = Window()
    for key, rows, name in [("a", 2, "a1"), ("b", 1, "b1"), ("a", 2, "a2"), ("a", 2, "a3"), ("b", 1, "b2")]:
        window.add(job(key, (rows,), name))
    assert len(window) == 5
    assert [names(window.take(4)) for _ in range(4)] == [["a1", "a2"], ["b1", "b2"], ["a3"], []]


def test_without_a_key_a_job_is_alone() -> None:
    window: Window[str] = Window()
    for name in "xyz":
        window.add(job(None, (1,), name))
    assert [names(window.take(9)) for _ in range(3)] == [["x"], ["y"], ["z"]]


def test_a_stack_is_cut_between_members_and_never_within_one() -> None:
    window: Window[str] = Window()
    stack = job("a", (2, 3, 7, 1), "stack")
    window.add(stack)
    cuts = []
    while pieces := window.take(5):
        cuts += [(piece.start, piece.stop) for piece in pieces]
    assert cuts == [(0, 2), (2, 3), (3, 4)]
    assert not window


def test_a_withdrawn_job_is_gone_at_once() -> None:
    window: Window[str] = Window()
    first, second = job("a", (1,), "1"), job("a", (1,), "2")
    window.add(first)
    window.add(second)
    assert window.withdraw(first)
    assert not window.withdraw(first)
    assert len(window) == 1
    assert names(window.take(9)) == ["2"]
    assert not window.withdraw(second)


JOBS = st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.lists(st.integers(1, 9), min_size=1, max_size=5)))


@given(JOBS, st.integers(2, 10), st.sets(st.integers(0, 20)))
def test_everything_comes_out_once_in_order_and_within_the_bound(
    added: list[tuple[str | None, list[int]]], max_rows: int, gone: set[int]
) -> None:
    window: Window[str] = Window()
    jobs = [job(key, rows, str(number)) for number, (key, rows) in enumerate(added)]
    for one in jobs:
        window.add(one)
    for number in gone & set(range(len(jobs))):
        assert window.withdraw(jobs[number])
    out: list[tuple[int, int]] = []
    while pieces := window.take(max_rows):
        assert len({piece.job.key if piece.job.key else piece.job.waiter for piece in pieces}) == 1
        rows = sum(sum(piece.rows) for piece in pieces)
        assert rows <= max_rows or sum(len(piece.rows) for piece in pieces) == 1
        out += [(int(piece.job.waiter), member) for piece in pieces for member in range(piece.start, piece.stop)]
    expected = [(n, m) for n, (_, rows) in enumerate(added) if n not in gone for m in range(len(rows))]
    assert sorted(out) == expected
    for key in ("a", "b"):
        mine = [found for found in out if added[found[0]][0] == key]
        assert mine == sorted(mine)
    assert not window
    assert len(window) == 0


def test_the_size_of_a_job_is_that_of_its_tensors() -> None:
    size: Callable[[Tensor], int] = lambda tensor: Job(TensorRequest("m", None, [tensor]), (1,), None, "").bytes  # noqa: E731
    assert size(Tensor("x", "FP32", [2, 3], np.zeros((2, 3), "f4"))) == 24
    assert size(Tensor("x", "BYTES", [3], ["abc", b"de", None])) == 5
