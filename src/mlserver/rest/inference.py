"""Inference besides the infer route: `generate`, and the two routes that stream."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from mlserver.errors import MLServerError
from mlserver.rest import requests
from mlserver.rest.answers import body_of, error_answer, model_of
from mlserver.rest.asgi import App
from mlserver.rest.backing import Backing
from mlserver.rest.errors import status_of, told
from mlserver.rest.generate import fields_of, generate_request, generated_bytes
from mlserver.rest.headers import pairs
from mlserver.rest.streams import EventStream, one, with_headers
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.json import JsonReader, response_bytes

Written = Callable[[TensorResponse], bytes]


class Inference:
    """Handlers of `generate`, `infer_stream` and `generate_stream`."""

    def __init__(self, backing: Backing) -> None:
        self._dataplane = backing.dataplane
        self._limit = backing.settings.max_body_bytes
        self._headers = backing.headers
        self._reader = JsonReader()

    async def generate(self, request: Request) -> App:
        """An alias of infer for a body with `inputs`, else Triton's form of a request and its answer."""
        asked, written = await self._asked(request)
        try:
            response = await self._dataplane.infer(asked)
            answer = Response(written(response), media_type="application/json")
            answer.raw_headers.extend(pairs(self._headers.lines(response)))
        except MLServerError as error:
            answer = error_answer(status_of(error), told(error, asked.id))
        return answer

    async def infer_stream(self, request: Request) -> App:
        """Events that are inference responses, to one inference request."""
        body = await body_of(request, self._limit)
        return self._streamed(self._read(request, body), response_bytes)

    async def generate_stream(self, request: Request) -> App:
        """An alias of `infer_stream` for a body with `inputs`, else Triton's form, event by event."""
        return self._streamed(*await self._asked(request))

    async def _asked(self, request: Request) -> tuple[TensorRequest, Written]:
        """What is asked for, and how its answers are written."""
        body = await body_of(request, self._limit)
        fields = fields_of(body)
        if "inputs" in fields:
            return self._read(request, body), response_bytes
        model, version = model_of(request)
        asked = generate_request(fields, self._dataplane.model_metadata(model, version), version)
        asked.model = model
        return self._with_headers(asked, request), generated_bytes

    def _read(self, request: Request, body: bytes) -> TensorRequest:
        return self._with_headers(self._reader.request(body, *model_of(request)), request)

    def _with_headers(self, asked: TensorRequest, request: Request) -> TensorRequest:
        received = requests.Request(b"POST", b"", request.scope["headers"], keep_alive=True)
        self._headers.put(asked, received.text_headers)
        return asked

    def _streamed(self, asked: TensorRequest, written: Written) -> EventStream:
        responses = self._dataplane.stream(asked.model, asked.version, one(asked))
        return EventStream(
            asked,
            responses,
            lambda response: written(with_headers(response)),
            lambda first: pairs(self._headers.event_lines(first)),
        )
