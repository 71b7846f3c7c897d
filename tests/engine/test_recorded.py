"""What models record in workers is found in the server."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from mlserver import metrics
from mlserver.engine.frames import ProtocolError
from mlserver.engine.recorded import merge_recorded
from mlserver.engine.words import Recorded
from mlserver.types.tensors import TensorRequest
from tests.engine.workers import model, request, running


@pytest.fixture(autouse=True)
def _none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.REGISTRY, "_histograms", {})


def found(name: str) -> tuple[int, float]:
    """How many values are recorded in a metric, and their sum."""
    ((_, series),) = metrics.REGISTRY[name].series()
    return sum(series.counts), series.total


@pytest.mark.parametrize("name", ["Records", "PlainRecords"])
@pytest.mark.parametrize("workers", [0, 1, 2])
async def test_values_are_there_with_the_answer(name: str, workers: int) -> None:
    async with running(model(name), parallel_workers=workers) as runner:
        await asyncio.gather(*(runner.infer(request([number])) for number in range(20)))
        assert found("kitchen_inputs") == (20, 190)
        assert found("kitchen_loads") == (max(workers, 1), max(workers, 1))
        ((key, series),) = metrics.REGISTRY["kitchen_inputs"].series()
        assert (key, series.counts) == ((name.lower(), ""), [2, 9, 9])
        assert metrics.REGISTRY["kitchen_inputs"].description == "Inputs"
    assert found("kitchen_unloads") == (max(workers, 1), max(workers, 1))


async def test_a_stream() -> None:
    async def requests() -> AsyncIterator[TensorRequest]:
        yield request([3])

    async with running(model("Records"), parallel_workers=1) as runner:
        assert len([answer async for answer in runner.stream(requests())]) == 1
        assert found("kitchen_inputs") == (1, 3)


@pytest.mark.parametrize(
    "delta",
    [
        ("no name", "", "m", "", [1.0], [0, 1], 2.0),
        ("rows", "", "m", "", [1.0], [1], 2.0),
        ("rows", "", "m", "", [2.0, 1.0], [0, 0, 1], 2.0),
    ],
)
def test_what_no_model_can_have_recorded(delta: tuple[str, str, str, str, list[float], list[int], float]) -> None:
    word = msgspec.msgpack.decode(msgspec.msgpack.encode(Recorded([delta])), type=Recorded)
    with pytest.raises(ProtocolError, match="what models recorded: "):
        merge_recorded(word, {("m", "")})
