"""Lists of strings: content type `str`."""

from collections.abc import Iterable
from typing import Any

from mlserver.codecs.base import InputCodec
from mlserver.codecs.lists import is_list_of
from mlserver.codecs.text import bytes_fields, text_of, utf8
from mlserver.codecs.utils import SingleInputRequestCodec
from mlserver.types import RequestInput, ResponseOutput, TensorData
from mlserver.types.arrays import flat
from mlserver.types.base import construct


class StringCodec(InputCodec):
    """One BYTES tensor of shape `[N, 1]` as a list of N strings."""

    ContentType = "str"
    TypeHint = list[str]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is a list of strings; an empty list is one."""
        return is_list_of(payload, str)

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """The output for a list of strings, as UTF-8 bytes or, with `use_bytes=False`, as they are."""
        return construct(ResponseOutput, cls._fields(name, payload, use_bytes))

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[str | None]:
        """The strings of an output; see `decode_input`."""
        return _texts(response_output.data)

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """The input for a list of strings, as UTF-8 bytes or, with `use_bytes=False`, as they are."""
        return construct(RequestInput, cls._fields(name, payload, use_bytes))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[str | None]:
        """The strings of an input, flat: bytes are UTF-8, None stays None, other types are "".

        Raises CodecError for bytes that are not UTF-8.
        """
        return _texts(request_input.data)

    @classmethod
    def _fields(cls, name: str, payload: Iterable[Any], use_bytes: bool) -> dict[str, Any]:
        return bytes_fields(name, utf8(payload) if use_bytes else list(payload), cls.ContentType)


def _texts(data: Any) -> list[str | None]:
    return [_text(item) for item in flat(TensorData.of(data).root)]


def _text(item: Any) -> str | None:
    if isinstance(item, str) or item is None:
        return item
    return text_of(item) if isinstance(item, bytes) else ""


class StringRequestCodec(SingleInputRequestCodec):
    """A request or response of exactly one tensor as a list of strings."""

    InputCodec = StringCodec
    ContentType = StringCodec.ContentType
    TypeHint = StringCodec.TypeHint
