"""How the value of a record is written: JSON, or a protobuf message. An answer is written as its request was. Pure."""

from collections.abc import Sequence

from mlserver.engine.rows import split
from mlserver.errors import MLServerError
from mlserver.kafka.records import CONTENT_TYPE, Form, Record, addressed, identified, request_headers
from mlserver.kafka.routes import Routes
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.json import member_bytes, response_bytes
from mlserver.wire.protobuf import requests, responses

_PROTOBUF = frozenset({"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf"})


def is_protobuf(record: Record) -> bool:
    """Whether the record says that its value is a message. Raises InferenceError where that header is no text."""
    if CONTENT_TYPE not in record.seen():
        return False
    return (record.text(CONTENT_TYPE) or "").partition(";")[0].strip().lower() in _PROTOBUF


def message_request(record: Record, routes: Routes) -> TensorRequest:
    """The request in a record whose value is a ModelInferRequest; it may name the model where no header does.

    Raises MLServerError that says what was expected.
    """
    record.form = Form.PROTOBUF
    message = requests.parsed(record.value) if record.value else None
    value = addressed(record, routes, (message.model_name, message.model_version) if message else ("", ""))
    message = message or requests.parsed(value)
    if message.raw_input_contents:
        record.form = Form.PROTOBUF_RAW
    request = requests.request_of(message, request_headers(record))
    request.model, request.version, request.deadline = record.model, record.version, record.deadline
    request.id = identified(record, request.id)
    return request


def encode(record: Record, response: TensorResponse) -> None:
    """Give `record` its body, or its error where the response has no such form."""
    response.id = response.id or record.request_id
    try:
        if record.form is Form.JSON:
            record.body = response_bytes(response)
        else:
            raw = record.form is Form.PROTOBUF_RAW
            record.body = responses.message_of(response, raw=raw).SerializeToString()
    except MLServerError as error:
        record.error = error
    else:
        record.model, record.version = response.model, response.version


def encode_members(records: Sequence[Record], response: TensorResponse) -> None:
    """Give the members of a stack their bodies; those in JSON at a third of the cost of each alone."""
    rows = [record.rows for record in records]
    if all(record.form is Form.JSON for record in records):
        try:
            bodies = member_bytes(response, rows, [record.request_id for record in records])
        except MLServerError:
            pass  # one of them has an output that JSON cannot carry: the others still have their answers
        else:
            for record, body in zip(records, bodies, strict=True):
                record.model, record.version = response.model, response.version
                record.body = body
            return
    for record, part in zip(records, split(response, rows), strict=True):
        encode(record, part)
