"""ModelInfer."""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

from mlserver.dataplane import DataPlane
from mlserver.errors import MLServerError
from mlserver.events import Listener, Translated, tell
from mlserver.grpc.errors import named
from mlserver.grpc.metadata import Context, Headers, Metadata, deadline_of, headers_of, lowered, trailing_of
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid
from mlserver.wire.cloudevents import CloudEvents, of_id
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest

# Models that the metadata in common are kept for. A model may name itself in its answers, by whatever name.
_KEPT_MODELS = 1024


class Inference:
    """Answers single inference requests from the data plane. `events` are the headers that CloudEvents has."""

    def __init__(self, dataplane: DataPlane, events: CloudEvents, listeners: Sequence[Listener] = ()) -> None:
        self._dataplane = dataplane
        self._events = events
        self._listeners = listeners
        self._common = lru_cache(_KEPT_MODELS)(self._common_metadata)

    async def infer(self, data: bytes, context: Context) -> bytes:
        """The model's answer, raw where the request is; its headers are trailing metadata."""
        begun = time.perf_counter()
        message = requests.parsed(data)
        request = self.asked(message, context)
        decoded_at = time.perf_counter()
        try:
            response = await self._dataplane.infer(request)
        except MLServerError as error:
            raise named(error, request.id) from error
        answered_at = time.perf_counter()
        context.set_trailing_metadata(self.trailing(response))
        answer = responses.message_of(response, raw=bool(message.raw_input_contents)).SerializeToString()
        if request.served is not None:
            encoded = time.perf_counter() - answered_at
            tell(self._listeners, Translated(request.served, decoded_at - begun, encoded))
        return answer

    def asked(self, message: ModelInferRequest, context: Context, default_id: str | None = None) -> TensorRequest:
        """The request of a message, with the headers and the deadline of its call, and an id. Raises InferenceError."""
        request = requests.request_of(message)
        request.id = request.id or default_id or generate_uuid()
        request.headers = partial(self._seen, request.model, request.id, headers_of(context))
        request.deadline = deadline_of(context)
        return request

    def trailing(self, response: TensorResponse) -> Metadata:
        """CloudEvents' headers and those that the model set. Raises ModelError for what gRPC cannot carry."""
        events = self._common(response.model) + lowered(of_id(response.id))
        return events + trailing_of(response.headers) if response.headers else events

    def _seen(self, model: str, request_id: str, received: Headers) -> Mapping[str, str]:
        return {**received(), **self._events.of_request(model, request_id)}

    def _common_metadata(self, model: str) -> Metadata:
        return lowered(self._events.of_responses(model))
