"""The response cache: what is kept, who waits for whom, and that no caller can spoil an answer for another."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserver.engine.cache import Cached, CacheSize, KeptResponse, Shelf, size_bytes
from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import Outcome
from mlserver.engine.runner import ModelCard
from mlserver.errors import DeadlineExceeded, InferenceError, MLServerError, WorkerDied
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse
from tests.engine.tensors import RESPONSES, assert_same_tensor

PATIENCE_SECONDS = 30


class Model:
    """Doubles; what it returns is a view into a buffer that its next call writes over. With a gate it waits there."""

    def __init__(self) -> None:
        self.card = ModelCard(MetadataModelResponse(name="m", platform=""), max_rows=1, ready=True)
        self.calls: list[TensorRequest] = []
        self.ended = 0
        self.errors: list[MLServerError] = []
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.closed = 0
        self.ready = True
        self._buffer = np.zeros(64)

    async def infer(self, request: TensorRequest) -> TensorResponse:
        self.calls.append(request)
        self.entered.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.errors:
                raise self.errors.pop(0)
        finally:
            self.ended += 1
        data = np.asarray(request.inputs[0].data)
        self._buffer[: len(data)] = 2 * data
        # A model may write into what it was given.
        data[:] = -1
        outputs = [
            Tensor("y", "FP64", [len(data)], self._buffer[: len(data)], {"tag": ["a"]}),
            Tensor("s", "BYTES", [1], ["text"]),
        ]
        return TensorResponse("m", "1", outputs, request.id, {"more": {"a": [1]}}, {"x-header": "a"})

    async def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        async for request in requests:
            yield await self.infer(request)

    async def call(self, request: CustomRequest) -> CustomResponse:
        raise AssertionError(request)

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        return [Outcome(len(rows), await self.infer(request))]

    async def close(self) -> None:
        self.closed += 1


def ask(*values: float, id: str | None = None, deadline: float | None = None) -> TensorRequest:
    data = np.array(values)
    return TensorRequest("m", None, [Tensor("x", "FP64", [len(values)], data)], id, deadline=deadline)


def answer(response: TensorResponse) -> list[float]:
    values: list[float] = np.asarray(response.outputs[0].data).tolist()
    return values


def cached(model: Model, limit_bytes: int = 10**6, count: int = 100) -> Cached:
    return Cached(model, Shelf(limit_bytes, CacheSize(count)))


async def landed(waiting: "asyncio.Task[TensorResponse]") -> TensorResponse:
    return await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def turns(count: int = 5) -> None:
    """Let everybody go as far as they can: a task needs one turn of the loop for each await that is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_answer_is_made_once() -> None:
    model = Model()
    found = cached(model)
    first = await found.infer(ask(1, 2, id="first"))
    second = await found.infer(ask(1, 2, id="second"))
    other = await found.infer(ask(3, id="third"))
    assert [answer(one) for one in (first, second, other)] == [[2, 4], [2, 4], [6]]
    assert len(model.calls) == 2
    # The id that the model gave is for the request that it saw.
    assert (first.id, second.id, other.id) == ("first", None, "third")
    assert (second.model, second.version, second.headers) == ("m", "1", {"x-header": "a"})


async def test_no_caller_spoils_an_answer_for_the_next() -> None:
    found = cached(Model())
    for _ in range(3):
        response = await found.infer(ask(1, 2))
        assert answer(response) == [2, 4]
        assert response.outputs[0].parameters == {"tag": ["a"]}
        assert response.parameters == {"more": {"a": [1]}}
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(response.outputs[0].data)[0] = 9
        response.outputs[0].parameters["tag"].append("b")
        response.outputs[0].shape.append(3)
        response.outputs[0].name = "other"
        response.outputs[1].data.clear()  # type: ignore[union-attr]
        response.outputs.clear()
        response.parameters["more"]["a"].clear()
        response.headers["x-header"] = "b"  # type: ignore[index]
        response.model, response.id = "other", "mine"


