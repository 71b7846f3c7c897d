"""Moments in time: content type `datetime`."""

from datetime import datetime
from typing import Any

from mlserver.codecs.lists import is_list_of
from mlserver.codecs.text import TextCodec, text_of
from mlserver.errors import CodecError


class DatetimeCodec(TextCodec):
    """One BYTES tensor of shape `[N, 1]` as a list of N `datetime`, in ISO 8601 on the way, to the microsecond."""

    ContentType = "datetime"
    TypeHint = list[str | datetime]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is a list of `datetime`; an empty list is one."""
        return is_list_of(payload, datetime)

    @classmethod
    def write(cls, item: Any) -> str | bytes:
        """A moment in ISO 8601; text as it is."""
        if isinstance(item, str | bytes):
            return item
        if not isinstance(item, datetime):
            raise CodecError(f"expected a datetime, found {type(item).__name__}")
        return item.isoformat()

    @classmethod
    def read(cls, text: str | bytes) -> datetime:
        """The moment of an ISO 8601 text; with a time zone exactly where the text has one."""
        try:
            return datetime.fromisoformat(text_of(text))
        except ValueError:
            raise CodecError(f"expected a date and time in ISO 8601, found {text[:40]!r}") from None
