"""Keys that come twice. Decoders take the last, other programs the first: between a proxy that checks and a server
that answers, such a request means two things. So it is refused - at the cost, for nearly every request, of counting
quotation marks: where there are as many as the decoded head has strings and keys, none was dropped.
"""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from mlserver.errors import InferenceError

NO_DATA = msgspec.Raw(b"")
"""Of an input without data."""


_LARGE_BYTES = 8 * 1024


class _Output(Protocol):
    parameters: dict[str, Any] | None


class _Input(_Output, Protocol):
    data: msgspec.Raw


class _Head(Protocol):
    @property
    def inputs(self) -> Sequence[_Input]: ...

    @property
    def outputs(self) -> Sequence[_Output] | None: ...

    id: str | None
    parameters: dict[str, Any] | None


def check_keys(body: bytes, head: _Head) -> None:
    """Raises InferenceError where an object in `body`, from which `head` was decoded, has a key twice."""
    if not _has_more(body, _quotes(head)):
        return
    for value in head.inputs:
        text = bytes(value.data)
        if text:
            body = body.replace(text, b"0", 1)
    try:
        json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return  # not this module's to report: the decoder has taken it


def _has_more(body: bytes, quotes: int) -> bool:
    """Whether there are more quotation marks than this. In large bodies they are few and far between: they are searched
    for, which is twenty times as fast as counting.
    """
    if len(body) <= _LARGE_BYTES:
        return body.count(b'"') > quotes
    found = -1
    for _ in range(quotes + 1):
        found = body.find(b'"', found + 1)
        if found < 0:
            return False
    return True


def _quotes(head: _Head) -> int:
    """How many quotation marks the text of `head` has where data are numbers, and no string holds one."""
    marks = 2 if head.id is None else 6
    for value in head.inputs:
        # name, shape, datatype and perhaps data, and the values of two of them.
        marks += 10 if value.data == NO_DATA else 12
        if value.parameters is not None:
            marks += 2 + _strings(value.parameters)
    if head.outputs is not None:
        marks += 2
        for output in head.outputs:
            marks += 4 if output.parameters is None else 6 + _strings(output.parameters)
    return marks if head.parameters is None else marks + 2 + _strings(head.parameters)


def _strings(value: Any) -> int:
    """The quotation marks of a JSON value."""
    if isinstance(value, str):
        return 2
    if isinstance(value, dict):
        return sum(2 + _strings(item) for item in value.values())
    return sum(map(_strings, value)) if isinstance(value, list) else 0


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        raise InferenceError("invalid inference request: an object has the same key twice")