@given(response=RESPONSES)
def test_what_is_kept_is_what_was_answered(response: TensorResponse) -> None:
    kept = KeptResponse(response).response()
    assert (kept.model, kept.version, kept.id) == (response.model, response.version, None)
    assert (kept.parameters, kept.headers) == (response.parameters, response.headers)
    for one, other in zip(kept.outputs, response.outputs, strict=True):
        assert_same_tensor(one, other)
    assert size_bytes(response) > sum(
        tensor.data.nbytes for tensor in response.outputs if hasattr(tensor.data, "nbytes")
    )


async def test_equal_requests_under_way_wait_for_the_one_that_runs() -> None:
    model = Model()
    model.gate = asyncio.Event()
    found = cached(model)
    asked = [asyncio.create_task(found.infer(ask(1))) for _ in range(20)]
    other = asyncio.create_task(found.infer(ask(2)))
    await turns()
    assert len(model.calls) == 2
    model.gate.set()
    assert [answer(await landed(one)) for one in [*asked, other]] == [[2]] * 20 + [[4]]
    assert len(model.calls) == 2


async def test_without_room_equal_requests_still_share() -> None:
    for model, limits in ((Model(), {"limit_bytes": 1}), (Model(), {"count": 0})):
        found = cached(model, **limits)
        responses = await asyncio.gather(*(found.infer(ask(1)) for _ in range(3)))
        assert [answer(one) for one in responses] == [[2]] * 3
        await found.infer(ask(1))
        assert len(model.calls) == 2


@pytest.mark.parametrize("cancelled", [[0], [1], [0, 1], [0, 2], [1, 2]])
async def test_who_leaves_harms_nobody(cancelled: list[int]) -> None:
    model = Model()
    model.gate = asyncio.Event()
    found = cached(model)
    asked = [asyncio.create_task(found.infer(ask(1))) for _ in range(3)]
    await turns()
    for index in cancelled:
        asked[index].cancel()
    await turns()
    model.gate.set()
    for index, one in enumerate(asked):
        if index in cancelled:
            with pytest.raises(asyncio.CancelledError):
                await landed(one)
        else:
            assert answer(await landed(one)) == [2]
    assert len(model.calls) == 1


async def test_when_all_have_left_it_is_ended_and_the_next_one_runs_anew() -> None:
    model = Model()
    model.gate = asyncio.Event()
    found = cached(model)
    asked = [asyncio.create_task(found.infer(ask(1))) for _ in range(3)]
    await turns()
    for one in asked:
        one.cancel()
    await turns()
    assert model.ended == 1
    # Before the loop has come round to it, an equal one begins.
    again = asyncio.create_task(found.infer(ask(1)))
    await turns()
    model.gate.set()
    assert answer(await landed(again)) == [2]
    assert len(model.calls) == 2


async def test_errors_are_shared_and_not_kept() -> None:
    model = Model()
    model.gate = asyncio.Event()
    model.errors = [InferenceError("no")]
    found = cached(model)
    asked = [asyncio.create_task(found.infer(ask(1))) for _ in range(3)]
    await turns()
    model.gate.set()
    for one in asked:
        with pytest.raises(InferenceError, match="no"):
            await landed(one)
    assert answer(await found.infer(ask(1))) == [2]
    assert len(model.calls) == 2


async def test_an_error_that_nobody_waits_for_is_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Model):
        async def infer(self, request: TensorRequest) -> TensorResponse:
            try:
                return await super().infer(request)
            except asyncio.CancelledError:
                raise WorkerDied("m") from None

    model = Stubborn()
    model.gate = asyncio.Event()
    found = cached(model)
    waiting = asyncio.create_task(found.infer(ask(1)))
    await turns()
    waiting.cancel()
    await turns()
    assert model.ended == 1
    await found.close()
    assert caplog.records == []


