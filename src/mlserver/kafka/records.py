"""The binding: Kafka records to inference requests and answers to Kafka records. Pure.

Headers are untrusted: bytes or null, perhaps not UTF-8, perhaps repeated. Names match without case, and the last of a
repeated one wins.
"""

import hashlib
from collections.abc import Sequence

from mlserver.errors import InferenceError, Kind, MLServerError
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid
from mlserver.wire.json import JsonReader, error_bytes, response_bytes

Headers = list[tuple[str, bytes | None]]

MODEL, VERSION, METHOD = "mlserver-model", "mlserver-version", "mlserver-method"
STATUS, SOURCE, REQUEST_ID = "mlserver-status", "mlserver-source", "mlserver-request-id"
_DEAD = "mlserver-dead-letter-"
# Correlation ids and W3C trace context, under the names that callers use; answers carry them back.
_ECHOED = ("traceparent", "correlation-id", "kafka_correlationid")
_READ = frozenset({MODEL, VERSION, METHOD, *_ECHOED})
_MAX_MESSAGE_BYTES = 1024


class Record:
    """One record as it was read. `value` and `key` are None where the record has none; `timestamp` in Unix ms."""

    __slots__ = ("_seen", "headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None,
        timestamp: int = 0,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers or []
        self.timestamp = timestamp
        self._seen: dict[str, tuple[str, bytes | None]] | None = None

    @property
    def source(self) -> str:
        """topic/partition/offset: what a reader drops repeats by."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    def seen(self) -> dict[str, tuple[str, bytes | None]]:
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
        if found[1] is None:
            raise InferenceError(f"header {name} is null, expected text")
        try:
            return found[1].decode()
        except UnicodeDecodeError:
            raise InferenceError(f"header {name} is not UTF-8") from None


def decode(record: Record, reader: JsonReader) -> TensorRequest:
    """The request in a record. Raises MLServerError that says what was expected."""
    model = record.text(MODEL)
    if not model:
        raise InferenceError(f"the record has no header {MODEL}, which names the model")
    method = record.text(METHOD)
    if method not in (None, "infer"):
        raise InferenceError(f"header {METHOD} is {method[:64]!r}, expected 'infer'")
    version = record.text(VERSION) or None
    if record.value is None:
        raise InferenceError("the record has a null value (a tombstone), expected an inference request")
    if not record.value:
        raise InferenceError("the record has an empty value, expected an inference request")
    request = reader.request(record.value, model, version)
    if request.id is None:
        request.id = _id_from_key(record.key) or generate_uuid()
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
    return {name.lower(): (value or b"").decode(errors="replace") for name, value in headers}


def _echoed(record: Record) -> Headers:
    seen = record.seen()
    return [seen[name] for name in _ECHOED if name in seen]


def answer(record: Record, response: TensorResponse) -> tuple[bytes, Headers]:
    """Value and headers of a result. Raises ModelError where JSON cannot carry it."""
    value = response_bytes(response)
    headers: Headers = [(MODEL, response.model.encode())]
    if response.version:
        headers.append((VERSION, response.version.encode()))
    headers += [
        (STATUS, b"ok"),
        (SOURCE, record.source.encode()),
        (REQUEST_ID, (response.id or "").encode(errors="replace")),
    ]
    if len(record.headers) > 1:
        headers += _echoed(record)
    return value, headers


def error_answer(record: Record, error: MLServerError, request_id: str | None) -> tuple[bytes, Headers]:
    """Value and headers of the answer to a record that cannot be served."""
    seen = record.seen()
    headers: Headers = [seen[name] for name in (MODEL, VERSION) if name in seen]
    headers += [(STATUS, b"error"), (SOURCE, record.source.encode())]
    request_id = request_id or _id_from_key(record.key)
    if request_id:
        headers.append((REQUEST_ID, request_id.encode(errors="replace")))
    return error_bytes(str(error)), headers + _echoed(record)


def dead_letter_headers(record: Record, error: MLServerError, server: str, attempts: int = 1) -> Headers:
    """The record's own headers, byte for byte, followed by ours."""
    model = record.seen().get(MODEL, ("", None))[1] or b""
    ours: Sequence[tuple[str, bytes]] = (
        ("error", error.kind.value.encode()),
        ("message", _cut(str(error))),
        ("attempts", str(attempts).encode()),
        ("source", record.source.encode()),
        ("timestamp", str(record.timestamp).encode()),
        ("model", model),
        ("server", server.encode()),
    )
    return [*record.headers, *((_DEAD + name, value) for name, value in ours)]


def truncated(value: bytes | None) -> Headers:
    """What a dead letter says instead of a value that its topic refuses."""
    value = value or b""
    return [
        (f"{_DEAD}truncated", b"true"),
        (f"{_DEAD}value-bytes", str(len(value)).encode()),
        (f"{_DEAD}value-sha256", hashlib.sha256(value).hexdigest().encode()),
    ]


def _cut(message: str) -> bytes:
    """At most 1 KiB, ending at a whole character."""
    return message.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore").encode()


def too_large(size: int) -> MLServerError:
    """The error of an answer that the output topic refuses for its size, in bytes."""
    error = MLServerError(f"the answer of {size} bytes is over the limit of the output topic")
    error.kind = Kind.TOO_LARGE
    return error
