"""ModelInfer."""

from mlserver.dataplane import DataPlane
from mlserver.errors import MLServerError
from mlserver.grpc.errors import named
from mlserver.grpc.metadata import Context, deadline_of, headers_of, trailing_of
from mlserver.types.tensors import TensorRequest
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest, ModelInferResponse


class Inference:
    """Answers single inference requests from the data plane."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def infer(self, message: ModelInferRequest, context: Context) -> ModelInferResponse:
        """The model's answer, raw where the request is; headers that the model set are trailing metadata."""
        request = asked(message, context)
        try:
            response = await self._dataplane.infer(request)
        except MLServerError as error:
            raise named(error, request.id) from error
        if response.headers:
            context.set_trailing_metadata(trailing_of(response.headers))
        return responses.message_of(response, raw=bool(message.raw_input_contents))


def asked(message: ModelInferRequest, context: Context) -> TensorRequest:
    """The request of a message, with the headers and the deadline of its call. Raises InferenceError."""
    request = requests.request_of(message, headers_of(context))
    request.deadline = deadline_of(context)
    return request
