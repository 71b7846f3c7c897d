"""From the client's messages to records."""

from confluent_kafka import Message

from mlserver.errors import InferenceError
from mlserver.kafka.records import Record
from mlserver.kafka.tracker import Lane


def record_of(lane: Lane, message: Message) -> Record:
    """The record in `message`, which has no error."""
    unreadable: InferenceError | None = None
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError):
        # The protocol says that names are UTF-8; a client may write what it likes, and ours then gives none of them.
        headers = None
        unreadable = InferenceError("the record's headers cannot be read: a header name is not UTF-8")
    offset = message.offset()
    key, value = message.key(), message.value()
    record = Record(lane, offset or 0, key, value, headers, message.timestamp()[1])  # type: ignore[arg-type]
    record.error = unreadable
    return record


def size_of(record: Record) -> int:
    """Bytes of the record's key, value and headers."""
    size = len(record.value or b"") + len(record.key or b"")
    for name, value in record.headers:
        size += len(name) + len(value or b"")
    return size
