"""Content-Encoding of request bodies: never more than the limit is held, before or after inflation."""

import zlib

from mlserver.errors import InferenceError, PayloadTooLarge, UnsupportedEncoding

_GZIP = 16 + zlib.MAX_WBITS


def decoded_body(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding; `limit` is in bytes, of the result.

    Raises PayloadTooLarge, UnsupportedEncoding, InferenceError (broken gzip).
    """
    if encoding == b"gzip":
        return inflated(body, limit)
    if encoding in (b"", b"identity"):
        return body
    raise UnsupportedEncoding(encoding.decode("latin-1"))


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
