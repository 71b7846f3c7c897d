"""Several lines as one request, and its answer taken apart again.

Only lines that agree in everything but their rows go together. What cannot be proven to belong together goes alone,
where the server says what is wrong with it, and to nobody else.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any, NamedTuple

import orjson

from mlserver.batch_processing.lines import Line, Message

_SORTED = orjson.OPT_SORT_KEYS


class Rows(NamedTuple):
    """A line that may be stacked: what has to agree, its number of rows, and the flat data of each input."""

    key: bytes
    number: int
    data: list[list[Any]]


def groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines in groups that can be one request each, in the order of their first lines."""
    found: dict[bytes, list[Line]] = {}
    for line in lines:
        rows = rows_of(line.request) if len(lines) > 1 else None
        key = b"alone %d" % line.place if rows is None else rows.key
        found.setdefault(key, []).append(line)
    yield from found.values()


def rows_of(request: Message) -> Rows | None:
    """How `request` can be stacked; None where it cannot, or where its data do not fit its shapes."""
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs or not isinstance(request.get("id"), str):
        return None
    data = [_flat_input(tensor) for tensor in inputs]
    if any(flat is None for flat in data):
        return None
    (count, *others) = {tensor["shape"][0] for tensor in inputs}
    rest = {name: value for name, value in request.items() if name not in ("id", "inputs")}
    key = orjson.dumps([rest, [_alike(tensor) for tensor in inputs]], option=_SORTED)
    return None if others else Rows(key, count, [flat for flat in data if flat is not None])


def merged(lines: Sequence[Line], id_: str) -> tuple[Message, list[int]]:
    """One request for `lines` of one group, and how many rows each of them has in it."""
    stacked = [rows for line in lines if (rows := rows_of(line.request)) is not None]
    counts = [rows.number for rows in stacked]
    request = {**lines[0].request, "id": id_, "inputs": []}
    for number, tensor in enumerate(lines[0].request["inputs"]):
        data = [element for rows in stacked for element in rows.data[number]]
        request["inputs"].append({**tensor, "shape": [sum(counts), *tensor["shape"][1:]], "data": data})
    return request, counts


def split(response: Message, counts: Sequence[int]) -> list[Message] | None:
    """The part of `response` that answers each line; None where its outputs do not have a row for every row."""
    outputs = response.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        return None
    data = [_flat_input(tensor) for tensor in outputs]
    if any(flat is None or tensor["shape"][0] != sum(counts) for flat, tensor in zip(data, outputs, strict=True)):
        return None
    bounds = pairwise(accumulate(counts, initial=0))
    return [{**response, "outputs": _part(outputs, data, start, stop)} for start, stop in bounds]


def _part(outputs: list[Message], data: Sequence[list[Any] | None], start: int, stop: int) -> list[Message]:
    parts = []
    for tensor, flat in zip(outputs, data, strict=True):
        width = prod(tensor["shape"][1:])
        elements = (flat or [])[start * width : stop * width]
        parts.append({**tensor, "shape": [stop - start, *tensor["shape"][1:]], "data": elements})
    return parts


def _alike(tensor: Message) -> Message:
    """What has to be equal in tensors that are stacked: all but the rows."""
    return {name: value for name, value in tensor.items() if name not in ("shape", "data")} | {
        "shape": tensor["shape"][1:]
    }


def _flat_input(tensor: Any) -> list[Any] | None:
    """The elements of a tensor; None where it has no rows, or not as many elements as its shape says."""
    if not isinstance(tensor, dict) or not is_shape(tensor.get("shape")) or not tensor["shape"]:
        return None
    flat = flattened(tensor.get("data"))
    return flat if len(flat) == prod(tensor["shape"]) else None


def is_shape(value: Any) -> bool:
    """Whether `value` is a list of lengths."""
    return isinstance(value, list) and all(type(length) is int and length >= 0 for length in value)


def flattened(data: Any) -> list[Any]:
    """The elements of nested lists in row-major order; anything else is an element itself."""
    if not isinstance(data, list):
        return [data]
    while any(isinstance(item, list) for item in data):
        data = [element for item in data for element in (item if isinstance(item, list) else [item])]
    return list(data)
