"""The words spoken on a socket between the scheduler and its doors or workers.

A frame is ``"MLF1" | length u32 | header length u32 | header (msgpack) | buffers``, little-endian, `length` counting
what follows it; every buffer starts at a multiple of 8 from the frame's payload, so that arrays lie aligned. Tensors
travel as their raw bytes, never pickled. Bytes that do not begin so, do not parse, or claim more than they may, are a
ProtocolError: the socket is closed and its process replaced.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mlserver.engine.words import Call, Failure, Result, TensorHead, Word
from mlserver.errors import Kind, MLServerError
from mlserver.types.tensors import DTYPES, OutputRequest, Tensor, TensorRequest, TensorResponse

# A batch is bounded by kafka_max_in_flight_bytes or max_body_bytes; their sum of JSON text and array stays below.
MAX_FRAME_BYTES = 1 << 30
MAGIC = b"MLF1"
_PREFIX = 4
_START = len(MAGIC) + _PREFIX
_ALIGNMENT = 8


class ProtocolError(Exception):
    """The other side of a socket broke the rules of frames."""


# What encoding raises for values that a message may hold and a frame has no word for.
UNSENDABLE = (TypeError, ValueError, OverflowError, RecursionError, ProtocolError)


_DECODER = msgspec.msgpack.Decoder(list[Word])
_ENCODER = msgspec.msgpack.Encoder()
Buffer = bytes | memoryview


class Frame:
    """Words to be sent together, with the buffers of their tensors."""

    __slots__ = ("_buffers", "_words")

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._buffers: list[Buffer] = []

    def add(self, word: Word) -> None:
        """A word without tensors."""
        self._words.append(word)

    def call(self, number: int, request: TensorRequest, members: Sequence[int], handle: int = 0) -> None:
        """A request for `members` neighbours."""
        outputs = [(output.name, output.parameters) for output in request.outputs] if request.outputs else None
        headers = dict(request.headers()) if request.headers else None
        tensors = [self._tensor(tensor) for tensor in request.inputs]
        self._words.append(
            Call(
                number, request.model, request.version, request.id, request.parameters, outputs, headers,
                list(members), tensors, handle, _left(request),
                None if request.trace is None else request.trace.departed(),
            )
        )  # fmt: skip

    def result(self, number: int, members: int, response: TensorResponse) -> None:
        """An answer for `members` neighbours."""
        headers = dict(response.headers) if response.headers else None
        tensors = [self._tensor(tensor) for tensor in response.outputs]
        self._words.append(
            Result(
                number, members, response.model, response.version, response.id, response.parameters, headers, tensors
            )
        )

    def failure(self, number: int, members: int, error: MLServerError) -> None:
        """An error for `members` neighbours."""
        # A caller's own copy of an error that several had is of no class of its own.
        cause = error.__cause__ if type(error) is MLServerError else None
        name = type(cause if isinstance(cause, MLServerError) else error).__name__
        self._words.append(Failure(number, members, error.kind.value, str(error), error.status_code, name))

    def _tensor(self, tensor: Tensor) -> TensorHead:
        data = tensor.data
        packed: Buffer
        if isinstance(data, np.ndarray):
            packed = np.ascontiguousarray(data).data.cast("B") if data.size else b""
        else:
            packed = _ENCODER.encode(data)
        self._buffers.append(packed)
        source = tensor.source or b""
        self._buffers.append(source)
        return TensorHead(tensor.name, tensor.datatype, list(tensor.shape), tensor.parameters, len(packed), len(source))

    def parts(self) -> list[Buffer]:
        """The frame as buffers to be written one after the other."""
        head = _ENCODER.encode(self._words)
        parts: list[Buffer] = [b"", head, b"\0" * (-(_PREFIX + len(head)) % _ALIGNMENT)]
        for buffer in self._buffers:
            parts.append(buffer)
            if padding := -len(buffer) % _ALIGNMENT:
                parts.append(b"\0" * padding)
        length = _PREFIX + sum(map(len, parts)) - len(parts[0])
        if length > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        parts[0] = MAGIC + length.to_bytes(4, "little") + len(head).to_bytes(4, "little")
        return parts


def _left(request: TensorRequest) -> float | None:
    """Seconds of the request's time: clocks differ between machines, and so do the words for them."""
    return None if request.deadline is None else max(0.0, request.deadline - time.monotonic())


