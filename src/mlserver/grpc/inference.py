"""ModelInfer."""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from mlserver.dataplane import DataPlane
from mlserver.errors import MLServerError
from mlserver.grpc.errors import named
from mlserver.grpc.metadata import Context, Headers, Metadata, deadline_of, headers_of, lowered, sooner, trailing_of
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid
from mlserver.wire.classes import classify
from mlserver.wire.cloudevents import CloudEvents, of_id
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest, ModelInferResponse
from mlserver.wire.words import take_words

# Models that the metadata in common are kept for. A model may name itself in its answers, by whatever name.
_KEPT_MODELS = 1024


class Asked(NamedTuple):
    """A request, how many classes of which outputs are wanted, and whether the answer is raw, as the request is."""

    request: TensorRequest
    classes: Mapping[str, int]
    raw: bool


class Inference:
    """Answers single inference requests from the data plane. `events` are the headers that CloudEvents has."""

    def __init__(self, dataplane: DataPlane, events: CloudEvents) -> None:
        self._dataplane = dataplane
        self._events = events
        self._common = lru_cache(_KEPT_MODELS)(self._common_metadata)

    async def infer(self, message: ModelInferRequest, context: Context) -> ModelInferResponse:
        """The model's answer, raw where the request is; its headers are trailing metadata."""
        asked = self.asked(message, context)
        request = asked.request
        try:
            response = await self._dataplane.infer(request)
        except MLServerError as error:
            raise named(error, request.id) from error
        context.set_trailing_metadata(self.trailing(response))
        return self.answer(response, asked)

    def asked(self, message: ModelInferRequest, context: Context, default_id: str | None = None) -> Asked:
        """The request of a message, with the headers and the deadline of its call, and an id. Raises InferenceError."""
        request = requests.request_of(message)
        wishes = take_words(request)
        request.id = request.id or default_id or generate_uuid()
        request.headers = partial(self._seen, request.model, request.id, headers_of(context))
        request.deadline = sooner(deadline_of(context), wishes.timeout_seconds)
        return Asked(request, wishes.classes, bool(message.raw_input_contents))

    def answer(self, response: TensorResponse, asked: Asked) -> ModelInferResponse:
        """The message of a response, as it was asked for. Raises MLServerError."""
        if asked.classes:
            described = self._dataplane.model_metadata(asked.request.model, asked.request.version).outputs or ()
            classify(response, asked.classes, described)
        return responses.message_of(response, raw=asked.raw)

    def trailing(self, response: TensorResponse) -> Metadata:
        """CloudEvents' headers and those that the model set. Raises ModelError for what gRPC cannot carry."""
        events = self._common(response.model) + lowered(of_id(response.id))
        return events + trailing_of(response.headers) if response.headers else events

    def _seen(self, model: str, request_id: str, received: Headers) -> Mapping[str, str]:
        return {**received(), **self._events.of_request(model, request_id)}

    def _common_metadata(self, model: str) -> Metadata:
        return lowered(self._events.of_responses(model))
