"""From a request of HTTP to what the data plane is asked, and from its response to a body."""

import time
from typing import NamedTuple

from mlserver.dataplane import DataPlane
from mlserver.errors import InferenceError
from mlserver.rest.requests import Request
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.wire.binary import binary_inputs, json_length, raw_request, response_parts
from mlserver.wire.classes import classify
from mlserver.wire.json import JsonReader, RequestHead, output_requests, response_bytes
from mlserver.wire.words import NO_WISHES, Wishes, no_bytes_follow, take_wishes

# More digits than any time has that somebody waits.
_MAX_DIGITS = 15


class Asked(NamedTuple):
    """A request for the data plane, and what it asks of the door."""

    request: TensorRequest
    wishes: Wishes


def read(
    request: Request, body: bytes, target: tuple[str, str | None], reader: JsonReader, dataplane: DataPlane
) -> Asked:
    """What `request` asks of the model `target`; `body` is its own, unpacked. Raises MLServerError."""
    if not request.json_length:
        asked = _of_json(request, body, target, reader)
    else:
        asked = _of_binary(request, body, target, reader, dataplane)
    bound(asked, request)
    return asked


def bound(asked: Asked, request: Request) -> None:
    """Give what is asked the deadline that its words and the header of `request` say. Raises InferenceError."""
    seconds = asked.wishes.timeout_seconds
    if request.timeout_ms:
        own = _seconds(request.timeout_ms)
        seconds = own if seconds is None else min(seconds, own)
    if seconds is not None:
        asked.request.deadline = time.monotonic() + seconds


def written(response: TensorResponse, asked: Asked, dataplane: DataPlane) -> tuple[bytes, int | None]:
    """The body of an answer, and how many bytes of it are JSON where binary data follow. Raises MLServerError."""
    wishes = asked.wishes
    if wishes is NO_WISHES:
        return response_bytes(response), None
    if wishes.classes:
        request = asked.request
        classify(response, wishes.classes, dataplane.model_metadata(request.model, request.version).outputs or ())
    if not wishes.any_binary:
        return response_bytes(response), None
    json, buffers = response_parts(response, wishes)
    if not buffers:
        return json, None
    # One copy: a model may write its next answer into the array of this one.
    return b"".join((json, *buffers)), len(json)


def _of_json(request: Request, body: bytes, target: tuple[str, str | None], reader: JsonReader) -> Asked:
    head = reader.head(body)
    if no_bytes_follow(head):  # KServe's client leaves the header out then
        return _beside(head, memoryview(b""), request, target, reader)
    wishes = take_wishes(head)
    return Asked(reader.of_head(head, *target, headers=request.text_headers), wishes)


def _of_binary(
    request: Request, body: bytes, target: tuple[str, str | None], reader: JsonReader, dataplane: DataPlane
) -> Asked:
    length = json_length(request.json_length.decode("latin-1"), len(body))
    if length == 0:
        wishes = Wishes()
        wishes.binary = True
        asked = raw_request(body, dataplane.model_metadata(*target).inputs or (), *target)
        asked.headers = request.text_headers
        return Asked(asked, wishes)
    return _beside(reader.head(body[:length]), memoryview(body)[length:], request, target, reader)


def _beside(
    head: RequestHead, rest: memoryview, request: Request, target: tuple[str, str | None], reader: JsonReader
) -> Asked:
    inputs = binary_inputs(head, rest, reader)
    wishes = take_wishes(head)
    asked = TensorRequest(*target, inputs, head.id, head.parameters, output_requests(head), request.text_headers)
    return Asked(asked, wishes)


def _seconds(milliseconds: bytes) -> float:
    """The value of the header X-Request-Timeout-Ms in seconds."""
    if milliseconds.isdigit() and len(milliseconds) <= _MAX_DIGITS and int(milliseconds) > 0:
        return int(milliseconds) / 1000
    shown = milliseconds[:64].decode("latin-1")
    raise InferenceError(f"expected a whole number of milliseconds above 0 in X-Request-Timeout-Ms, got {shown!r}")
