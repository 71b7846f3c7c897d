"""ModelStreamInfer, in both of its forms.

MLServer's: the stream is one conversation with one model, which its first request names; an error ends it. Triton's: a
stream of requests, each to a model of its choice and answered on its own, in order; an error is a message like any
other, and the stream goes on.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from grpc.aio import EOF

from mlserver.dataplane import DataPlane
from mlserver.errors import Kind, MLServerError
from mlserver.events import GrpcMessage, GrpcMethod, Tell, nobody
from mlserver.grpc.errors import details_of, named
from mlserver.grpc.inference import Inference
from mlserver.grpc.metadata import Context
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.protobuf.dataplane_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from mlserver.wire.protobuf.requests import parsed

# A caller who has sent all it has says so at once: what takes longer is one who may send more.
_LAST_SECONDS = 0.1
_WANTS_FINAL, _IS_FINAL = "triton_enable_empty_final_response", "triton_final_response"


class Stopping(MLServerError):
    """The server takes no more requests."""

    kind = Kind.UNAVAILABLE


class Streams:
    """The streams that are open. `form` is `mlserver`, `triton`, or `auto`: as the first request is made."""

    def __init__(
        self,
        dataplane: DataPlane,
        inference: Inference,
        form: str,
        method: GrpcMethod,
        tell: Tell = nobody,
    ) -> None:
        self._dataplane = dataplane
        self._inference = inference
        self._form = form
        self._received = GrpcMessage(method, sent=False)
        self._sent = GrpcMessage(method, sent=True)
        self._tell = tell
        self._idle: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def stop(self) -> None:
        """End streams that wait for a request now, and the others when they have answered theirs."""
        self._stopping = True
        for task in self._idle:
            task.cancel()

    async def converse(self, context: Context) -> None:
        """One stream, from its first request on."""
        data = await self._read(context)
        if data is None:
            return
        if self._in_tritons_form(data):
            await self._answered_one_by_one(data, context)
        else:
            await self._conversation(data, context)

    def _in_tritons_form(self, data: bytes) -> bool:
        if self._form != "auto":
            return self._form == "triton"
        try:
            return bool(parsed(data).raw_input_contents)
        except MLServerError:
            return False

    async def _conversation(self, data: bytes, context: Context) -> None:
        message = parsed(data)
        first, wishes = self._inference.asked(message, context)
        requests = self._requests(first, context)
        answers = self._dataplane.stream(first.model, first.version, requests, conversation=True)
        try:
            async with _closing(answers):
                async for answer in answers:
                    context.set_trailing_metadata(self._inference.trailing(answer))
                    await self._write(context, self._inference.answered(answer, message, wishes))
        except MLServerError as error:
            raise named(error, first.id) from error

    async def _requests(self, first: TensorRequest, context: Context) -> AsyncIterator[TensorRequest]:
        yield first
        while (data := await self._read(context)) is not None:
            yield self._inference.asked(parsed(data), context, first.id)[0]

    async def _answered_one_by_one(self, first: bytes, context: Context) -> None:
        data: bytes | None = first
        while data is not None:
            message = ModelInferRequest()
            try:
                message = parsed(data)
                await self._answer(message, context)
            except MLServerError as error:
                answer = ModelInferResponse(id=message.id)
                failed = ModelStreamInferResponse(error_message=details_of(error), infer_response=answer)
                await self._write(context, failed)
            data = await self._read(context)

    async def _answer(self, message: ModelInferRequest, context: Context) -> None:
        """All responses to one request, and where it asks for that, a last one without outputs that says so."""
        request, wishes = self._inference.asked(message, context)
        final = bool((request.parameters or {}).pop(_WANTS_FINAL, False))
        answers = self._dataplane.stream(request.model, request.version, _only(request))
        made = ModelInferResponse(model_name=request.model, model_version=request.version or "")
        try:
            async with _closing(answers):
                async for answer in answers:
                    made = self._inference.answered(answer, message, wishes)
                    if final:
                        made.parameters[_IS_FINAL].bool_param = False
                    await self._write(context, ModelStreamInferResponse(infer_response=made))
        except MLServerError as error:
            raise named(error, request.id) from error
        if final:
            last = ModelInferResponse(
                model_name=made.model_name, model_version=made.model_version, id=made.id or message.id
            )
            last.parameters[_IS_FINAL].bool_param = True
            await self._write(context, ModelStreamInferResponse(infer_response=last))

    async def _read(self, context: Context) -> bytes | None:
        """The next message; None after the last. Raises Stopping."""
        data = await (self._last(context) if self._stopping else self._next(context))
        if data is EOF:
            return None
        self._tell(self._received)
        return bytes(data)

    async def _next(self, context: Context) -> Any:
        task: Any = asyncio.current_task()
        self._idle.add(task)
        try:
            return await context.read()
        except asyncio.CancelledError:
            if self._stopping and not context.cancelled():
                task.uncancel()
                raise Stopping("the server is stopping") from None
            raise
        finally:
            self._idle.discard(task)

    async def _last(self, context: Context) -> Any:
        """The end of a stream that was answered while the server stops; whoever sends more is told."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                data = await context.read()
            if data is EOF:
                return data
        raise Stopping("the server is stopping")

    async def _write(self, context: Context, message: ModelInferResponse | ModelStreamInferResponse) -> None:
        await context.write(message.SerializeToString())
        self._tell(self._sent)


async def _only(request: TensorRequest) -> AsyncIterator[TensorRequest]:
    yield request


def _closing(answers: AsyncIterator[TensorResponse]) -> Any:
    """Whoever stops before the end ends the model's generator, now."""
    return contextlib.aclosing(answers) if isinstance(answers, AsyncGenerator) else contextlib.nullcontext()