class Assembler:
    """Puts frames together from the pieces in which a socket brings them. Pure: bytes in, payloads out."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._prefix = bytearray()
        self._payload: bytearray | None = None
        self._filled = 0

    def feed(self, piece: Buffer) -> list[bytearray]:
        """The payloads that `piece` completes. Raises ProtocolError on a length over the limit, before allocating."""
        size = len(piece)
        if not self._prefix and size > _START and checked_length(piece[:_START], self._limit) == size - _START:
            return [bytearray(piece[_START:])]  # nearly always: one frame, whole
        done = []
        view = memoryview(piece)
        while view:
            if self._payload is None:
                taken = _START - len(self._prefix)
                self._prefix += view[:taken]
                view = view[taken:]
                if len(self._prefix) < _START:
                    break
                self._payload = bytearray(checked_length(self._prefix, self._limit))
                self._filled = 0
            taken = min(len(view), len(self._payload) - self._filled)
            self._payload[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]
            if self._filled == len(self._payload):
                done.append(self._payload)
                self._payload = None
                self._prefix.clear()
        return done


def checked_length(prefix: Buffer | bytearray, limit: int = MAX_FRAME_BYTES) -> int:
    """The length that a frame's first bytes claim, if it is one that a frame may have."""
    if prefix[: len(MAGIC)] != MAGIC:
        raise ProtocolError(f"expected a frame, got {bytes(prefix)!r}")
    length = int.from_bytes(prefix[len(MAGIC) :], "little")
    if not _PREFIX < length <= limit:
        raise ProtocolError(f"a frame claims {length} bytes; the limit is {limit}")
    return length


class Parsed:
    """The words of a received payload; tensors are views into it, writable, and share its life."""

    def __init__(self, payload: bytearray) -> None:
        head = int.from_bytes(payload[:_PREFIX], "little")
        if head > len(payload) - _PREFIX:
            raise ProtocolError("a frame's header is longer than the frame")
        self._payload = payload
        self._offset = _PREFIX + head + (-(_PREFIX + head) % _ALIGNMENT)
        try:
            self.words: list[Word] = _DECODER.decode(memoryview(payload)[_PREFIX : _PREFIX + head])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ProtocolError(f"a frame's header does not parse: {error}") from error

    def request(self, call: Call) -> TensorRequest:
        """The request of `call`. Words with tensors must be read in the order of the frame."""
        outputs = [OutputRequest(name, parameters) for name, parameters in call.outputs] if call.outputs else None
        headers = call.headers
        inputs = [self._tensor(head) for head in call.tensors]
        deadline = None if call.timeout_seconds is None else time.monotonic() + call.timeout_seconds
        return TensorRequest(
            call.model, call.version, inputs, call.id, call.parameters, outputs,
            (lambda: headers) if headers else None, deadline,
        )  # fmt: skip

    def response(self, result: Result) -> TensorResponse:
        """The response of `result`. Words with tensors must be read in the order of the frame."""
        outputs = [self._tensor(head) for head in result.tensors]
        return TensorResponse(result.model, result.version, outputs, result.id, result.parameters, result.headers)

    def _tensor(self, head: TensorHead) -> Tensor:
        data = self._buffer(head.data_bytes)
        source = bytes(self._buffer(head.source_bytes)) or None
        dtype = DTYPES.get(head.datatype)
        try:
            values = (
                np.frombuffer(data, dtype).reshape(head.shape)
                if dtype
                else msgspec.msgpack.decode(data, type=list[Any])
            )
        except (ValueError, msgspec.MsgspecError) as error:
            raise ProtocolError(f"tensor {head.name!r} does not fit its buffer: {error}") from error
        return Tensor(head.name, head.datatype, head.shape, values, head.parameters, source)

    def _buffer(self, length: int) -> memoryview:
        end = self._offset + length
        if length < 0 or end > len(self._payload):
            raise ProtocolError("a frame's buffers are shorter than its header says")
        view = memoryview(self._payload)[self._offset : end]
        self._offset = end + (-length % _ALIGNMENT)
        return view


def error_of(failure: Failure) -> MLServerError:
    """The error that the other side had, as far as callers may know it."""
    error = MLServerError(failure.message, failure.status_code)
    error.kind = Kind(failure.kind)
    return error
