"""The models that the tests of this room are served by. Copied into the server's folder."""

import asyncio
import logging
from typing import Any

import numpy as np

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
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


class Unready(MLModel):
    """Loads, and says that it is not ready."""

    async def load(self) -> bool:
        return False
