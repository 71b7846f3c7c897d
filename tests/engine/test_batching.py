"""Batching is provably the same as not batching, and no member harms another: in this process and in a worker."""

import asyncio
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.engine.isolate import Outcome
from mlserver.engine.pools import Pools
from mlserver.engine.runner import Runner
from mlserver.errors import MLServerError
from mlserver.events import BatchRun
from mlserver.types.tensors import OutputRequest, TensorRequest, TensorResponse
from tests.engine.kitchen import BAD
from tests.engine.workers import Heard, model, named, request, running, values

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, BAD]), min_size=1, max_size=4)
REQUESTS = st.builds(
    request,
    ROWS,
    st.integers(1, 3),
    parameters=st.sampled_from([None, {"scale": 2}, {"scale": 3}]),
    outputs=st.sampled_from([None, [OutputRequest("a")], [OutputRequest("a"), OutputRequest("b")]]),
)


def seen(answer: TensorResponse | BaseException) -> object:
    """An answer as a value that compares."""
    if isinstance(answer, MLServerError):
        return (answer.kind, str(answer))
    assert isinstance(answer, TensorResponse), answer
    return [(tensor.name, tensor.shape, np.asarray(tensor.data).tolist()) for tensor in answer.outputs]


def alone(asked: TensorRequest) -> object:
    """What the kitchen's RowSum answers to one request, computed here."""
    data = np.asarray(asked.inputs[0].data)
    if (data == BAD).any():
        return ("model", "ValueError: bad row")
    sums = data.reshape(len(data), -1).sum(axis=1) * (asked.parameters or {}).get("scale", 1)
    return [(output.name, [len(sums)], sums.tolist()) for output in asked.outputs or named("sum")]


async def together(runner: Runner, requests: list[TensorRequest]) -> list[object]:
    answers = await asyncio.gather(*(runner.infer(one) for one in requests), return_exceptions=True)
    return [seen(answer) for answer in answers]


@given(st.lists(REQUESTS, min_size=1, max_size=64), st.sampled_from([2, 3, 7, 256]))
@settings(deadline=None)
async def test_batched_is_unbatched(requests: list[TensorRequest], max_rows: int) -> None:
    heard = Heard()
    async with running(model("RowSum", max_batch_size=max_rows), heard, parallel_workers=0) as runner:
        assert await together(runner, requests) == [alone(one) for one in requests]
    assert max(run.rows for run in heard.of(BatchRun)) <= max(max_rows, *(one.inputs[0].shape[0] for one in requests))


@pytest.mark.parametrize("name", ["RowSum", "PlainRowSum"])
async def test_batched_is_unbatched_in_workers(name: str) -> None:
    """Mixes of 1 to 64 concurrent requests with differing shapes, parameters and outputs, one in ten of them bad."""
    draw = random.Random(7)
    heard = Heard()
    async with running(model(name), heard, parallel_workers=2) as runner:
        for _ in range(20):
            requests = [_drawn(draw) for _ in range(draw.randint(1, 64))]
            assert await together(runner, requests) == [alone(one) for one in requests]
    assert max(run.requests for run in heard.of(BatchRun)) > 1


def _drawn(draw: random.Random) -> TensorRequest:
    rows = [BAD if draw.random() < 0.1 else float(draw.randint(0, 9)) for _ in range(draw.randint(1, 4))]
    return request(
        rows,
        draw.randint(1, 3),
        parameters=draw.choice([None, None, {"scale": 2}]),
        outputs=draw.choice([None, None, named("a"), named("b", "a")]),
    )


@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, BAD]), min_size=1, max_size=3), min_size=1, max_size=12))
@settings(deadline=None)
async def test_a_backlog_s_stack_is_the_same_too(members: list[list[float]]) -> None:
    async with running(model("RowSum", max_batch_size=5), parallel_workers=0) as runner:
        stack = request([row for member in members for row in member], 2)
        outcomes = await runner.infer_members(stack, [len(member) for member in members])
    assert _told(outcomes, members) == [alone(request(member, 2)) for member in members]


