"""Lines in and lines out: what a JSON-lines file holds, and what is written for each of its lines."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import orjson

Message: TypeAlias = dict[str, Any]
"""A request or a response of the protocol as plain JSON values."""


class Line(NamedTuple):
    """A request and the place of its line in the file, counted from 0. It has an `id`, given or made."""

    place: int
    request: Message

    @property
    def id(self) -> str:
        """The request's id as text."""
        return str(self.request["id"])


class BadLine(NamedTuple):
    """A line that holds no request, and why not."""

    place: int
    message: str


def read_lines(texts: Iterable[bytes]) -> Iterator[Line | BadLine]:
    """The lines that are not blank, in order."""
    for place, text in enumerate(texts):
        if text.strip():
            yield parse(place, text)


def parse(place: int, text: bytes) -> Line | BadLine:
    """The request on a line. Whether its tensors are right is the server's to say."""
    try:
        request = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return BadLine(place, f"not valid JSON: {error}")
    if not isinstance(request, dict):
        return BadLine(place, f"expected a JSON object, got {text[:40].decode(errors='replace').strip()}")
    if request.get("id") in (None, ""):
        request["id"] = str(uuid.uuid4())
    return Line(place, request)


def answer_line(line: Line, response: Message, inference_id: str) -> bytes:
    """What is written for a line that was answered: the response, with its place in `parameters`."""
    parameters = {**(response.get("parameters") or {}), **_position(line.place, inference_id)}
    return _dumps({**response, "id": line.request["id"], "parameters": parameters})


def failure_line(line: Line, message: str, inference_id: str) -> bytes:
    """What is written for a line that the server did not answer."""
    error = {"status": "inference error", "msg": message}
    return _dumps({"id": line.request["id"], "parameters": _position(line.place, inference_id), "error": error})


def bad_line(line: BadLine) -> bytes:
    """What is written for a line that holds no request."""
    error = {"status": "preprocessing error", "msg": line.message}
    return _dumps({"parameters": {"batch_index": line.place}, "error": error})


def _position(place: int, inference_id: str) -> Message:
    return {"batch_index": place, "inference_id": inference_id}


def _dumps(message: Message) -> bytes:
    return orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
