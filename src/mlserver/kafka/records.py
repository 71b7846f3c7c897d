"""The binding: Kafka records to inference requests and answers to Kafka records. Pure, but for deadlines.

Headers are untrusted: bytes or null, perhaps not UTF-8, perhaps repeated. Names match without case, and the last of a
repeated one wins.
"""

import time
from collections.abc import Callable, Hashable
from enum import Enum, auto

from mlserver.errors import InferenceError, MLServerError
from mlserver.kafka.failures import DeadlinePassed
from mlserver.kafka.routes import Routes
from mlserver.kafka.tracker import Lane
from mlserver.types.tensors import TensorRequest
from mlserver.utils import generate_uuid
from mlserver.wire.json import JsonReader, RequestHead
from mlserver.wire.words import Wishes

Value = str | bytes | None
Headers = list[tuple[str, Value]]

MODEL, VERSION, METHOD = "mlserver-model", "mlserver-version", "mlserver-method"
DEADLINE, REPLY_TO, CONTENT_TYPE = "mlserver-deadline", "reply-to", "content-type"
JSON_LENGTH = "inference-header-content-length"
STATUS, SOURCE, REQUEST_ID = "mlserver-status", "mlserver-source", "mlserver-request-id"
# Correlation ids and W3C trace context, under the names that callers use; answers carry them back.
ECHOED = ("traceparent", "tracestate", "correlation-id", "kafka_correlationid")
_READ = frozenset({MODEL, VERSION, METHOD, DEADLINE, REPLY_TO, CONTENT_TYPE, JSON_LENGTH, *ECHOED})
_NO_ROUTES = Routes()
# Of a time in milliseconds: those of today have 13.
_MAX_DIGITS = 15


class Form(Enum):
    """How a value is written; of protobuf, whether tensors are raw contents."""

    JSON = auto()
    PROTOBUF = auto()
    PROTOBUF_RAW = auto()


class Record:
    """One record on its way through: as it was read, and what became of it.

    `value` and `key` are None where the record has none; `timestamp` is in Unix ms. In the end it has either a `body`,
    the answer's value, with the name and version of the model that gave it, or an `error`. `order` is the lane that its
    answer keeps the order of; `deadline` is in seconds of the monotonic clock. `attempts` are the predictions that
    failed, `failures` those and the times that nobody was there to predict. The answer goes to topic `reply`, or else
    `output`, or else the settings' own. `wishes` are what the request asks of its answer's form; `json_bytes` is how
    much of the body is JSON, where binary data follow.
    """

    # What nearly every record has alike is its class's: to set all of it for each costs as much as to read its JSON.
    model = ""
    version: str | None = None
    request_id = ""
    rows = 1
    order: Hashable | None = None
    deadline: float | None = None
    form = Form.JSON
    wishes: Wishes | None = None
    json_bytes: int | None = None
    output: str | None = None
    reply: str | None = None
    attempts = 0
    failures = 0
    body: bytes | None = None
    error: MLServerError | None = None
    _seen: dict[str, tuple[str, Value]] | None = None

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
        self.offset = offset
        self.key = key
        self.value = value
        self.headers = headers or []
        self.timestamp = timestamp

    @property
    def topic(self) -> str:
        """Where it was read."""
        return self.lane.topic

    @property
    def partition(self) -> int:
        """Where in `topic`."""
        return self.lane.partition

    @property
    def source(self) -> str:
        """topic/partition/offset: what a reader drops repeats by."""
        return f"{self.lane.source}/{self.offset}"

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
        return None if found is None else _text(name, found[1])


def names_model_only(record: Record) -> bool:
    """Whether all that the headers say is the model's name, as it is with most records."""
    return len(record.headers) == 1 and record.headers[0][0] == MODEL


def _text(name: str, value: Value) -> str:
    """The value of header `name` as text. Raises InferenceError."""
    if value is None:
        raise InferenceError(f"header {name} is null, expected text")
    try:
        return value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        raise InferenceError(f"header {name} is not UTF-8") from None


def addressed(record: Record, routes: Routes, named: tuple[str, str] = ("", "")) -> bytes:
    """Read whom the record is for and where its answer goes, and give its value, which is not empty.

    `named` are model and version in the value itself, for a record whose headers name none. Raises MLServerError that
    says what was expected.
    """
    plain = names_model_only(record)
    if not plain and routes.replies and record.text(REPLY_TO):
        record.reply = routes.reply_topic(record.text(REPLY_TO) or "")
    model = _text(MODEL, record.headers[0][1]) if plain else record.text(MODEL)
    model = model or named[0] or routes.model_of(record.topic)
    if not model:
        raise InferenceError(f"the record has no header {MODEL}, which names the model")
    record.model, record.version = model, named[1] or None
    if not plain:
        _read_more(record)
    record.output = routes.output_of(model, record.version)
    if record.value is None:
        raise InferenceError("the record has a null value (a tombstone), expected an inference request")
    if not record.value:
        raise InferenceError("the record has an empty value, expected an inference request")
    return record.value


def _read_more(record: Record) -> None:
    """What headers besides the model's name say."""
    record.version = record.text(VERSION) or record.version
    method = record.text(METHOD)
    if method not in (None, "infer"):
        raise InferenceError(f"header {METHOD} is {method[:64]!r}, expected 'infer'")
    if DEADLINE in record.seen():
        _read_deadline(record)


def identified(record: Record, own: str | None) -> str:
    """The id of a request: its own, or else the record's key, or a new one; the record has it then too."""
    record.request_id = own or id_from_key(record.key) or generate_uuid()
    return record.request_id


def head_of(record: Record, reader: JsonReader, routes: Routes = _NO_ROUTES) -> RequestHead:
    """The request in a record of JSON, its data not yet decoded; the record then knows its model, version and id.

    Raises MLServerError that says what was expected.
    """
    head = reader.head(addressed(record, routes))
    identified(record, head.id)
    return head


def _read_deadline(record: Record) -> None:
    """What is left of the record's time, counted from its first reading. Raises MLServerError, also where none is."""
    text = record.text(DEADLINE) or ""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InferenceError(f"header {DEADLINE} is {text[:64]!r}, expected a time in Unix milliseconds")
    now = time.monotonic()
    if record.deadline is None:
        record.deadline = now + int(text) / 1000 - time.time()
        if record.deadline <= now:
            raise DeadlinePassed(f"in header {DEADLINE}")
    if record.deadline <= now:
        raise DeadlinePassed


def request_of(record: Record, head: RequestHead, reader: JsonReader) -> TensorRequest:
    """The request in a record, whole. Raises InferenceError."""
    request = reader.of_head(head, record.model, record.version)
    request.id = record.request_id
    request.deadline = record.deadline
    request.headers = request_headers(record)
    return request


def request_headers(record: Record) -> Callable[[], dict[str, str]] | None:
    """What a model may look at, made when it does; None where there is nothing."""
    return (lambda: _as_text(record.headers)) if record.headers else None


def id_from_key(key: bytes | None) -> str | None:
    """The key, where it is text."""
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


def echoed(record: Record) -> Headers:
    """The headers that answers carry back, as they were written."""
    seen = record.seen()
    return [seen[name] for name in ECHOED if name in seen]
