"""The models that the tests of this room are served by. Copied into the server's folder."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError, MLServerError, Overloaded
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


def asked(payload: InferenceRequest, name: str) -> Any:
    """A parameter of the request, or None."""
    return getattr(payload.parameters, name, None)


class Sum(MLModel):
    """One sum per row."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        sums = rows.reshape(len(rows), -1).sum(axis=1)
        output = ResponseOutput(name="sums", shape=[len(sums)], datatype="FP64", data=sums.tolist())
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=[output])


class Echo(MLModel):
    """The inputs, and the parameters with the headers among them."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
            for tensor in payload.inputs
        ]
        if asked(payload, "look") and payload.parameters is not None:
            assert payload.parameters.headers
        return InferenceResponse(model_name=self.name, outputs=outputs, parameters=payload.parameters)


class Headers(MLModel):
    """The request's headers as JSON; and headers of its own, from the parameter `answer`."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert payload.parameters is not None
        text = json.dumps(payload.parameters.headers)
        output = ResponseOutput(name="headers", shape=[1], datatype="BYTES", data=[text])
        parameters = Parameters(headers=asked(payload, "answer"))
        return InferenceResponse(model_name=self.name, outputs=[output], parameters=parameters)


class Raiser(MLModel):
    """Raises what the parameter `how` says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        match asked(payload, "how"):
            case "zero":
                raise ZeroDivisionError("division by zero")
            case "teapot":
                raise MLServerError("short and stout", status_code=418)
            case "no-error":
                raise MLServerError("not an error's status", status_code=200)
            case "overloaded":
                raise Overloaded("too many are waiting")
            case "refuse":
                raise InferenceError("not this input")
            case "exit":
                sys.exit(3)
            case "nothing":
                return None  # type: ignore[return-value]
        output = ResponseOutput(name="bytes", shape=[1], datatype="BYTES", data=[b"\xff"])
        return InferenceResponse(model_name=self.name, outputs=[output])


class Gate(MLModel):
    """Says that it has begun with the file `begun`, and answers when there is a file `open`: parameters name them.

    Where it is cancelled it makes the file `cancelled`.
    """

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        _make(asked(payload, "begun"))
        try:
            while not os.path.exists(asked(payload, "open")):  # noqa: ASYNC110, ASYNC240 - another process opens it
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            _make(asked(payload, "cancelled") or asked(payload, "begun"))
            raise
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[])


def _make(file: str) -> None:
    Path(file).touch()


class Blocker(MLModel):
    """As Gate, but it holds up everything else meanwhile."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        _make(asked(payload, "begun"))
        while not os.path.exists(asked(payload, "open")):  # noqa: ASYNC240 - that is the point
            time.sleep(0.001)  # noqa: ASYNC251
        return InferenceResponse(model_name=self.name, outputs=[])


class Doubler(MLModel):
    """Twice its input, worked out in place."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        array = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        array *= 2
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("twice", array)])


class Large(MLModel):
    """10 MB of zeros, whatever it is asked."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("zeros", np.zeros(10**7, "u1"))]
        )


class Unready(MLModel):
    """Loads, and says that it is not ready."""

    async def load(self) -> bool:
        return False


class Unloadable(MLModel):
    """Cannot load."""

    async def load(self) -> bool:
        raise ValueError("no weights\nhere")
