"""How the value of a record is written: JSON, JSON with binary tensors behind it, or a protobuf message.

An answer is written as its request was. Pure, but for deadlines.
"""

import time
from collections.abc import Sequence

from mlserver.engine.rows import split
from mlserver.errors import InferenceError, MLServerError
from mlserver.kafka.records import (
    CONTENT_TYPE,
    JSON_LENGTH,
    Form,
    Record,
    addressed,
    head_of,
    identified,
    request_headers,
)
from mlserver.kafka.routes import Routes
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.binary import HEADER, binary_inputs, json_length, response_parts
from mlserver.wire.classes import classify
from mlserver.wire.json import JsonReader, RequestHead, member_bytes, output_requests, response_bytes
from mlserver.wire.protobuf import requests, responses
from mlserver.wire.words import NO_WISHES, Wishes, take_wishes

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
    wishes = take_wishes(request)
    if wishes is not NO_WISHES:
        record.wishes = wishes
        hurry(record)
    request.model, request.version, request.deadline = record.model, record.version, record.deadline
    request.id = identified(record, request.id)
    return request


def binary_request(record: Record, reader: JsonReader, routes: Routes) -> TensorRequest:
    """The request in a record whose value is JSON and, behind it, the buffers of tensors.

    Outputs are answered in the same way, unless the request asks for something else. Raises MLServerError.
    """
    value = addressed(record, routes)
    length = json_length(record.text(JSON_LENGTH) or "", len(value))
    if not length:
        raise InferenceError(f"{HEADER} is 0: expected a request in JSON before the tensors, over Kafka too")
    head = reader.head(value[:length])
    inputs = binary_inputs(head, memoryview(value)[length:], reader)
    unsaid = (head.parameters or {}).get("binary_data_output") is None
    wishes = take_wishes(head)
    record.wishes = Wishes() if wishes is NO_WISHES else wishes
    record.wishes.binary = record.wishes.binary or unsaid
    hurry(record)
    identified(record, head.id)
    return TensorRequest(
        record.model, record.version, inputs, record.request_id, head.parameters, output_requests(head),
        request_headers(record), record.deadline,
    )  # fmt: skip


def json_request(record: Record, reader: JsonReader, routes: Routes) -> RequestHead:
    """The request in a record of JSON, its data not yet decoded. Raises MLServerError."""
    head = head_of(record, reader, routes)
    wishes = take_wishes(head)
    if wishes is not NO_WISHES:
        record.wishes = wishes
        hurry(record)
    return head


def hurry(record: Record) -> None:
    """A record may give itself a time in its value too; what is counted begins when it is first decoded."""
    seconds = record.wishes.timeout_seconds if record.wishes is not None else None
    if seconds is not None and not record.failures:
        own = time.monotonic() + seconds
        record.deadline = own if record.deadline is None else min(own, record.deadline)


def encode(record: Record, response: TensorResponse) -> None:
    """Give `record` its body, or its error where the response has no such form."""
    response.id = response.id or record.request_id
    try:
        if record.wishes is not None and record.wishes.classes:
            classify(response, record.wishes.classes)
        if record.form is not Form.JSON:
            raw = record.form is Form.PROTOBUF_RAW
            record.body = responses.message_of(response, raw=raw).SerializeToString()
        elif record.wishes is None:
            record.body = response_bytes(response)
        else:
            record.body = _as_wished(record, record.wishes, response)
    except MLServerError as error:
        record.error = error
    else:
        record.model, record.version = response.model, response.version


def _as_wished(record: Record, wishes: Wishes, response: TensorResponse) -> bytes:
    """JSON, and behind it the outputs that are wanted as binary data; `record` then knows how long the JSON is."""
    json, buffers = response_parts(response, wishes)
    if buffers:
        record.json_bytes = len(json)
    return b"".join((json, *buffers))


def encode_members(records: Sequence[Record], response: TensorResponse) -> None:
    """Give the members of a stack their bodies; those in plain JSON at a third of the cost of each alone."""
    rows = [record.rows for record in records]
    if all(record.form is Form.JSON and record.wishes is None for record in records):
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
