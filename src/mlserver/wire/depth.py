"""How deep JSON is nested. Decoders stop by themselves at the interpreter's or the parser's own limits; this is the
limit that was configured.
"""

import re
from typing import Any

from mlserver.errors import InferenceError

MAX_DEPTH = 64
"""Where nothing else is configured: deep enough for any tensor in use, far below every decoder's own limit."""

# What the second byte is where there may be more than one array around the first element.
_MAY_BE_DEEPER = frozenset({b"[", b" ", b"\t", b"\r", b"\n"})
_OPENING = re.compile(rb"[\s\[]*").match


def depth_of(text: bytes) -> int:
    """How deep the arrays of a tensor's data are nested, at their first element.

    Data in rows are nowhere deeper. Ragged data may be; numbers have no recursion to go wrong with then, and strings
    are looked at one by one.
    """
    if text[1:2] not in _MAY_BE_DEEPER:
        return 1
    opening = _OPENING(text)
    return opening[0].count(b"[") if opening is not None else 0


def check_nesting(value: Any, limit: int, at: str) -> None:
    """Raises InferenceError where the decoded JSON `value` is nested more than `limit` deep; `at` says where it is."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for container in level for item in _items(container)]
        if not level:
            return
    raise InferenceError(f"nested too deeply - at {at}")


def _items(value: Any) -> Any:
    """What is in a container; nothing where `value` is none."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
