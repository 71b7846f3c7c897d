"""What is written about a record: headers of answers, error answers, dead letters. Pure."""

import hashlib

from mlserver.errors import Kind, MLServerError
from mlserver.kafka.failures import word_of
from mlserver.kafka.records import (
    CONTENT_TYPE,
    ECHOED,
    MODEL,
    REQUEST_ID,
    SOURCE,
    STATUS,
    VERSION,
    Form,
    Headers,
    Record,
    echoed,
    id_from_key,
)
from mlserver.settings import Settings
from mlserver.wire.binary import HEADER
from mlserver.wire.json import error_bytes

DEAD = "mlserver-dead-letter-"
_MAX_MESSAGE_BYTES = 1024
# MLServer's own words, which consumers of its events filter by.
_CE_SOURCE = "io.seldon.serving.deployment"
_CE_TYPE = b"io.seldon.serving.inference.response"


class Signature:
    """What the settings add to answers: headers of requests that are copied, and CloudEvents attributes."""

    def __init__(self, settings: Settings) -> None:
        self.server = settings.server_name
        self._echo = frozenset(name.lower() for name in settings.kafka_echo_headers) - frozenset(ECHOED)
        self._cloudevents = settings.kafka_cloudevents
        self.adds = bool(self._echo or self._cloudevents)

    def added(self, record: Record, request_id: str | None) -> Headers:
        """Copies as they were, repeated ones too; then what the CloudEvents binding for Kafka, binary mode, asks."""
        headers: Headers = [entry for entry in record.headers if entry[0].lower() in self._echo] if self._echo else []
        if self._cloudevents:
            headers += [
                ("ce_specversion", b"1.0"),
                ("ce_id", record.source.encode()),
                ("ce_source", f"{_CE_SOURCE}.{self.server}".encode()),
                ("ce_type", _CE_TYPE),
                ("ce_requestid", (request_id or "").encode()),
                ("ce_modelid", record.model.encode()),
            ]
        return headers


def answer_headers(record: Record, signature: Signature) -> Headers:
    """The headers of a result."""
    headers: Headers = [
        (MODEL, record.model.encode()),
        (STATUS, b"ok"),
        (SOURCE, record.source.encode()),
        (REQUEST_ID, record.request_id.encode()),
    ]
    if record.version:
        headers.insert(1, (VERSION, record.version.encode()))
    if record.form is not Form.JSON:
        headers.append((CONTENT_TYPE, b"application/x-protobuf"))
    if record.json_bytes is not None:
        headers += [(CONTENT_TYPE, b"application/octet-stream"), (HEADER, b"%d" % record.json_bytes)]
    if len(record.headers) > 1:
        headers += echoed(record)
    return headers + signature.added(record, record.request_id) if signature.adds else headers


def error_answer(record: Record, error: MLServerError, signature: Signature) -> tuple[bytes, Headers]:
    """Value and headers of the answer to a record that cannot be served."""
    seen = record.seen()
    headers: Headers = [(name, seen[name][1]) for name in (MODEL, VERSION) if name in seen]
    headers += [(STATUS, b"error"), (SOURCE, record.source.encode())]
    request_id = record.request_id or id_from_key(record.key)
    if request_id:
        headers.append((REQUEST_ID, request_id.encode()))
    if record.form is not Form.JSON:
        headers.append((CONTENT_TYPE, b"application/json"))
    headers += echoed(record)
    return error_bytes(str(error)), headers + signature.added(record, request_id)


def shortest_error_answer(record: Record) -> tuple[bytes, Headers]:
    """The same where its topic refuses that for its size: the message cut short, nothing that callers chose."""
    message = _cut(str(record.error)).decode()
    return error_bytes(message), [(STATUS, b"error"), (SOURCE, record.source.encode())]


def dead_letter_headers(record: Record, error: MLServerError, server: str) -> Headers:
    """The record's own headers, byte for byte, followed by ours."""
    model = record.seen().get(MODEL, ("", None))[1] or b""
    ours: Headers = [
        ("error", word_of(error).encode()),
        ("message", _cut(str(error))),
        ("attempts", str(max(1, record.attempts)).encode()),
        ("source", record.source.encode()),
        ("timestamp", str(record.timestamp).encode()),
        ("model", model[:_MAX_MESSAGE_BYTES]),
        ("server", server.encode()),
    ]
    return [*record.headers, *((DEAD + name, value) for name, value in ours)]


def truncated(value: bytes) -> Headers:
    """What a dead letter says instead of a value that its topic refuses."""
    return [
        (f"{DEAD}truncated", b"true"),
        (f"{DEAD}value-bytes", str(len(value)).encode()),
        (f"{DEAD}value-sha256", hashlib.sha256(value).hexdigest().encode()),
    ]


def dropped(part: str) -> Headers:
    """What a dead letter says instead of headers, or even a key, that its topic refuses."""
    return [(f"{DEAD}dropped", part.encode())]


def _cut(message: str) -> bytes:
    """At most 1 KiB, ending at a whole character."""
    return message.encode(errors="replace")[:_MAX_MESSAGE_BYTES].decode(errors="ignore").encode()


def too_large(size: int) -> MLServerError:
    """The error of an answer that the output topic refuses for its size, in bytes."""
    error = MLServerError(f"the answer of {size} bytes is over the limit of the output topic")
    error.kind = Kind.TOO_LARGE
    return error


def no_reply(topic: str, why: str) -> MLServerError:
    """The error of an answer that the record's own reply topic does not take."""
    error = MLServerError(f"the answer could not be written to reply-to topic {topic!r}: {why}")
    error.kind = Kind.NOT_FOUND
    return error
