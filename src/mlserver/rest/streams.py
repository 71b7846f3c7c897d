"""Server-sent events: each answer of a model leaves as soon as it is there and the caller can take it."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from mlserver.errors import MLServerError
from mlserver.rest.answers import error_answer
from mlserver.rest.asgi import Message, Receive, Send
from mlserver.rest.errors import INTERNAL_ERROR, status_of, told
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.json import error_bytes

logger = logging.getLogger("mlserver.rest")

Headers = list[tuple[bytes, bytes]]

_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # nginx, asked so, passes each event on at once.
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The answers of a model to one request, as an ASGI application.

    An error before the first answer is an ordinary error answer; after it, it is the last event. When the caller
    leaves, the model's generator is closed wherever it stands.
    """

    def __init__(
        self,
        asked: TensorRequest,
        responses: AsyncIterator[TensorResponse],
        written: Callable[[TensorResponse], bytes],
        headers: Callable[[TensorResponse], Headers],
    ) -> None:
        self._asked = asked
        self._responses = responses
        self._written = written
        self._headers = headers
        self._begun = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Send until the end, or until the caller leaves."""
        work = asyncio.create_task(self._run(scope, receive, send))
        gone = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.wait((work, gone))
        if not work.cancelled():
            work.result()

    async def _run(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await self._send_all(send)
        except MLServerError as error:
            message = told(error, self._asked.id)
            if not self._begun:
                await error_answer(status_of(error), message)(scope, receive, send)
                return
            await self._event(send, error_bytes(message))
        except Exception:
            if not self._begun:
                raise
            logger.exception("unexpected failure while streaming from model %r", self._asked.model)
            await self._event(send, error_bytes(INTERNAL_ERROR))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        responses = self._responses
        try:
            async for response in responses:
                await self._event(send, self._written(response), response)
        finally:
            if isinstance(responses, AsyncGenerator):
                await responses.aclose()
        if not self._begun:
            await self._begin(send, None)

    async def _begin(self, send: Send, first: TensorResponse | None) -> None:
        headers = _HEADERS + (self._headers(first) if first is not None else [])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._begun = True

    async def _event(self, send: Send, data: bytes, response: TensorResponse | None = None) -> None:
        if not self._begun:
            await self._begin(send, response)
        await send({"type": "http.response.body", "body": b"data: %b\n\n" % data, "more_body": True})


async def one(asked: TensorRequest) -> AsyncIterator[TensorRequest]:
    """A stream of a single request."""
    yield asked


def with_headers(response: TensorResponse) -> TensorResponse:
    """The answer with the headers that the model set among its parameters: an event has no others."""
    if response.headers:
        response.parameters = (response.parameters or {}) | {"headers": dict(response.headers)}
    return response


async def _left(receive: Receive) -> None:
    """Returns when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
