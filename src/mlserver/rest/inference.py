"""Inference besides the infer route: `generate`, and the two routes that stream."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mlserver.errors import InferenceError, MLServerError
from mlserver.rest import requests
from mlserver.rest.answers import body_of, error_answer, model_of
from mlserver.rest.asgi import REQUEST, App
from mlserver.rest.asked import Asked, bound, read, written
from mlserver.rest.backing import Backing
from mlserver.rest.errors import status_of, told
from mlserver.rest.generate import fields_of, generate_request, generated_bytes
from mlserver.rest.headers import pairs
from mlserver.rest.streams import EventStream, one, with_headers
from mlserver.types.tensors import TensorResponse
from mlserver.wire.json import JsonReader
from mlserver.wire.words import NO_WISHES

Write = Callable[[TensorResponse], tuple[bytes, int | None]]
"""Makes a body, and tells how much of it is JSON where binary data follow."""


class Inference:
    """Handlers of `generate`, `infer_stream` and `generate_stream`."""

    def __init__(self, backing: Backing) -> None:
        self._dataplane = backing.dataplane
        self._limits = backing.limits
        self._headers = backing.headers
        self._reader = JsonReader(self._limits.max_json_depth)

    async def generate(self, request: Request) -> App:
        """An alias of infer for a body with `inputs`, else Triton's form of a request and its answer."""
        asked, write = await self._asked(request)
        try:
            response = await self._dataplane.infer(asked.request)
            body, json_bytes = write(response)
            answer = Response(body, media_type="application/json")
            answer.raw_headers.extend(pairs(self._headers.lines(response)))
            if json_bytes is not None:
                answer.headers["content-type"] = "application/octet-stream"
                answer.headers["inference-header-content-length"] = str(json_bytes)
        except MLServerError as error:
            answer = error_answer(status_of(error), told(error, asked.request.id))
        return answer

    async def infer_stream(self, request: Request) -> App:
        """Events that are inference responses, to one inference request."""
        return self._streamed(*self._read(request, await body_of(request, self._limits.max_body_bytes)))

    async def generate_stream(self, request: Request) -> App:
        """An alias of `infer_stream` for a body with `inputs`, else Triton's form, event by event."""
        return self._streamed(*await self._asked(request))

    async def _asked(self, request: Request) -> tuple[Asked, Write]:
        """What is asked for, and how its answers are written."""
        body = await body_of(request, self._limits.max_body_bytes)
        received: requests.Request = request.scope[REQUEST]
        if received.json_length:
            return self._read(request, body)
        fields = fields_of(body)
        if "inputs" in fields:
            return self._read(request, body)
        model, version = model_of(request)
        metadata = self._dataplane.model_metadata(model, version)
        asked = Asked(generate_request(fields, metadata, version, self._limits.max_json_depth), NO_WISHES)
        bound(asked, received)
        self._headers.put(asked.request, received.text_headers)
        return asked, lambda response: (generated_bytes(response), None)

    def _read(self, request: Request, body: bytes) -> tuple[Asked, Write]:
        received: requests.Request = request.scope[REQUEST]
        asked = read(received, body, model_of(request), self._reader, self._dataplane)
        self._headers.put(asked.request, received.text_headers)
        return asked, lambda response: written(response, asked, self._dataplane)

    def _streamed(self, asked: Asked, write: Write) -> EventStream:
        if asked.wishes.any_binary:
            raise InferenceError("binary data cannot be sent in events: leave out `binary_data` and the like")
        request = asked.request
        return EventStream(
            request,
            self._dataplane.stream(request.model, request.version, one(request)),
            lambda response: write(with_headers(response))[0],
            lambda first: pairs(self._headers.event_lines(first)),
        )
