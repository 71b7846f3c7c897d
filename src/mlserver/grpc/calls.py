"""What all calls have in common: they are counted, and whatever happens in them ends in a status code.

Messages reach the handlers here as bytes, because gRPC itself answers those that do not parse with UNKNOWN.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode

from mlserver.errors import InferenceError, MLServerError
from mlserver.events import GrpcDone, GrpcMethod, GrpcStarted, Tell, nobody
from mlserver.grpc.errors import INTERNAL_ERROR, code_of, details_of
from mlserver.grpc.metadata import Context
from mlserver.tracing import DoorTrace, Tracer

logger = logging.getLogger("mlserver.grpc")

Answer = Callable[[Any, Context], Awaitable[Message]]
"""Answers one message with one. Raises MLServerError for the caller, anything else for the log."""
AnswerBytes = Callable[[bytes, Context], Awaitable[bytes]]
"""The same, from bytes to bytes."""
Converse = Callable[[Context], Awaitable[None]]
"""Reads and writes messages, as bytes, until it returns. Raises as `Answer` does."""

_TYPES = {
    (False, False): "UNARY",
    (True, False): "CLIENT_STREAMING",
    (False, True): "SERVER_STREAMING",
    (True, True): "BIDI_STREAMING",
}
_HEALTH = frozenset({"ServerLive", "ServerReady", "ModelReady"})
# What OpenTelemetry calls an error of the server's.
_FAILURES = frozenset({
    StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNIMPLEMENTED, StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS,
})  # fmt: skip


# A caller's time is over a little earlier than what we know of it: that began when the call had arrived.
_DEADLINE_SLACK_SECONDS = 0.1


def method_of(descriptor: MethodDescriptor) -> GrpcMethod:
    """A method in the words of its metrics."""
    kind = _TYPES[descriptor.client_streaming, descriptor.server_streaming]
    return GrpcMethod(kind, descriptor.containing_service.full_name, descriptor.name)


def parse(message: Any, data: bytes) -> Any:
    """A message of the class `message`. Raises InferenceError."""
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise InferenceError(f"invalid {message.DESCRIPTOR.name}: {error}") from None


class Calls:
    """Makes the handlers that gRPC calls. `access_log`: one INFO line per call on the logger `mlserver.grpc`."""

    def __init__(self, tell: Tell = nobody, *, access_log: bool = False, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._tell = tell
        self._access_log = access_log

    def unary(self, descriptor: MethodDescriptor, answer: Answer) -> Any:
        """A handler of a method that answers one message with one."""
        request_class = GetMessageClass(descriptor.input_type)

        async def answer_bytes(data: bytes, context: Context) -> bytes:
            message = await answer(parse(request_class, data), context)
            return message.SerializeToString()

        return self.unparsed(descriptor, answer_bytes)

    def unparsed(self, descriptor: MethodDescriptor, answer: AnswerBytes) -> Any:
        """The same, where the answer reads and writes the bytes itself."""
        method = method_of(descriptor)

        async def handle(data: bytes, context: Context) -> bytes:
            async def reply() -> bytes:
                return await answer(data, context)

            replied: bytes = await self._handled(method, context, reply)
            return replied

        return grpc.unary_unary_rpc_method_handler(handle)

    def stream(self, method: GrpcMethod, converse: Converse) -> Any:
        """A handler of a method that reads and writes as it likes; under `method` it is counted."""

        async def handle(_: Any, context: Context) -> None:
            async def reply() -> None:
                await converse(context)

            await self._handled(method, context, reply)

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _handled(self, method: GrpcMethod, context: Context, reply: Callable[[], Awaitable[Any]]) -> Any:
        """What `reply` returns; where it raises, the call ends with the error's code."""
        self._tell(GrpcStarted(method))
        begun = time.perf_counter()
        code, details = StatusCode.CANCELLED, ""
        trace = None if self._tracer is None else _trace_of(self._tracer, method, context)
        try:
            result = await reply()
            code = StatusCode.OK
            return result
        except MLServerError as error:
            code, details = code_of(error), details_of(error)
        except asyncio.CancelledError:
            code = _given_up(context)
            raise
        except Exception:
            logger.exception("unexpected failure in %s", method.name)
            code, details = StatusCode.INTERNAL, INTERNAL_ERROR
        finally:
            self._tell(GrpcDone(method, code.name, time.perf_counter() - begun))
            if trace is not None:
                trace.end(failed=code in _FAILURES, rpc__grpc__status_code=code.value[0])
            if self._access_log:
                logger.info('%s "%s/%s" %s', context.peer(), method.service, method.name, code.name)
        return await context.abort(code, details)


def _trace_of(tracer: Tracer, method: GrpcMethod, context: Context) -> DoorTrace | None:
    """The span of a call; None for those that only ask how the server is, which come all the time."""
    if method.name in _HEALTH or method.service.startswith("grpc."):
        return None
    path = f"/{method.service}/{method.name}"
    metadata = context.invocation_metadata() or ()
    return tracer.begin(path, metadata, rpc__system="grpc", rpc__service=method.service, rpc__method=method.name)


def _given_up(context: Context) -> StatusCode:
    """Why a call was cancelled: the caller's time was over, or it left."""
    remaining = context.time_remaining()
    over = remaining is not None and remaining <= _DEADLINE_SLACK_SECONDS
    return StatusCode.DEADLINE_EXCEEDED if over else StatusCode.CANCELLED
