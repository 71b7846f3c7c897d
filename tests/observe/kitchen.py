"""The models that the tests of this room are served by. Copied into the server's folder."""

import gc
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from opentelemetry.trace import get_tracer

import mlserver
from mlserver import MLModel
from mlserver.engine.words import Recorded
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


def number(model: MLModel, value: float) -> InferenceResponse:
    """One number, as a response."""
    output = ResponseOutput(name="y", shape=[1], datatype="FP64", data=[value])
    return InferenceResponse(model_name=model.name, outputs=[output])


class Recorder(MLModel):
    """Records the first number that it is asked, and that it was loaded and unloaded."""

    async def load(self) -> bool:
        mlserver.register("asked", "What it was asked", buckets=[1, 10])
        mlserver.log(loads=1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        value = float(payload.inputs[0].data[0])
        mlserver.log(asked=value)
        return number(self, value)

    async def unload(self) -> bool:
        mlserver.log(unloads=1)
        return True


class Slow(MLModel):
    """Takes its time."""

    def predict(self, payload: InferenceRequest) -> Any:
        time.sleep(0.02)
        return number(self, 1.0)


class Talker(MLModel):
    """Says what it is asked, and fails on a negative number."""

    def predict(self, payload: InferenceRequest) -> Any:
        value = float(payload.inputs[0].data[0])
        logging.getLogger("mlserver").info("asked %s", value)
        if value < 0:
            raise ArithmeticError("below\r\nzero")
        return number(self, value)


class Spanner(MLModel):
    """Has a span of its own."""

    def predict(self, payload: InferenceRequest) -> Any:
        with get_tracer("kitchen").start_as_current_span("of the model"):
            return number(self, 1.0)


class Liar(MLModel):
    """Tells the server, past all that is ours in its worker, of metrics that nobody recorded."""

    def predict(self, payload: InferenceRequest) -> Any:
        name, models = ("lie", 5_000) if payload.inputs[0].data[0] else ("no name", 1)
        lies: list[Any] = [(name, "", f"made-up-{n}", "", [1.0], [1, 0], 0.5) for n in range(models)]
        lies.append((name, "", self.name, "", [1.0], [1, 0], 0.5))
        worker = next(found for found in gc.get_objects() if type(found).__name__ == "WorkerLoop")
        worker.say(Recorded(lies))
        return number(self, 1.0)


class Streamer(MLModel):
    """Counts to three for each request."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            for count in range(3):
                yield number(self, count)
