"""ModelInfer."""

import time
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TypeAlias

from mlserver.dataplane import DataPlane
from mlserver.errors import MLServerError
from mlserver.events import Tell, Translated, nobody
from mlserver.grpc.errors import named
from mlserver.grpc.metadata import Context, Headers, Metadata, deadline_of, headers_of, lowered, trailing_of
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid
from mlserver.wire.classes import classify
from mlserver.wire.cloudevents import CloudEvents, of_id
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest, ModelInferResponse
from mlserver.wire.words import Wishes, take_wishes

Asked: TypeAlias = tuple[TensorRequest, Wishes]
"""A request for the data plane, and what it asks of the door."""

# Models that the metadata in common are kept for. A model may name itself in its answers, by whatever name.
_KEPT_MODELS = 1024


class Inference:
    """Answers single inference requests from the data plane. `events` are the headers that CloudEvents has."""

    def __init__(self, dataplane: DataPlane, events: CloudEvents, tell: Tell = nobody) -> None:
        self._dataplane = dataplane
        self._events = events
        self._tell = tell
        self._common = lru_cache(_KEPT_MODELS)(self._common_metadata)

    async def infer(self, data: bytes, context: Context) -> bytes:
        """The model's answer, in the form of the request; its headers are trailing metadata."""
        begun = time.perf_counter()
        message = requests.parsed(data)
        request, wishes = self.asked(message, context)
        decoded_at = time.perf_counter()
        try:
            response = await self._dataplane.infer(request)
        except MLServerError as error:
            raise named(error, request.id) from error
        answered_at = time.perf_counter()
        context.set_trailing_metadata(self.trailing(response))
        answer = self.answered(response, message, wishes).SerializeToString()
        if request.served is not None:
            encoded = time.perf_counter() - answered_at
            self._tell(Translated(request.served, decoded_at - begun, encoded))
        return answer

    def asked(self, message: ModelInferRequest, context: Context, default_id: str | None = None) -> Asked:
        """What a message asks, with the headers and the deadline of its call, and an id. Raises InferenceError."""
        request = requests.request_of(message)
        wishes = take_wishes(request)
        request.id = request.id or default_id or generate_uuid()
        request.headers = partial(self._seen, request.model, request.id, headers_of(context))
        request.deadline = deadline_of(context)
        if wishes.timeout_seconds is not None:
            own = time.monotonic() + wishes.timeout_seconds
            request.deadline = own if request.deadline is None else min(own, request.deadline)
        return request, wishes

    def answered(self, response: TensorResponse, message: ModelInferRequest, wishes: Wishes) -> ModelInferResponse:
        """The message of a response: raw where the request `message` is, with the classes that it wishes for."""
        if wishes.classes:
            described = self._dataplane.model_metadata(message.model_name, message.model_version or None).outputs
            classify(response, wishes.classes, described or ())
        return responses.message_of(response, raw=bool(message.raw_input_contents))

    def trailing(self, response: TensorResponse) -> Metadata:
        """CloudEvents' headers and those that the model set. Raises ModelError for what gRPC cannot carry."""
        events = self._common(response.model) + lowered(of_id(response.id))
        return events + trailing_of(response.headers) if response.headers else events

    def _seen(self, model: str, request_id: str, received: Headers) -> Mapping[str, str]:
        return {**received(), **self._events.of_request(model, request_id)}

    def _common_metadata(self, model: str) -> Metadata:
        return lowered(self._events.of_responses(model))
