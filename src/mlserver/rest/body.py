"""Content-Encoding, both ways: of a request never more than the limit is held, before or after inflation."""

import zlib
from functools import partial

from mlserver.errors import InferenceError, PayloadTooLarge, UnsupportedEncoding

KNOWN = "gzip, deflate, identity"

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS
# zlib hands back what follows a member as a copy: in one piece, a body of millions of empty members would be copied
# millions of times. So it gets the body in steps, and as many members as block-wise compressors make of 64 MiB.
_STEP_BYTES = 64 * 1024
_MAX_MEMBERS = 1_024
# Below this an answer fits a packet or two and compressing it gains nothing.
MIN_COMPRESSED_BYTES = 500
# Numbers in JSON come down to less than half at the lowest level; the highest takes ten times as long for a tenth less.
_LEVEL = 1


def decoded_body(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding, lower-cased; `limit` is in bytes, of the result. One coding inside another
    is refused: it gains nothing, and multiplies what a small body can cost.

    Raises PayloadTooLarge, UnsupportedEncoding, InferenceError (broken data).
    """
    if encoding in (b"gzip", b"x-gzip"):
        return inflated(body, limit)
    if encoding == b"deflate":
        return inflated(body, limit, gzip=False)
    if encoding in (b"", b"identity"):
        return body
    raise UnsupportedEncoding(encoding.decode("latin-1"), KNOWN)


def inflated(body: bytes, limit: int, *, gzip: bool = True) -> bytes:
    """Inflate gzip, one member or several, or else deflate, holding at most `limit` bytes of output.

    What HTTP calls deflate is zlib's format, but some send it without zlib's header: both are understood.
    """
    name = "gzip" if gzip else "deflate"
    begin = partial(zlib.decompressobj, _GZIP if gzip else _ZLIB if _has_zlib_header(body) else _RAW_DEFLATE)
    out = bytearray()
    member = begin()
    members = 1
    for start in range(0, len(body), _STEP_BYTES):
        piece = body[start : start + _STEP_BYTES]
        while piece:
            if member.eof:
                if not gzip:
                    raise InferenceError("the body is not valid deflate: something follows its end")
                member = begin()
                members += 1
                if members > _MAX_MEMBERS:
                    raise InferenceError(f"the body has more than {_MAX_MEMBERS} gzip members")
            try:
                out += member.decompress(piece, limit - len(out) + 1)
            except zlib.error as error:
                raise InferenceError(f"the body is not valid {name}: {error}") from None
            if len(out) > limit:
                raise PayloadTooLarge(limit)
            piece = member.unused_data
    if not member.eof:
        raise InferenceError(f"the body is not valid {name}: it ends too early")
    return bytes(out)


def accepted(accepts: bytes) -> bytes:
    """The coding to answer a caller in that sent this Accept-Encoding, lower-cased: gzip, deflate or empty for none."""
    weights: dict[bytes, float] = {}
    for part in accepts.split(b","):
        coding, _, parameter = part.partition(b";")
        weights[coding.strip()] = _weight(parameter)
    others = weights.get(b"*", 0.0)
    gzip = max(weights.get(b"gzip", others), weights.get(b"x-gzip", 0.0))
    deflate = weights.get(b"deflate", others)
    if max(gzip, deflate) <= 0:
        return b""
    return b"gzip" if gzip >= deflate else b"deflate"


def compressed(body: bytes, coding: bytes) -> bytes:
    """`body` in the coding gzip or deflate."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if coding == b"gzip" else _ZLIB)
    return packer.compress(body) + packer.flush()


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950, 2.2: method 8, and both bytes as one number divisible by 31."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _weight(parameter: bytes) -> float:
    name, _, value = parameter.partition(b"=")
    if name.strip() != b"q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
