"""Binary values in text: content type `base64`."""

import base64
import binascii
from typing import Any

from mlserver.codecs.lists import is_list_of
from mlserver.codecs.text import TextCodec, bytes_of
from mlserver.errors import CodecError


class Base64Codec(TextCodec):
    """One BYTES tensor of shape `[N, 1]` as a list of N values of `bytes`, in base64 (RFC 4648) on the way.

    What is no base64 is decoded to the bytes as they came: binary transports need no such wrapping.
    """

    ContentType = "base64"
    TypeHint = list[bytes]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is a list of bytes; an empty list is one."""
        return is_list_of(payload, bytes)

    @classmethod
    def write(cls, item: Any) -> bytes:
        """The base64 of bytes, or of text as UTF-8."""
        if not isinstance(item, str | bytes):
            raise CodecError(f"expected bytes, found {type(item).__name__}")
        return base64.b64encode(bytes_of(item))

    @classmethod
    def read(cls, text: str | bytes) -> bytes:
        """The bytes of a base64 text, or the text itself as bytes where it is none."""
        raw = bytes_of(text)
        try:
            return base64.b64decode(raw, validate=True)
        except binascii.Error:
            return raw
