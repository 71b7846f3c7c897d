"""What the codecs of BYTES tensors share: lists of values, each as text."""

from collections.abc import Iterable
from typing import Any

from mlserver.codecs.base import InputCodec
from mlserver.errors import CodecError
from mlserver.types import Datatype, RequestInput, ResponseOutput, TensorData
from mlserver.types.arrays import flat
from mlserver.types.base import construct
from mlserver.types.parameters import lazy_parameters


class TextCodec(InputCodec):
    """One BYTES tensor of shape `[N, 1]` as a list of N values, each written as text; None is null both ways.

    Subclasses say how one value is written and read.
    """

    @classmethod
    def write(cls, item: Any) -> str | bytes:
        """The text of one value. Raises CodecError where it has none."""
        raise NotImplementedError(f"{cls.__name__}.write")

    @classmethod
    def read(cls, text: str | bytes) -> Any:
        """The value of one text. Raises CodecError where it is none."""
        raise NotImplementedError(f"{cls.__name__}.read")

    @classmethod
    def encode_output(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> ResponseOutput:
        """The output for a list of values, as UTF-8 bytes or, with `use_bytes=False`, as `str`."""
        return construct(ResponseOutput, cls.fields(name, payload, use_bytes))

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> list[Any]:
        """The values of an output, flat."""
        return cls.values(response_output.data)

    @classmethod
    def encode_input(cls, name: str, payload: Any, use_bytes: bool = True, **kwargs: Any) -> RequestInput:
        """The input for a list of values, as UTF-8 bytes or, with `use_bytes=False`, as `str`."""
        return construct(RequestInput, cls.fields(name, payload, use_bytes))

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> list[Any]:
        """The values of an input, flat."""
        return cls.values(request_input.data)

    @classmethod
    def fields(cls, name: str, payload: Iterable[Any], use_bytes: bool = True) -> dict[str, Any]:
        """The fields of a tensor around a list of values."""
        texts = [None if item is None else cls.write(item) for item in payload]
        return bytes_fields(name, written(texts, use_bytes), cls.ContentType)

    @classmethod
    def values(cls, data: Any) -> list[Any]:
        """The values of a tensor's data, flat."""
        return [None if item is None else cls._value(item) for item in flat(TensorData.of(data).root)]

    @classmethod
    def _value(cls, item: Any) -> Any:
        if not isinstance(item, str | bytes):
            raise CodecError(f"expected text for content type {cls.ContentType!r}, found {type(item).__name__}")
        return cls.read(item)


def bytes_fields(name: str, items: list[Any], content_type: str | None) -> dict[str, Any]:
    """The fields of a BYTES tensor of shape `[N, 1]` around `items`."""
    return {
        "name": name,
        "shape": [len(items), 1],
        "datatype": Datatype.BYTES.value,
        "parameters": lazy_parameters({"content_type": content_type}) if content_type else None,
        "data": TensorData.over(items),
    }


def text_of(item: str | bytes) -> str:
    """`item` as text. Raises CodecError for bytes that are not UTF-8."""
    if isinstance(item, str):
        return item
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"expected UTF-8 text, found {item[:20]!r}: {error.reason} at byte {error.start}") from None


def bytes_of(item: str | bytes) -> bytes:
    """`item` as bytes. Raises CodecError for text with lone surrogates, which UTF-8 cannot encode."""
    found: bytes = utf8([item])[0]
    return found


def utf8(items: Iterable[Any]) -> list[Any]:
    """Texts as bytes, anything else as it is. Raises CodecError as `bytes_of` does."""
    try:
        return [item.encode() if isinstance(item, str) else item for item in items]
    except UnicodeEncodeError as error:
        raise CodecError(f"expected text, found {error.object[:20]!r}: {error.reason} at {error.start}") from None


def written(items: Iterable[Any], use_bytes: bool) -> list[Any]:
    """Texts as UTF-8 bytes or, without `use_bytes`, as `str`; None stays None."""
    return utf8(items) if use_bytes else [text_of(item) if isinstance(item, bytes) else item for item in items]
