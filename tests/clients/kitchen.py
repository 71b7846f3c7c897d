"""The models that clients ask. Copied into the server's folder."""

import asyncio
from collections.abc import AsyncIterator

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Echo(MLModel):
    """The inputs, and the request's parameters."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = [
            ResponseOutput(name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data)
            for tensor in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs, parameters=payload.parameters)


class Sum(MLModel):
    """The sum of each row, and its mean."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        if rows.ndim != 2 or rows.shape[1] != 2:
            raise InferenceError(f"rows have two numbers each; the shape is {list(rows.shape)}")
        outputs = [("sums", rows.sum(axis=1)), ("means", rows.mean(axis=1))]
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                ResponseOutput(name=name, shape=list(array.shape), datatype="FP64", data=array)
                for name, array in outputs
            ],
        )


class Count(MLModel):
    """Counts from 0 to below the number it is given."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for number in range(int(self.decode(payload.inputs[0], default_codec=NumpyCodec).ravel()[0])):
                output = ResponseOutput(name="number", shape=[1], datatype="INT64", data=[number])
                yield InferenceResponse(model_name=self.name, outputs=[output])


class Fails(MLModel):
    """Raises an error of its own."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        raise ZeroDivisionError("division by zero")


class Never(MLModel):
    """Never answers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")
