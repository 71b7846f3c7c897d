"""Models that the command line is tried on."""

import asyncio
import json

import numpy as np

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError, MLServerError
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Double(MLModel):
    """Twice each number. 7 is refused, 13 makes it fail; how many rows came together is in `parameters`."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        if (rows == 7).any():
            raise InferenceError("7 is refused")
        if (rows == 13).any():
            raise ValueError("13 is bad luck")
        output = ResponseOutput(
            name="double", shape=list(rows.shape), datatype="FP64", data=(rows * 2).ravel().tolist()
        )
        return InferenceResponse(model_name=self.name, parameters={"rows": len(rows)}, outputs=[output])


class Mean(MLModel):
    """One number, however many rows there are."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("mean", np.array([rows.mean()]))]
        )


class Headers(MLModel):
    """The headers of the request, as JSON text."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        headers = payload.parameters.headers if payload.parameters else None
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("headers", [json.dumps(headers)])]
        )


class Flaky(MLModel):
    """Answers every second time."""

    async def load(self) -> bool:
        self.calls = 0
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        self.calls += 1
        if self.calls % 2:
            raise MLServerError("come again", status_code=503)
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("calls", [str(self.calls)])])


class Never(MLModel):
    """Does not answer within any patience."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.sleep(3600)
        raise AssertionError
