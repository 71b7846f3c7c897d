"""Large numeric data, cut out of a body before its head is decoded.

A decoder that leaves data as text still walks over every byte of them to find their end: 400 us of 1000x64. Here the
end is searched for, which takes a tenth. Only what is certainly one JSON array by its brackets is cut; that numbers
stand between them is seen when they are decoded, as ever.
"""

import re

_LEAST_BYTES = 4096
"""Where the search begins to pay."""

MARK = b"-0e-40931"
"""What stands for data that were cut: a JSON number that nobody writes."""

_DATA = b'"data"'
_OPENING = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?=\[)").match
_BETWEEN_KEYS = b" \t\r\n,"


def cut(body: bytes, least: int = _LEAST_BYTES) -> tuple[bytes, list[bytes]] | None:
    """`body` with `MARK` where data stood, and the texts of the data in their order; None where nothing is cut.

    An array is cut where it has at least `least` bytes, is a row or rows of anything but arrays, strings and objects,
    and is the value of what looks like a key `data`. Whether it is one, only a decoder knows: there is a `MARK` in the
    data of an input then.
    """
    if len(body) < least or MARK in body:
        return None
    kept: list[bytes] = []
    texts: list[bytes] = []
    done = at = 0
    while (at := body.find(_DATA, at)) >= 0:
        at += len(_DATA)
        opening = _OPENING(body, at)
        if opening is None:
            continue
        start, end = opening.end(), _end(body, opening.end())
        if end - start >= max(least, len(b"[]")) and _is_array(text := body[start:end]):
            kept += body[done:start], MARK
            texts.append(text)
            done = at = end
    if not texts:
        return None
    kept.append(body[done:])
    return b"".join(kept), texts


def _end(body: bytes, start: int) -> int:
    """Where data without strings and objects end that begin at `start`; `start` where they have some."""
    stop = body.find(b'"', start)
    stop = len(body) if stop < 0 else stop
    brace = body.find(b"}", start, stop)
    stop = stop if brace < 0 else brace
    end = body.rfind(b"]", start, stop) + 1
    return start if body[end:stop].strip(_BETWEEN_KEYS) else end


def _is_array(text: bytes) -> bool:
    """Whether the brackets of `text` are those of one array of no arrays, or of rows that have no other arrays."""
    if text.find(b"[", 1) < 0:
        return text.find(b"]") == len(text) - 1
    if not (text.startswith(b"[[") and text.endswith(b"]]")):
        return False
    # With the two brackets at either end these are all there are, so each belongs to where one row meets the next.
    meeting = b"],[" if text.startswith(b"],[", text.find(b"]")) else b"], ["
    meetings = text.count(meeting)
    return text.count(b"[") == meetings + 2 == text.count(b"]")
