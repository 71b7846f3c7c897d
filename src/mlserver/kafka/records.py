"""The binding: Kafka records to inference requests and answers to Kafka records. Pure.

Headers are untrusted: bytes or null, perhaps not UTF-8, perhaps repeated. Names match without case, and the last of a
repeated one wins.
"""

import hashlib

from mlserver.errors import InferenceError, Kind, MLServerError
from mlserver.kafka.tracker import Lane
from mlserver.types.tensors import TensorRequest
from mlserver.utils import generate_uuid
from mlserver.wire.json import JsonReader, RequestHead, error_bytes

Value = str | bytes | None
Headers = list[tuple[str, Value]]

MODEL, VERSION, METHOD = "mlserver-model", "mlserver-version", "mlserver-method"
STATUS, SOURCE, REQUEST_ID = "mlserver-status", "mlserver-source", "mlserver-request-id"
_DEAD = "mlserver-dead-letter-"
# Correlation ids and W3C trace context, under the names that callers use; answers carry them back.
_ECHOED = ("traceparent", "correlation-id", "kafka_correlationid")
_READ = frozenset({MODEL, VERSION, METHOD, *_ECHOED})
_MAX_MESSAGE_BYTES = 1024


class Record:
    """One record on its way through: as it was read, and what became of it.

    `value` and `key` are None where the record has none; `timestamp` is in Unix ms. In the end it has either a `body`,
    the answer's value, with the name and version of the model that gave it, or an `error`.
    """

    __slots__ = (
        "_seen",
        "body",
        "error",
        "headers",
        "key",
        "lane",
        "model",
        "offset",
        "partition",
        "request_id",
        "rows",
        "timestamp",
        "topic",
        "value",
        "version",
    )

    def __init__(
        self,
        lane: Lane,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        timestamp: int = 0,
    ) -> None:
        self.lane = lane
        self.topic = lane.topic
        self.partition = lane.partition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers or []
        self.timestamp = timestamp
        self.model = ""
        self.version: str | None = None
        self.request_id = ""
        self.rows = 1
        self.body: bytes | None = None
        self.error: MLServerError | None = None
        self._seen: dict[str, tuple[str, Value]] | None = None

    @property
    def source(self) -> str:
        """topic/partition/offset: what a reader drops repeats by."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def seen(self) -> dict[str, tuple[str, Value]]:
        """The headers this server reads: lower-cased name -> name as written and value."""
        if self._seen is None:
            self._seen = {}
            for name, value in self.headers:
                lowered = name.lower()
                if lowered in _READ:
                    self._seen[lowered] = (name, value)
        return self._seen

    def text(self, name: str) -> str | None:
        """A header as text; None where it is absent. Raises InferenceError where it is null or not UTF-8."""
        found = self.seen().get(name)
        if found is None:
            return None
        value = found[1]
        if value is None:
            raise InferenceError(f"header {name} is null, expected text")
        try:
            return value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            raise InferenceError(f"header {name} is not UTF-8") from None


def head_of(record: Record, reader: JsonReader) -> RequestHead:
    """The request in a record, its data not yet decoded; the record then knows its model, version and request id.

    Raises MLServerError that says what was expected.
    """
    model = record.text(MODEL)
    if not model:
        raise InferenceError(f"the record has no header {MODEL}, which names the model")
    method = record.text(METHOD)
    if method not in (None, "infer"):
        raise InferenceError(f"header {METHOD} is {method[:64]!r}, expected 'infer'")
    record.model, record.version = model, record.text(VERSION) or None
    if record.value is None:
        raise InferenceError("the record has a null value (a tombstone), expected an inference request")
    if not record.value:
        raise InferenceError("the record has an empty value, expected an inference request")
    head = reader.head(record.value)
    record.request_id = head.id or _id_from_key(record.key) or generate_uuid()
    return head


def request_of(record: Record, head: RequestHead, reader: JsonReader) -> TensorRequest:
    """The request in a record, whole. Raises InferenceError."""
    request = reader.of_head(head, record.model, record.version)
    request.id = record.request_id
    if record.headers:
        request.headers = lambda: _as_text(record.headers)
    return request


def _id_from_key(key: bytes | None) -> str | None:
    try:
        return key.decode() if key else None
    except UnicodeDecodeError:
        return None


def _as_text(headers: Headers) -> dict[str, str]:
    """What a model may look at: header names lower-cased, values as far as they are text."""
    return {
        name.lower(): value if isinstance(value, str) else (value or b"").decode(errors="replace")
        for name, value in headers
    }


def _echoed(record: Record) -> Headers:
    seen = record.seen()
    return [seen[name] for name in _ECHOED if name in seen]


def answer_headers(record: Record) -> Headers:
    """The headers of a result."""
    headers: Headers = [(MODEL, record.model.encode())]
    if record.version:
        headers.append((VERSION, record.version.encode()))
    headers.append((STATUS, b"ok"))
    headers.append((SOURCE, record.source.encode()))
    headers.append((REQUEST_ID, record.request_id.encode()))
    return headers + _echoed(record) if len(record.headers) > 1 else headers


def error_answer(record: Record, error: MLServerError) -> tuple[bytes, Headers]:
    """Value and headers of the answer to a record that cannot be served."""
    seen = record.seen()
    headers: Headers = [(name, seen[name][1]) for name in (MODEL, VERSION) if name in seen]
    headers += [(STATUS, b"error"), (SOURCE, record.source.encode())]
    request_id = record.request_id or _id_from_key(record.key)
    if request_id:
        headers.append((REQUEST_ID, request_id.encode()))
    return error_bytes(str(error)), headers + _echoed(record)


def shortest_error_answer(record: Record) -> tuple[bytes, Headers]:
    """The same where its topic refuses that for its size: the message cut short, nothing that callers chose."""
    message = _cut(str(record.error)).decode()
    return error_bytes(message), [(STATUS, b"error"), (SOURCE, record.source.encode())]


def dead_letter_headers(record: Record, error: MLServerError, server: str, attempts: int = 1) -> Headers:
    """The record's own headers, byte for byte, followed by ours."""
    model = record.seen().get(MODEL, ("", None))[1] or b""
    ours: Headers = [
        ("error", error.kind.value.encode()),
        ("message", _cut(str(error))),
        ("attempts", str(attempts).encode()),
        ("source", record.source.encode()),
        ("timestamp", str(record.timestamp).encode()),
        ("model", model[:_MAX_MESSAGE_BYTES]),
        ("server", server.encode()),
    ]
    return [*record.headers, *((_DEAD + name, value) for name, value in ours)]


def truncated(value: bytes) -> Headers:
    """What a dead letter says instead of a value that its topic refuses."""
    return [
        (f"{_DEAD}truncated", b"true"),
        (f"{_DEAD}value-bytes", str(len(value)).encode()),
        (f"{_DEAD}value-sha256", hashlib.sha256(value).hexdigest().encode()),
    ]


def dropped(part: str) -> Headers:
    """What a dead letter says instead of headers, or even a key, that its topic refuses."""
    return [(f"{_DEAD}dropped", part.encode())]


def _cut(message: str) -> bytes:
    """At most 1 KiB, ending at a whole character."""
    return message.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore").encode()


def too_large(size: int) -> MLServerError:
    """The error of an answer that the output topic refuses for its size, in bytes."""
    error = MLServerError(f"the answer of {size} bytes is over the limit of the output topic")
    error.kind = Kind.TOO_LARGE
    return error
