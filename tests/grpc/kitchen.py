"""The models that the tests of this room are served by. Copied into the server's folder."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import (
    DeadlineExceeded,
    InferenceError,
    MLServerError,
    Overloaded,
    WorkerDied,
)
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
    """The inputs with their parameters, and the request's, but for headers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(
                name=tensor.name,
                shape=tensor.shape,
                datatype=tensor.datatype,
                data=tensor.data,
                parameters=tensor.parameters,
            )
            for tensor in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs, parameters=payload.parameters)


class Headers(MLModel):
    """The request's headers as JSON; and headers of its own, from the parameter `answer`, which is JSON."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        assert payload.parameters is not None
        text = json.dumps(payload.parameters.headers)
        output = ResponseOutput(name="headers", shape=[1], datatype="BYTES", data=[text])
        parameters = Parameters(headers=json.loads(asked(payload, "answer") or "{}"))
        if asked(payload, "back"):
            parameters = payload.parameters
        return InferenceResponse(model_name=self.name, outputs=[output], parameters=parameters)


class Raiser(MLModel):
    """Raises what the parameter `how` says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        how = asked(payload, "how")
        if isinstance(how, int):
            raise MLServerError("as asked", status_code=how)
        errors = {
            "zero": ZeroDivisionError("division by zero"),
            "long": ValueError("\u00fc" * 20_000),
            "refuse": InferenceError("not this input"),
            "busy": Overloaded("too many wait"),
            "late": DeadlineExceeded("too late"),
            "died": WorkerDied("raiser"),
        }
        if how in errors:
            raise errors[how]
        data = [None] if how == "null" else ["text"]
        output = ResponseOutput(name="out", shape=[1], datatype="BYTES", data=data)
        return InferenceResponse(model_name=self.name, outputs=[output], parameters=Parameters(odd=[1, {"a": None}]))


class Half(MLModel):
    """Half-precision numbers, which have no typed contents."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(name="half", shape=[2], datatype="FP16", data=np.array([0.5, 1.5], np.float16)),
                ResponseOutput(name="text", shape=[1], datatype="BYTES", data=["z\u00fcrich"]),
            ],
        )


class Gate(MLModel):
    """Makes the file `begun`, and answers when there is a file `open`; makes the file `ended` where it is given up."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        _make(asked(payload, "begun"))
        try:
            while not os.path.exists(asked(payload, "open")):  # noqa: ASYNC110, ASYNC240 - another process opens it
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            _make(asked(payload, "ended"))
            raise
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[])


class Count(MLModel):
    """Counts from 0 to below the first number of each request; makes the file `ended` at its end, whatever that is."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        ended = None
        try:
            async for payload in payloads:
                ended = asked(payload, "ended")
                for number in range(int(self.decode(payload.inputs[0], default_codec=NumpyCodec).ravel()[0])):
                    if number == asked(payload, "fail_at"):
                        raise ValueError("no further")
                    await asyncio.sleep(0.001)
                    output = ResponseOutput(name="number", shape=[1], datatype="INT64", data=[number])
                    headers = {"x-last": str(number)}
                    parameters = Parameters(headers=headers)
                    yield InferenceResponse(model_name=self.name, outputs=[output], parameters=parameters)
        finally:
            if ended:
                _make(ended)


class Unready(MLModel):
    """Loads, and says that it is not ready."""

    async def load(self) -> bool:
        return False


def _make(file: str | None) -> None:
    if file:
        Path(file).touch()
