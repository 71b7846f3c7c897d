"""What a codec is, and the registry in which content types, type hints and payloads find theirs."""

import logging
import warnings
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

logger = logging.getLogger("mlserver")


class InputCodec:
    """Between one tensor and one Python value.

    Subclasses set `ContentType`, the word that selects them in a tensor's parameters, and `TypeHint`, the Python type.
    All methods are class methods, so that the class itself is what is registered and passed around.
    """

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is of the Python type this codec encodes."""
        return False

    @classmethod
    def encode_output(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """The output tensor `name` for `payload`. Raises CodecError where it cannot be one."""
        raise NotImplementedError(f"{cls.__name__}.encode_output")

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """The Python value of an output tensor. Raises CodecError where the data do not fit."""
        raise NotImplementedError(f"{cls.__name__}.decode_output")

    @classmethod
    def encode_input(cls, name: str, payload: Any, **kwargs: Any) -> RequestInput:
        """The input tensor `name` for `payload`. Raises CodecError where it cannot be one."""
        raise NotImplementedError(f"{cls.__name__}.encode_input")

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """The Python value of an input tensor. Raises CodecError where the data do not fit."""
        raise NotImplementedError(f"{cls.__name__}.decode_input")

    @classmethod
    def encode(cls, name: str, payload: Any, **kwargs: Any) -> ResponseOutput:
        """Deprecated: `encode_output`."""
        _deprecated(cls, "encode", "encode_output")
        return cls.encode_output(name, payload, **kwargs)

    @classmethod
    def decode(cls, request_input: RequestInput) -> Any:
        """Deprecated: `decode_input`."""
        _deprecated(cls, "decode", "decode_input")
        return cls.decode_input(request_input)


class RequestCodec:
    """Between a whole request or response and one Python value; otherwise like `InputCodec`."""

    ContentType: ClassVar[str] = ""
    TypeHint: ClassVar[Any] = None

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether `payload` is of the Python type this codec encodes."""
        return False

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """The response of a model for `payload`. Raises CodecError where it cannot be one."""
        raise NotImplementedError(f"{cls.__name__}.encode_response")

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The Python value of a response. Raises CodecError where it has another form."""
        raise NotImplementedError(f"{cls.__name__}.decode_response")

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """The request for `payload`. Raises CodecError where it cannot be one."""
        raise NotImplementedError(f"{cls.__name__}.encode_request")

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The Python value of a request. Raises CodecError where it has another form."""
        raise NotImplementedError(f"{cls.__name__}.decode_request")

    @classmethod
    def encode(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """Deprecated: `encode_response`."""
        _deprecated(cls, "encode", "encode_response")
        return cls.encode_response(model_name, payload, model_version, **kwargs)

    @classmethod
    def decode(cls, request: InferenceRequest) -> Any:
        """Deprecated: `decode_request`."""
        _deprecated(cls, "decode", "decode_request")
        return cls.decode_request(request)


InputCodecLike: TypeAlias = type[InputCodec] | InputCodec
RequestCodecLike: TypeAlias = type[RequestCodec] | RequestCodec

_C = TypeVar("_C", InputCodecLike, RequestCodecLike)
_I = TypeVar("_I", bound=InputCodecLike)
_R = TypeVar("_R", bound=RequestCodecLike)


class _Registry(Generic[_C]):
    """Codecs by content type, in the order of registration."""

    def __init__(self) -> None:
        self._codecs: dict[str, _C] = {}

    def register(self, codec: _C) -> None:
        """The last codec registered for a content type is the one in use."""
        self._codecs[codec.ContentType] = codec

    def find(self, content_type: str) -> _C | None:
        return self._codecs.get(content_type)

    def find_by_type_hint(self, type_hint: Any) -> _C | None:
        wanted = _plain(type_hint)
        return self._first(lambda codec: _plain(codec.TypeHint) == wanted, type_hint)

    def find_by_payload(self, payload: Any) -> _C | None:
        # An empty list is one of anything: that several codecs take it means nothing.
        what = None if isinstance(payload, list) and not payload else type(payload)
        return self._first(lambda codec: codec.can_encode(payload), what)

    def _first(self, fits: Callable[[_C], bool], what: Any) -> _C | None:
        found = [codec for codec in self._codecs.values() if fits(codec)]
        if len(found) > 1 and what is not None:
            logger.warning("%s fits the codecs %s; taking %r", what, _words(found), found[0].ContentType)
        return found[0] if found else None


_inputs: _Registry[InputCodecLike] = _Registry()
_requests: _Registry[RequestCodecLike] = _Registry()


def register_input_codec(codec: _I) -> _I:
    """Decorator: make an input codec known by its content type, type hint and payloads."""
    _inputs.register(codec)
    return codec


def register_request_codec(codec: _R) -> _R:
    """Decorator: make a request codec known by its content type, type hint and payloads."""
    _requests.register(codec)
    return codec


def find_input_codec(content_type: str) -> InputCodecLike | None:
    """The input codec of a content type; None where it is unknown."""
    return _inputs.find(content_type)


def find_input_codec_by_type_hint(type_hint: Any) -> InputCodecLike | None:
    """The first input codec with this type hint; `list[str]` and `typing.List[str]` are the same."""
    return _inputs.find_by_type_hint(type_hint)


def find_input_codec_by_payload(payload: Any) -> InputCodecLike | None:
    """The first input codec that can encode `payload`; several are worth a warning in the log."""
    return _inputs.find_by_payload(payload)


def find_request_codec(content_type: str) -> RequestCodecLike | None:
    """The request codec of a content type; None where it is unknown."""
    return _requests.find(content_type)


def find_request_codec_by_type_hint(type_hint: Any) -> RequestCodecLike | None:
    """The first request codec with this type hint; `list[str]` and `typing.List[str]` are the same."""
    return _requests.find_by_type_hint(type_hint)


def find_request_codec_by_payload(payload: Any) -> RequestCodecLike | None:
    """The first request codec that can encode `payload`; several are worth a warning in the log."""
    return _requests.find_by_payload(payload)


def _plain(hint: Any) -> Any:
    """A hint in a form in which old and new spellings are equal: `typing.List[str]`, `Union[str, int]`, `int | str`."""
    if get_origin(hint) in (Union, UnionType):
        return Union, frozenset(map(_plain, get_args(hint)))
    return (get_origin(hint), tuple(map(_plain, get_args(hint)))) if get_args(hint) else hint


def _words(codecs: Iterable[Any]) -> str:
    return ", ".join(repr(codec.ContentType) for codec in codecs)


def _deprecated(cls: type[Any], old: str, new: str) -> None:
    warnings.warn(f"DEPRECATED: {cls.__name__}.{old}; call {new} instead", DeprecationWarning, stacklevel=3)
