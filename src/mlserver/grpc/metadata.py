"""Invocation metadata as headers, headers as trailing metadata, and what else a call says of its caller."""

import base64
import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from mlserver.errors import ModelError

Context: TypeAlias = Any
"""A `grpc.aio.ServicerContext` whose messages are bytes."""
Headers = Callable[[], Mapping[str, str]]
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

# Names and values as gRPC takes them; names that begin with "grpc-" and those below are for gRPC, HTTP/2 and
# CloudEvents to say. A model that sends its request's headers back would break the answer with these.
_NAME = re.compile(r"[0-9a-z_.-]+").fullmatch
_TEXT = re.compile(r"[\x20-\x7e]*").fullmatch
_OWN = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "keep-alive", "te",
    "trailer", "transfer-encoding", "upgrade", "user-agent",
    "ce-endpoint", "ce-id", "ce-inferenceservicename", "ce-modelid", "ce-namespace", "ce-requestid", "ce-source",
    "ce-specversion", "ce-type",
})  # fmt: skip


def headers_of(context: Context) -> Headers:
    """What makes the headers when somebody looks: what came several times is joined by commas, and binary values, whose
    names end with `-bin`, are base64.
    """

    def headers() -> Mapping[str, str]:
        found: dict[str, str] = {}
        for name, value in context.invocation_metadata() or ():
            text = base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
            found[name] = f"{found[name]}, {text}" if name in found else text
        return found

    return headers


def lowered(headers: Mapping[str, str]) -> Metadata:
    """Headers of ours as metadata."""
    return tuple((name.lower(), value) for name, value in headers.items())


def trailing_of(headers: Mapping[str, Any]) -> Metadata:
    """Headers that a model set, but for the door's own. Raises ModelError for what gRPC cannot carry."""
    pairs = ((str(name).lower(), value) for name, value in headers.items())
    return tuple((name, _sendable(name, value)) for name, value in pairs if not _is_own(name))


def deadline_of(context: Context) -> float | None:
    """When the caller stops to wait, in seconds of the monotonic clock; None where it waits for ever."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


def sooner(deadline: float | None, seconds: float | None) -> float | None:
    """`deadline`, or `seconds` from now where that comes before it."""
    if seconds is None:
        return deadline
    own = time.monotonic() + seconds
    return own if deadline is None else min(own, deadline)


def peer_of(context: Context) -> str | None:
    """The caller's IP address; None where it has none."""
    kind, _, address = unquote(context.peer() or "").partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    host = address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith(("grpc-", ":"))


def _sendable(name: str, value: Any) -> str | bytes:
    text = value if isinstance(value, bytes) else str(value)
    if not _NAME(name):
        raise ModelError(f"the model set a header that cannot be sent: {name[:64]!r}")
    if name.endswith("-bin"):
        return _binary(name, text)
    if isinstance(text, bytes) or not _TEXT(text):
        raise ModelError(f"the model set a header that cannot be sent: {name[:64]!r}: {text[:64]!r}")
    return text


def _binary(name: str, value: str | bytes) -> bytes:
    """The bytes of a binary header, which is base64 where it is text, as it came."""
    try:
        return value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    except ValueError:
        raise ModelError(f"the model set a header that cannot be sent: {name[:64]!r} is not base64") from None
