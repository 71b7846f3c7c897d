"""Models in real worker processes, for tests."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, get_args

import numpy as np

from mlserver.engine.pools import Pools
from mlserver.engine.runner import Runner
from mlserver.events import Event, Hub
from mlserver.settings import ModelParameters, ModelSettings, Settings
from mlserver.types.tensors import OutputRequest, Tensor, TensorRequest, TensorResponse


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    @property
    def takers(self) -> dict[type[Event], Callable[[Any], None]]:
        return dict.fromkeys(get_args(Event), self.events.append)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def model(name: str, *, extra: dict[str, Any] | None = None, **more: Any) -> ModelSettings:
    """Settings of a model of the kitchen."""
    parameters = ModelParameters(extra=extra or {}, **more.pop("parameters", {}))
    return ModelSettings(
        name=name.lower(), implementation=f"tests.engine.kitchen.{name}", parameters=parameters, **more
    )


def request(values: Sequence[Any], width: int | None = None, **more: Any) -> TensorRequest:
    """Numbers as FP64, or text as BYTES; with `width` each number is a row of so many."""
    if values and isinstance(values[0], str):
        return TensorRequest("m", None, [Tensor("x", "BYTES", [len(values)], list(values))], **more)
    array = np.array(values, "f8")
    if width is not None:
        array = np.repeat(array[:, None], width, axis=1)
    return TensorRequest("m", None, [Tensor("x", "FP64", list(array.shape), array)], **more)


def values(answer: TensorResponse) -> list[Any]:
    """The numbers of the first output."""
    return list(np.asarray(answer.outputs[0].data).ravel().tolist())


def named(*names: str) -> list[OutputRequest]:
    return [OutputRequest(name) for name in names]


@contextlib.asynccontextmanager
async def pools(heard: Heard | None = None, **settings: Any) -> AsyncIterator[Pools]:
    """Pools that are closed at the end."""
    made = Pools(Settings(**settings), Hub(heard) if heard else None)
    made.start()
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def running(settings: ModelSettings, heard: Heard | None = None, **server: Any) -> AsyncIterator[Runner]:
    """A model at work, unloaded at the end."""
    async with pools(heard, **server) as made:
        runner = await made.load(settings)
        try:
            yield runner
        finally:
            await runner.close()
