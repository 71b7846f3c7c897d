"""Batching is provably the same as not batching, and no member harms another."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.engine.batcher import DEFAULT_MAX_ROWS, Batcher, max_rows_of
from mlserver.engine.runner import ModelCard
from mlserver.engine.window import Member, Window
from mlserver.errors import InferenceError, MLServerError, ModelError
from mlserver.settings import ModelSettings
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import OutputRequest, Tensor, TensorRequest, TensorResponse

BAD = -1.0


class Model:
    """Row-wise: sums of rows scaled by a parameter, under the names asked for; refuses stacks that hold a bad row.

    With a `gate` it waits there, so that a test decides who is queued when it goes on.
    """

    def __init__(self, max_rows: int = DEFAULT_MAX_ROWS, gate: asyncio.Event | None = None) -> None:
        self.card = ModelCard(MetadataModelResponse(name="m", platform=""), max_rows=max_rows, ready=True)
        self.gate = gate
        self.entered = asyncio.Event()
        self.batches: list[int] = []
        self.closed = False

    async def infer(self, request: TensorRequest) -> TensorResponse:
        data = np.asarray(request.inputs[0].data)
        self.batches.append(len(data))
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if (data == BAD).any():
            raise ModelError("bad row")
        scale = (request.parameters or {}).get("scale", 1)
        sums = data.reshape(len(data), -1).sum(axis=1) * scale
        names = [output.name for output in request.outputs or [OutputRequest("sum")]]
        outputs = [Tensor(name, "FP64", [len(sums)], sums.astype("f8")) for name in names]
        return TensorResponse("m", None, outputs, None, {"scale": scale})

    async def close(self) -> None:
        self.closed = True


def request(values: list[float], width: int = 1, **more: object) -> TensorRequest:
    array = np.repeat(np.array(values, "f8")[:, None], width, axis=1)
    return TensorRequest("m", None, [Tensor("x", "FP64", list(array.shape), array)], **more)  # type: ignore[arg-type]


def seen(answer: TensorResponse | BaseException) -> object:
    """An answer as a value that compares."""
    if isinstance(answer, MLServerError):
        return (answer.kind, str(answer))
    assert isinstance(answer, TensorResponse), answer
    return [
        (tensor.name, tensor.shape, np.asarray(tensor.data).tolist()) for tensor in answer.outputs
    ], answer.parameters


ROWS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, BAD]), min_size=1, max_size=4)
REQUESTS = st.builds(
    request,
    ROWS,
    st.integers(1, 3),
    parameters=st.sampled_from([None, {"scale": 2}, {"scale": 3}]),
    outputs=st.sampled_from([None, [OutputRequest("a")], [OutputRequest("a"), OutputRequest("b")]]),
)


@given(st.lists(REQUESTS, min_size=1, max_size=64), st.sampled_from([2, 3, 7, 256]))
@settings(deadline=None)
async def test_batched_is_unbatched(requests: list[TensorRequest], max_rows: int) -> None:
    alone = Model()
    expected = [seen(found) for found in [await _settled(alone, one) for one in requests]]
    model = Model(max_rows)
    batcher = Batcher(model)
    found = await asyncio.gather(*(batcher.infer(one) for one in requests), return_exceptions=True)
    assert [seen(answer) for answer in found] == expected
    assert max(model.batches) <= max(max_rows, *(one.inputs[0].shape[0] for one in requests))


async def _settled(model: Model, one: TensorRequest) -> TensorResponse | BaseException:
    try:
        return await model.infer(one)
    except MLServerError as error:
        return error


async def test_what_comes_in_one_turn_is_one_predict() -> None:
    model = Model()
    batcher = Batcher(model)
    await asyncio.gather(*(batcher.infer(request([1.0])) for _ in range(16)))
    assert model.batches == [16]


async def test_a_lone_request_passes_untouched() -> None:
    class Echo(Model):
        async def infer(self, request: TensorRequest) -> TensorResponse:
            assert request is lone
            return await super().infer(request)

    lone = request([1.0, 2.0])
    assert seen(await Batcher(Echo()).infer(lone)) == ([("sum", [2], [1.0, 2.0])], {"scale": 1})


@pytest.mark.parametrize("gone", range(8))
async def test_a_caller_who_has_gone_leaves_the_others_answered(gone: int) -> None:
    """At the first row, the last, and each between; before its batch is taken, and while it is predicted."""
    for cancel in (_before_it_is_taken, _while_it_is_predicted):
        gate = asyncio.Event()
        batcher = Batcher(Model(gate=gate))
        tasks = [asyncio.create_task(batcher.infer(request([float(value)]))) for value in range(8)]
        await cancel(tasks[gone], batcher)
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for value, answer in enumerate(answers):
            if value == gone:
                assert isinstance(answer, asyncio.CancelledError)
            else:
                assert seen(answer) == ([("sum", [1], [float(value)])], {"scale": 1})


async def _before_it_is_taken(task: asyncio.Task[TensorResponse], batcher: Batcher) -> None:
    await asyncio.sleep(0)
    task.cancel()


async def _while_it_is_predicted(task: asyncio.Task[TensorResponse], batcher: Batcher) -> None:
    model = batcher._runner
    assert isinstance(model, Model)
    await model.entered.wait()
    task.cancel()


@pytest.mark.parametrize("bad", range(8))
async def test_a_bad_row_is_its_owner_s_alone(bad: int) -> None:
    batcher = Batcher(Model())
    values = [BAD if value == bad else float(value) for value in range(8)]
    answers = await asyncio.gather(*(batcher.infer(request([value])) for value in values), return_exceptions=True)
    assert [value for value, answer in enumerate(answers) if isinstance(answer, ModelError)] == [bad]
    assert sum(isinstance(answer, TensorResponse) for answer in answers) == 7


async def test_a_defect_below_strands_nobody() -> None:
    class Broken(Model):
        async def infer(self, request: TensorRequest) -> TensorResponse:
            raise AssertionError("a defect")

    loop = asyncio.get_running_loop()
    reported: list[str] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))
    batcher = Batcher(Broken())
    answers = await asyncio.gather(*(batcher.infer(request([1.0])) for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["AssertionError: a defect"] * 3


async def test_closing_answers_those_who_wait_first() -> None:
    gate = asyncio.Event()
    model = Model(gate=gate)
    batcher = Batcher(model)
    tasks = [asyncio.create_task(batcher.infer(request([1.0]))) for _ in range(3)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await model.entered.wait()
    assert (model.closed, closing.done()) == (False, False)
    gate.set()
    await closing
    assert (model.closed, closing.done()) == (True, True)
    assert all(task.done() and not task.exception() for task in tasks)


@pytest.mark.parametrize(
    ("row_wise", "size", "time", "expected"),
    [
        (True, 0, 0, DEFAULT_MAX_ROWS),
        (False, 0, 0, 1),
        (True, 1, 0, 1),
        (True, 1, 1, 1),
        (True, 8, 0, 8),
        (False, 8, 0, 1),
        (False, 8, 0.5, 8),
        (True, 0, 0.5, DEFAULT_MAX_ROWS),
    ],
)
def test_who_is_stacked_and_how_far(row_wise: bool, size: int, time: float, expected: int) -> None:
    found = ModelSettings(name="m", implementation=Model, max_batch_size=size, max_batch_time=time)
    assert max_rows_of(found, row_wise=row_wise) == expected


def member(rows: int, name: str) -> Member[str]:
    return Member(request([1.0] * rows), name)


def taken(window: Window[str], max_rows: int) -> list[str]:
    return [found.waiter for found in window.take(max_rows)]


def test_a_window_takes_the_oldest_key_and_starves_none() -> None:
    window: Window[str] = Window()
    for key, rows, name in [("a", 2, "a1"), ("b", 1, "b1"), ("a", 2, "a2"), ("a", 2, "a3"), ("b", 1, "b2")]:
        window.add(key, member(rows, name))
    assert len(window) == 5
    assert [taken(window, 4) for _ in range(4)] == [["a1", "a2"], ["b1", "b2"], ["a3"], []]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9))), st.integers(2, 10))
def test_a_window_gives_everything_once_within_the_bound(added: list[tuple[str, int]], max_rows: int) -> None:
    window: Window[str] = Window()
    for number, (key, rows) in enumerate(added):
        window.add(key, member(rows, f"{key}{number}"))
    out: list[str] = []
    while group := window.take(max_rows):
        assert len({found.waiter[0] for found in group}) == 1
        assert len(group) == 1 or sum(found.rows for found in group) <= max_rows
        out += [found.waiter for found in group]
    order: Callable[[str], int] = lambda name: int(name[1:])  # noqa: E731
    assert sorted(out, key=order) == [f"{key}{number}" for number, (key, _) in enumerate(added)]
    for key in "abc":
        mine = [name for name in out if name[0] == key]
        assert mine == sorted(mine, key=order)


def test_errors_that_are_shared_are_raised_apart() -> None:
    async def both() -> list[BaseException | TensorResponse]:
        class Refusing(Model):
            async def infer(self, request: TensorRequest) -> TensorResponse:
                raise InferenceError("no", status_code=418)

        batcher = Batcher(Refusing())
        return await asyncio.gather(*(batcher.infer(request([1.0])) for _ in range(2)), return_exceptions=True)

    first, second = asyncio.run(both())
    assert first is not second
    assert isinstance(first, MLServerError)
    assert (str(first), first.status_code) == ("no", 418)
