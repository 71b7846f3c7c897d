"""One call's outcomes come back to everyone it was made for, however isolation cut them."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.engine.flights import Desk, Flight
from mlserver.engine.isolate import Outcome
from mlserver.engine.queue import Limits, ModelQueue
from mlserver.engine.runner import ModelCard
from mlserver.engine.window import Job, Piece, Window
from mlserver.errors import InferenceError
from mlserver.settings import ModelSettings
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse


def queue(*, plain: bool = False, **settings: Any) -> ModelQueue:
    model = ModelSettings(name="m", implementation="a.B", **settings)
    card = ModelCard(MetadataModelResponse(name="m", platform=""), max_rows=256, ready=True, plain=plain)
    return ModelQueue(1, model, card, Limits(model, requests=9, bytes=99))


class Nobody:
    """A worker that does nothing."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.flights: list[Flight] = []

    def serves(self, queue: ModelQueue) -> bool:
        return True

    def start(self, flight: Flight) -> None: ...

    def cancel(self, flight: Flight) -> None: ...

    def overdue(self, flight: Flight) -> None: ...


def flight(found: ModelQueue, pieces: list[Piece[Any]]) -> Flight:
    return Flight(Nobody(), found, pieces, 0.0)


def column(values: list[int]) -> Tensor:
    return Tensor("x", "INT64", [len(values)], np.array(values, "i8"))


@given(st.data())
async def test_everyone_gets_their_own_rows(data: st.DataObject) -> None:
    """Jobs of several members, of which any run may be in the call; outcomes cover any runs of the call's members."""
    loop = asyncio.get_running_loop()
    jobs, pieces = [], []
    row = 0
    for _ in range(data.draw(st.integers(1, 5))):
        rows = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
        values = list(range(row, row := row + sum(rows)))
        job = Job(TensorRequest("m", None, [column(values)]), rows, "k", loop.create_future())
        jobs.append((job, values))
        pieces.append(Piece(job, 0, len(rows)))
    found = flight(queue(), pieces)
    assert np.array_equal(found.request.inputs[0].data, np.arange(row))
    outcomes, member, start = [], 0, 0
    while member < found.members:
        count = data.draw(st.integers(1, found.members - member))
        size = sum(found.rows[member : member + count])
        if count == 1 and data.draw(st.booleans()):
            outcomes.append(Outcome(1, None, InferenceError(str(start))))
        else:
            outcomes.append(Outcome(count, TensorResponse("m", None, [column(list(range(start, start + size)))])))
        member, start = member + count, start + size
    found.finish(outcomes)
    for job, values in jobs:
        mine = job.waiter.result()
        assert sum(outcome.members for outcome in mine) == len(job.rows)
        assert _rows(mine, job.rows) == values


def _rows(outcomes: list[Outcome], rows: Any) -> list[int]:
    """The rows that outcomes speak of; an error names its first."""
    found: list[int] = []
    member = 0
    for outcome in outcomes:
        size = sum(rows[member : member + outcome.members])
        if outcome.response is None:
            first = int(str(outcome.error))
            found += range(first, first + size)
        else:
            found += np.asarray(outcome.response.outputs[0].data).tolist()
        member += outcome.members
    return found


@given(st.permutations([0, 1, 2]))
async def test_pieces_of_a_job_may_come_back_in_any_order(order: list[int]) -> None:
    rows = (2, 1, 3, 1, 1)
    job: Job[Any] = Job(
        TensorRequest("m", None, [column(list(range(8)))]), rows, "k", asyncio.get_running_loop().create_future()
    )
    flights = [flight(queue(), [Piece(job, start, stop)]) for start, stop in ((0, 2), (2, 3), (3, 5))]
    for number in order:
        one = flights[number]
        one.finish([Outcome(one.members, TensorResponse("m", None, one.request.inputs))])
        assert job.waiter.done() == (number == order[-1])
    assert _rows(job.waiter.result(), rows) == list(range(8))


@given(st.data())
async def test_jobs_cut_by_any_bounds_are_whole_again(data: st.DataObject) -> None:
    """A bound may change from call to call, so that one has the end of a job and the beginning of another."""
    loop = asyncio.get_running_loop()
    window: Window[Any] = Window()
    jobs = []
    row = 0
    for rows in data.draw(st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=6), min_size=1, max_size=5)):
        values = list(range(row, row := row + sum(rows)))
        job = Job(TensorRequest("m", None, [column(values)]), rows, "k", loop.create_future())
        jobs.append((job, values))
        window.add(job)
    flights = []
    while window:
        flights.append(flight(queue(), window.take(data.draw(st.integers(1, 6)))))
    for one in data.draw(st.permutations(flights)):
        one.finish([Outcome(one.members, TensorResponse("m", None, one.request.inputs))])
    for job, values in jobs:
        assert job.waiter.done()
        assert sum(outcome.members for outcome in job.waiter.result()) == len(job.rows)
        assert _rows(job.waiter.result(), job.rows) == values


async def test_an_error_for_all_is_raised_apart() -> None:
    loop = asyncio.get_running_loop()
    jobs = [Job(TensorRequest("m", None, [column([n])]), (1,), "k", loop.create_future()) for n in range(3)]
    flight(queue(), [Piece(job, 0, 1) for job in jobs]).fail(InferenceError("no", status_code=418))
    errors = [job.waiter.result()[0].error for job in jobs]
    assert len({id(error) for error in errors}) == 3
    assert [(str(error), error.status_code) for error in errors if error] == [("no", 418)] * 3


async def test_who_has_gone_is_not_answered() -> None:
    loop = asyncio.get_running_loop()
    jobs = [Job(TensorRequest("m", None, [column([n])]), (1,), "k", loop.create_future()) for n in range(2)]
    found = flight(queue(), [Piece(job, 0, 1) for job in jobs])
    jobs[0].waiter.cancel()
    assert not found.abandoned
    found.finish([Outcome(2, TensorResponse("m", None, found.request.inputs))])
    assert jobs[1].waiter.result()[0].response is not None
    jobs[1].waiter.result()
    assert found.abandoned


@pytest.mark.parametrize(
    ("first", "second", "beside"),
    [
        ("plain", "plain", False),
        ("plain", "blocking", True),
        ("blocking", "plain", True),
        ("blocking", "blocking", False),
        ("blocking", "awaiting", False),
        ("awaiting", "blocking", True),
        ("awaiting", "awaiting", True),
        ("awaiting", "plain", True),
    ],
)
def test_what_a_worker_runs_side_by_side(first: str, second: str, beside: bool) -> None:
    desk = Desk()
    desk.begin(_call(first))
    assert desk.room(_call(second).queue) is beside


def test_calls_that_await_are_bounded_per_model() -> None:
    desk = Desk()
    call = _call("awaiting", max_concurrency=2)
    desk.begin(call)
    assert desk.room(call.queue)
    desk.begin(call)
    assert not desk.room(call.queue)
    assert desk.room(_call("awaiting").queue)
    desk.end(call)
    assert desk.room(call.queue)


def _call(kind: str, **settings: Any) -> Flight:
    found = queue(plain=kind == "plain", **settings)
    found.awaits = kind == "awaiting"
    job: Job[Any] = Job(TensorRequest("m", None, [column([1])]), (1,), None, None)
    return flight(found, [Piece(job, 0, 1)])