async def test_a_time_that_is_over_is_only_its_own() -> None:
    model = Model()
    model.gate = asyncio.Event()
    model.errors = [DeadlineExceeded("the first one's")]
    found = cached(model)
    leader = asyncio.create_task(found.infer(ask(1, deadline=time.monotonic())))
    await turns()
    soon, later, never = (
        asyncio.create_task(found.infer(ask(1, deadline=deadline)))
        for deadline in (time.monotonic() + 0.01, time.monotonic() + 600, None)
    )
    with pytest.raises(DeadlineExceeded, match="the time that the request gave itself is over"):
        await landed(soon)
    model.gate.set()
    with pytest.raises(DeadlineExceeded, match="the first one's"):
        await landed(leader)
    assert answer(await landed(later)) == answer(await landed(never)) == [2]
    # One of the two ran, and the other waited for it.
    assert len(model.calls) == 2


async def test_the_least_recently_used_goes_first_by_bytes() -> None:
    model = Model()
    one = KeptResponse(await model.infer(ask(1))).size_bytes
    found = cached(model, limit_bytes=2 * one)
    shelf = found._shelf
    for value in (1, 2, 1, 3):
        await found.infer(ask(value))
    assert (len(shelf), shelf.held_bytes) == (2, 2 * one)
    model.calls.clear()
    for value in (1, 3, 2):
        await found.infer(ask(value))
    assert [int(-request.inputs[0].data[0]) for request in model.calls] == [1]
    await found.infer(ask(3))
    assert len(model.calls) == 1


async def test_a_count_for_all_models_together() -> None:
    size = CacheSize(3)
    one, other = Model(), Model()
    first, second = Cached(one, Shelf(10**6, size)), Cached(other, Shelf(10**6, size))
    for found, value in ((first, 1), (second, 1), (first, 2), (first, 1), (second, 2)):
        await found.infer(ask(value))
    assert len(first._shelf) + len(second._shelf) == 3
    one.calls.clear()
    other.calls.clear()
    await first.infer(ask(1))
    await second.infer(ask(2))
    await first.infer(ask(2))
    assert (one.calls, other.calls) == ([], [])
    await second.infer(ask(1))
    assert len(other.calls) == 1


@given(
    steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 60)), max_size=40),
    limit_bytes=st.integers(2000, 9000),
    count=st.integers(0, 4),
)
@settings(deadline=None)
async def test_the_bounds_hold_whatever_comes(steps: list[tuple[int, int, int]], limit_bytes: int, count: int) -> None:
    size = CacheSize(count)
    shelves = [Shelf(limit_bytes, size), Shelf(limit_bytes, size)]
    runners = [Cached(Model(), shelf) for shelf in shelves]
    for index, value, width in steps:
        assert answer(await runners[index].infer(ask(*[float(value)] * width))) == [2 * value] * width
        assert sum(map(len, shelves)) <= count
        for shelf in shelves:
            assert shelf.held_bytes <= limit_bytes
            assert shelf.held_bytes == sum(kept.size_bytes for kept in shelf._kept.values())
    await asyncio.gather(*(runner.close() for runner in runners))
    assert [(len(shelf), shelf.held_bytes) for shelf in shelves] == [(0, 0), (0, 0)]
    assert not size._order


async def test_close_waits_for_what_is_under_way() -> None:
    model = Model()
    model.gate = asyncio.Event()
    found = cached(model)
    waiting = asyncio.create_task(found.infer(ask(1)))
    await turns()
    closing = asyncio.create_task(found.close())
    await turns()
    assert model.closed == 0
    model.gate.set()
    assert answer(await landed(waiting)) == [2]
    await closing
    assert model.closed == 1
    assert len(found._shelf) == 0


async def test_what_is_neither_kept_nor_shared() -> None:
    model = Model()
    found = cached(model)
    strange = ask(1)
    strange.parameters = {"large": 2**64}
    for _ in range(2):
        strange.inputs = ask(1).inputs
        assert answer(await found.infer(strange)) == [2]

    async def requests() -> AsyncIterator[TensorRequest]:
        yield ask(1)
        yield ask(1)

    assert [answer(one) async for one in found.stream(requests())] == [[2], [2]]
    assert len(model.calls) == 4
    (outcome,) = await found.infer_members(ask(1), [1])
    assert (outcome.members, len(model.calls)) == (1, 5)
    assert found.card is model.card
    assert found.ready is True
