"""The cheapest model that still reads its input: what is measured around it is the server. And two that take time."""

import asyncio
import time

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class RowSum(MLModel):
    """One sum per row of the first input; the same file runs on both servers."""

    row_wise = True  # known to this project's server only

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer `sums`, shape [rows], in the input's own floating-point width."""
        rows = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        sums = rows.sum(axis=1)
        datatype = "FP32" if sums.dtype == "float32" else "FP64"
        output = ResponseOutput(name="sums", shape=[len(sums)], datatype=datatype, data=sums.tolist())
        return InferenceResponse(model_name=self.name, model_version=self.version, id=payload.id, outputs=[output])


class Awaits(RowSum):
    """Row sums after 100 ms, as a model that asks something over the network has them."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Wait, then answer as `RowSum`."""
        await asyncio.sleep(0.1)
        return await super().predict(payload)


class Busy(RowSum):
    """Row sums after 5 ms of one core."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Compute for a while, then answer as `RowSum`."""
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        return await super().predict(payload)
