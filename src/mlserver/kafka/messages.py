"""From the client's messages to records."""

from operator import methodcaller
from typing import Any

from confluent_kafka import Message

from mlserver.errors import InferenceError
from mlserver.kafka.records import Headers, Record
from mlserver.kafka.tracker import Lane

# For a header name that is not UTF-8 the client returns a broken list *and* sets an exception. A call that the
# interpreter has specialised does not look for that, so that the exception would come up anywhere later; this one does.
_headers: Any = methodcaller("headers")


def headers_of(message: Message) -> Headers | None:
    """The headers of `message`; None where there are none, or where they cannot be read."""
    try:
        found: Headers | None = _headers(message)
    except (SystemError, UnicodeDecodeError):
        return None
    return found


def record_of(lane: Lane, message: Message) -> Record:
    """The record in `message`, which has no error."""
    headers: Headers | None = None
    error: InferenceError | None = None
    try:
        headers = _headers(message)
    except (SystemError, UnicodeDecodeError):
        # The protocol says that names are UTF-8; a client may write what it likes, and ours then gives none of them.
        error = InferenceError("the record's headers cannot be read: a header name is not UTF-8")
    record = Record(lane, message.offset() or 0, message.key(), message.value(), headers, message.timestamp()[1])
    if error is not None:
        record.error = error
    return record


def size_of(record: Record) -> int:
    """Bytes of the record's key, value and headers."""
    size = len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size
