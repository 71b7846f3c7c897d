"""Reading a request's body: never more than the limit is held, before or after inflation."""

import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from mlserver.errors import InferenceError, PayloadTooLarge, UnsupportedEncoding

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
RawHeaders = Iterable[tuple[bytes, bytes]]

_GZIP = 16 + zlib.MAX_WBITS


class ClientGone(Exception):
    """The caller closed the connection before its request was complete."""


async def read_body(headers: RawHeaders, receive: Receive, limit: int) -> bytes:
    """The whole body, inflated where `Content-Encoding` says so; `limit` is in bytes and holds for both forms.

    Raises PayloadTooLarge, UnsupportedEncoding, InferenceError (broken gzip) or ClientGone.
    """
    encoding = b""
    for name, value in headers:
        if name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == b"content-length" and value.isdigit() and int(value) > limit:
            raise PayloadTooLarge(limit)
    if encoding not in (b"", b"identity", b"gzip"):
        raise UnsupportedEncoding(encoding.decode("latin-1"))
    body = await _received(receive, limit)
    return inflated(body, limit) if encoding == b"gzip" else body


async def _received(receive: Receive, limit: int) -> bytes:
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        whole: bytes = message.get("body", b"")
        if len(whole) > limit:
            raise PayloadTooLarge(limit)
        return whole
    body = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise PayloadTooLarge(limit)
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def inflated(body: bytes, limit: int) -> bytes:
    """Inflate gzip, one member or several, holding at most `limit` bytes of output."""
    out = bytearray()
    while body:
        member = zlib.decompressobj(_GZIP)
        try:
            out += member.decompress(body, limit - len(out) + 1)
        except zlib.error as error:
            raise InferenceError(f"the body is not valid gzip: {error}") from None
        if len(out) > limit:
            raise PayloadTooLarge(limit)
        if not member.eof:
            raise InferenceError("the body is not valid gzip: it ends too early")
        body = member.unused_data
    return bytes(out)
