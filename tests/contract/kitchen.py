"""The models that every door is asked about. Copied into the server's folder."""

import asyncio
from collections.abc import AsyncIterator

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError, MLServerError, NotImplementedByModel, Overloaded, WorkerDied
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


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
        parameters = payload.parameters and payload.parameters.model_copy(update={"headers": None})
        return InferenceResponse(model_name=self.name, outputs=outputs, parameters=parameters)


class Sum(MLModel):
    """One sum per row, stacked with others."""

    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        if rows.dtype.kind not in "fiub":
            raise InferenceError(f"expected numbers, got {payload.inputs[0].datatype}")
        sums = rows.reshape(len(rows), -1).astype("f8").sum(axis=1)
        output = ResponseOutput(name="sums", shape=[len(sums)], datatype="FP64", data=sums)
        return InferenceResponse(model_name=self.name, outputs=[output])


class Raises(MLModel):
    """Raises what the parameter `how` says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        errors = {
            "invalid": InferenceError("not this input"),
            "model": ZeroDivisionError("division by zero"),
            "overloaded": Overloaded("too many wait"),
            "unavailable": WorkerDied("raises"),
            "not_implemented": NotImplementedByModel("not this method"),
            "forbidden by status": MLServerError("not you", status_code=403),
            "not found by status": MLServerError("not here", status_code=404),
        }
        raise errors[getattr(payload.parameters, "how", "model")]


class Count(MLModel):
    """Has streams only."""

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            yield InferenceResponse(model_name=self.name, outputs=[])


class Never(MLModel):
    """Never answers."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")
