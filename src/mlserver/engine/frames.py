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


class _TensorHead(msgspec.Struct, array_like=True, gc=False):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None
    data_bytes: int
    source_bytes: int


class Call(msgspec.Struct, array_like=True, tag="call", gc=False):
    """Predict for the members whose `rows` the tensors hold; `members` are their counts of rows, in order.

    To a worker, `handle` names the model it has loaded; with the number of an open stream this is its next request.
    `timeout_seconds` is how long the answer is worth anything; None for ever. `trace` is W3C's `traceparent`, where
    somebody keeps traces.
    """

    number: int
    model: str
    version: str | None
    id: str | None
    parameters: dict[str, Any] | None
    outputs: list[tuple[str, dict[str, Any] | None]] | None
    headers: dict[str, str] | None
    members: list[int]
    tensors: list[_TensorHead]
    handle: int = 0
    timeout_seconds: float | None = None
    trace: str | None = None


class Result(msgspec.Struct, array_like=True, tag="result", gc=False):
    """A response for the next `members` members of call `number`."""

    number: int
    members: int
    model: str
    version: str | None
    id: str | None
    parameters: dict[str, Any] | None
    headers: dict[str, str] | None
    tensors: list[_TensorHead]


class Failure(msgspec.Struct, array_like=True, tag="failure", gc=False):
    """An error for the next `members` members of call `number`; `error` is the name of its class."""

    number: int
    members: int
    kind: str
    message: str
    status_code: int | None
    error: str = ""


class Configure(msgspec.Struct, array_like=True, tag="configure"):
    """First word to a child: its settings, as JSON."""

    settings: str


class ModelTopics(msgspec.Struct, array_like=True):
    """The Kafka topics and group that a model has of its own; `version` None stands for the default."""

    name: str
    version: str | None
    inputs: list[str]
    output: str | None
    group: str | None


class Models(msgspec.Struct, array_like=True, tag="models"):
    """What is served now: (name, version or None for the default, rows that may be stacked; 1 for none)."""

    served: list[tuple[str, str | None, int]]
    topics: list[ModelTopics] = []


class Started(msgspec.Struct, array_like=True, tag="started"):
    """A child's first word: it is configured and at work, or `refusal` says in one line why it cannot be."""

    refusal: str | None = None


class Drain(msgspec.Struct, array_like=True, tag="drain"):
    """Take no more in, finish what is under way within `grace_seconds`, and end."""

    grace_seconds: float


class Report(msgspec.Struct, array_like=True, tag="report"):
    """What the Kafka door has counted, about once a second; see `mlserver.events.KafkaFigures`."""

    groups: list[dict[str, Any]]
    batches: int
    batch_records: int
    retried: int


class Host(msgspec.Struct, array_like=True, tag="host"):
    """First word to a worker: the server's settings as JSON, and where it looks for modules first."""

    settings: str
    paths: list[str]


class Load(msgspec.Struct, array_like=True, tag="load"):
    """Load a model under a number: its settings as JSON, and the file they came from."""

    handle: int
    settings: str
    source: str | None


class Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """A model is loaded: its metadata as JSON, and the rest of its card."""

    handle: int
    metadata: str
    max_rows: int
    ready: bool
    plain: bool
    custom: list[tuple[str, str]]


class NotLoaded(msgspec.Struct, array_like=True, tag="not loaded"):
    """A model could not be loaded, in one line. `kind` is the error's; None where its settings are wrong."""

    handle: int
    message: str
    kind: str | None


class Unload(msgspec.Struct, array_like=True, tag="unload"):
    """Unload a model. The answer is the same word."""

    handle: int


class Awaits(msgspec.Struct, array_like=True, tag="awaits"):
    """An `async def predict` of this model was seen to wait for something."""

    handle: int


class Recorded(msgspec.Struct, array_like=True, tag="recorded"):
    """What models have recorded in metrics of their own since this was said last: see `mlserver.metrics.Delta`."""

    deltas: list[tuple[str, str, str, str, list[float], list[int], float]]


class Open(msgspec.Struct, array_like=True, tag="open"):
    """Begin a stream of a model; its requests follow as calls of this number, its responses as results."""

    number: int
    handle: int


class Credit(msgspec.Struct, array_like=True, tag="credit"):
    """The other side may send so many more messages of a stream: neither ever has more than those unread."""

    number: int
    messages: int


class Done(msgspec.Struct, array_like=True, tag="done"):
    """Nothing more comes from this side of a stream."""

    number: int


class Cancel(msgspec.Struct, array_like=True, tag="cancel"):
    """Nobody waits for a call, or a stream, any more. It is answered all the same, with whatever it has come to."""

    number: int


class CustomCall(msgspec.Struct, array_like=True, tag="custom call", gc=False):
    """A request to one of a model's own routes; the answer is a `CustomAnswer`, or a failure, of this number."""

    number: int
    handle: int
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    client: tuple[str, int] | None


class CustomAnswer(msgspec.Struct, array_like=True, tag="custom answer", gc=False):
    """What a model's own route answers."""

    number: int
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Beat(msgspec.Struct, array_like=True, tag="beat"):
    """Are you there? The answer is the same word."""


Word = (
    Call | Result | Failure | Configure | Models | Started | Drain | Host | Load | Loaded | NotLoaded | Unload
    | Awaits | Recorded | Open | Credit | Done | Cancel | CustomCall | CustomAnswer | Beat | Report
)  # fmt: skip
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

    def _tensor(self, tensor: Tensor) -> _TensorHead:
        data = tensor.data
        packed: Buffer
        if isinstance(data, np.ndarray):
            packed = np.ascontiguousarray(data).data.cast("B") if data.size else b""
        else:
            packed = _ENCODER.encode(data)
        self._buffers.append(packed)
        source = tensor.source or b""
        self._buffers.append(source)
        return _TensorHead(
            tensor.name, tensor.datatype, list(tensor.shape), tensor.parameters, len(packed), len(source)
        )

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

    def _tensor(self, head: _TensorHead) -> Tensor:
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
