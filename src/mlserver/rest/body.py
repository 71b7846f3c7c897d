"""Content-Encoding of request bodies: never more than the limit is held, before or after inflation."""

import zlib

from mlserver.errors import InferenceError, PayloadTooLarge, UnsupportedEncoding

_GZIP = 16 + zlib.MAX_WBITS
# zlib hands back what follows a member as a copy: in one piece, a body of millions of empty members would be copied
# millions of times. So it gets the body in steps, and as many members as block-wise compressors make of 64 MiB.
_STEP_BYTES = 64 * 1024
_MAX_MEMBERS = 1_024


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
    member = zlib.decompressobj(_GZIP)
    members = 1
    for start in range(0, len(body), _STEP_BYTES):
        piece = body[start : start + _STEP_BYTES]
        while piece:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
                members += 1
                if members > _MAX_MEMBERS:
                    raise InferenceError(f"the body has more than {_MAX_MEMBERS} gzip members")
            try:
                out += member.decompress(piece, limit - len(out) + 1)
            except zlib.error as error:
                raise InferenceError(f"the body is not valid gzip: {error}") from None
            if len(out) > limit:
                raise PayloadTooLarge(limit)
            piece = member.unused_data
    if not member.eof:
        raise InferenceError("the body is not valid gzip: it ends too early")
    return bytes(out)
