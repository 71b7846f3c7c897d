"""The models that the tests of this room are served by. Copied into the server's folder."""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import (
    DeadlineExceeded,
    InferenceError,
    Kind,
    MLServerError,
    ModelNotReady,
    Overloaded,
    WorkerDied,
)
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

logger = logging.getLogger("mlserver")

BEAST = 666.0
"""A number that `Sum` raises at."""


def asked(payload: InferenceRequest, name: str) -> Any:
    """A parameter of the request, or None."""
    return getattr(payload.parameters, name, None)


class Sum(MLModel):
    """One sum per row; stacked."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        if (rows == BEAST).any():
            raise ValueError("the beast")
        output = NumpyCodec.encode_output("sums", rows.sum(axis=1, dtype=np.float64))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


class Text(MLModel):
    """One byte per row; stacked."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        data = [bytes([int(value)]) for value in rows.ravel()]
        output = ResponseOutput(name="text", shape=[len(data), 1], datatype="BYTES", data=data)
        return InferenceResponse(model_name=self.name, outputs=[output])


class Odd(MLModel):
    """Does what the parameter `do` says; one request at a time."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        data: Any = [0.0]
        parameters: Any = None
        match asked(payload, "do"):
            case "raise":
                raise ZeroDivisionError("division by zero")
            case "refuse":
                raise InferenceError("not this input")
            case "object":
                parameters = {"what": object()}
            case "large":
                data = [0.0] * 400_000
        output = ResponseOutput(name="odd", shape=[len(data)], datatype="FP64", data=data)
        return InferenceResponse(model_name=self.name, parameters=parameters, outputs=[output])


class Slow(Sum):
    """Sums that take their time: `seconds` a call, in the settings' extra parameters."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        parameters = self.settings.parameters
        seconds = (parameters.extra or {}).get("seconds", 0.0) if parameters is not None else 0.0
        logger.debug("slow begins")
        await asyncio.sleep(float(seconds))
        return await super().predict(payload)


class Narrow(MLModel):
    """One request at a time, whatever it says: `seconds` each, in the settings' extra parameters."""

    async def load(self) -> bool:
        self.turn = asyncio.Lock()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        parameters = self.settings.parameters
        async with self.turn:
            await asyncio.sleep((parameters.extra or {})["seconds"] if parameters is not None else 0.0)
        output = ResponseOutput(name="done", shape=[1], datatype="BOOL", data=[True])
        return InferenceResponse(model_name=self.name, outputs=[output])


class Unready(MLModel):
    """Loads, and says that it is not ready."""

    async def load(self) -> bool:
        return False


class Gated(MLModel):
    """Sums, one request at a time; the number 13 waits until the file `gate` is there."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        parameters = self.settings.parameters
        gate = Path((parameters.extra or {})["gate"]) if parameters is not None else Path()
        while (rows == 13.0).any() and not gate.exists():  # noqa: ASYNC110 - a file rings no bell
            await asyncio.sleep(0.01)
        output = NumpyCodec.encode_output("sums", rows.sum(axis=1, dtype=np.float64))
        return InferenceResponse(model_name=self.name, outputs=[output])


class Flaky(MLModel):
    """Fails `times` times in the way `how` says, both parameters of the request, and then sums; by the request's id."""

    row_wise = True

    async def load(self) -> bool:
        self.asked: Counter[str] = Counter()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        logger.info("asked for %s", sorted({int(row) for row in rows.ravel()}))
        deadly = (rows == BEAST).any()
        key = "beast" if deadly else str(payload.id)
        self.asked[key] += 1
        if deadly or self.asked[key] <= int(asked(payload, "times") or 0):
            raise self.failure(asked(payload, "how"))
        output = NumpyCodec.encode_output("sums", rows.sum(axis=1, dtype=np.float64))
        return InferenceResponse(model_name=self.name, outputs=[output])

    def failure(self, how: str | None) -> MLServerError:
        """What the engine says when it is in trouble."""
        if how == "not ready":
            return ModelNotReady(self.name)
        if how == "overloaded":
            return Overloaded("more waits than may wait")
        if how == "unavailable":
            error = MLServerError("away")
            error.kind = Kind.UNAVAILABLE
            return error
        return DeadlineExceeded("it took too long") if how == "hang" else WorkerDied(self.name)


class Deadly(MLModel):
    """Sums; its process ends at the number 666, and never answers at 667."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        if (rows == BEAST).any():
            os.kill(os.getpid(), signal.SIGKILL)
        while (rows == BEAST + 1).any():
            time.sleep(0.1)  # noqa: ASYNC251 - the point of it
        output = NumpyCodec.encode_output("sums", rows.sum(axis=1, dtype=np.float64))
        return InferenceResponse(model_name=self.name, outputs=[output])