def _told(outcomes: list[Outcome], members: list[list[float]]) -> list[object]:
    told: list[object] = []
    for outcome in outcomes:
        mine = members[len(told) : len(told) + outcome.members]
        if outcome.error is not None:
            told += [(outcome.error.kind, str(outcome.error))] * len(mine)
            continue
        assert outcome.response is not None
        sums = values(outcome.response)
        for member in mine:
            told.append([("sum", [len(member)], sums[: len(member)])])
            sums = sums[len(member) :]
    return told


async def test_what_comes_in_one_turn_is_one_predict(shared: Pools) -> None:
    heard = Heard()
    async with running(model("RowSum"), heard, within=shared) as runner:
        await asyncio.gather(*(runner.infer(request([1.0], 1)) for _ in range(16)))
    assert [run.requests for run in heard.of(BatchRun)] == [16]


async def test_a_free_worker_never_waits_for_a_batch_to_fill(shared: Pools) -> None:
    async with (
        running(model("RowSum", max_batch_size=64, max_batch_time=30.0), within=shared) as runner,
        asyncio.timeout(20),
    ):
        assert values(await runner.infer(request([1.0], 1))) == [1.0]


async def test_without_row_wise_nothing_is_stacked(shared: Pools) -> None:
    heard = Heard()
    async with running(model("RowSum", row_wise=False), heard, within=shared) as runner:
        await asyncio.gather(*(runner.infer(request([1.0], 1)) for _ in range(4)))
    assert [run.requests for run in heard.of(BatchRun)] == [1] * 4


@pytest.mark.parametrize("bad", range(8))
async def test_a_bad_row_is_its_owner_s_alone(bad: int) -> None:
    async with running(model("RowSum"), parallel_workers=0) as runner:
        requests = [request([BAD if n == bad else float(n)], 1) for n in range(8)]
        assert await together(runner, requests) == [alone(one) for one in requests]


@pytest.mark.parametrize("gone", range(4))
async def test_a_caller_who_has_gone_leaves_the_others_answered(gone: int, shared: Pools) -> None:
    """Before its batch is taken, and while it is predicted."""
    async with running(model("RowSum"), within=shared) as runner:
        for turns in (1, 3):
            tasks = [asyncio.create_task(runner.infer(request([float(n)], 1))) for n in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[gone].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for number, answer in enumerate(answers):
                if number == gone:
                    assert isinstance(answer, asyncio.CancelledError)
                else:
                    assert values(answer) == [float(number)]  # type: ignore[arg-type]


async def test_many_random_cancels_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch, shared: Pools) -> None:
    draw = random.Random(3)
    reported: list[dict[str, Any]] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", reported.append)
    async with running(model("RowSum"), within=shared) as runner:
        for _ in range(20):
            tasks = [asyncio.create_task(runner.infer(request([1.0], 1))) for _ in range(50)]
            for task in draw.sample(tasks, 40):
                await asyncio.sleep(0)
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, TensorResponse | asyncio.CancelledError) for one in answers)
        assert runner._queue.idle  # type: ignore[attr-defined]
        assert runner._queue.requests == 0  # type: ignore[attr-defined]
        assert values(await runner.infer(request([2.0], 1))) == [2.0]
    assert reported == []


async def test_closing_answers_those_who_wait_first(shared: Pools) -> None:
    runner = await shared.load(model("Sleeps"))
    tasks = [asyncio.create_task(runner.infer(request([0.1]))) for _ in range(3)]
    await asyncio.sleep(0)
    await runner.close()
    assert [values(task.result()) for task in tasks] == [[0.1]] * 3


async def test_requests_that_somebody_waits_for_go_before_a_backlog() -> None:
    async with running(model("RowSum", max_batch_size=4), parallel_workers=0) as runner:
        order: list[str] = []

        async def note(name: str, work: Any) -> None:
            await work
            order.append(name)

        stack = request([1.0] * 64, 1)
        backlog = asyncio.create_task(note("backlog", runner.infer_members(stack, [1] * 64)))
        await asyncio.sleep(0)
        await asyncio.gather(*(note("request", runner.infer(request([1.0], 1))) for _ in range(8)))
        await backlog
    assert order == ["request"] * 8 + ["backlog"]
