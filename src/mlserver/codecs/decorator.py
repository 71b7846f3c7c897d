"""`decode_args`: a model's `predict` with an argument per input, as Python values."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from mlserver.codecs.base import (
    InputCodecLike,
    RequestCodecLike,
    find_input_codec_by_payload,
    find_input_codec_by_type_hint,
    find_request_codec_by_payload,
    find_request_codec_by_type_hint,
)
from mlserver.codecs.errors import CodecNotFound, InputsNotFound, OutputNotFound
from mlserver.errors import CodecError
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput
from mlserver.types.base import construct


def decode_args(predict: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator for `predict`, sync or async, whose arguments are inputs by name and whose annotations choose codecs.

    An argument of a request codec's type (a DataFrame) takes all inputs that no other argument names; one annotated
    with `InferenceRequest` is the request. Optional arguments, and those with a default, may be absent. What `predict`
    returns - one value, or a tuple of them - becomes the outputs `output-0`, `output-1` ..., a data frame one per
    column. Content types in the request play no part.

    Raises CodecNotFound where it stands, for an annotation that no codec has; when called, InputsNotFound for a
    request with other inputs, CodecError for data that do not fit.
    """
    signature = _Signature(predict)
    if inspect.iscoroutinefunction(predict):

        @functools.wraps(predict)
        async def decoded_async(self: Any, payload: InferenceRequest) -> InferenceResponse:
            return signature.response(self, await predict(self, **signature.arguments(payload)))

        return decoded_async

    @functools.wraps(predict)
    def decoded(self: Any, payload: InferenceRequest) -> InferenceResponse:
        return signature.response(self, predict(self, **signature.arguments(payload)))

    return decoded


@dataclass(frozen=True, slots=True)
class _Codec:
    """The codec of one hint: for a tensor or for all that are left. Neither: the request or response itself."""

    of_input: InputCodecLike | None = None
    of_request: RequestCodecLike | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Argument:
    """One argument of `predict`. `absent` says what stands for an input that is not there."""

    name: str
    codec: _Codec
    required: bool
    absent: dict[str, Any]


class _Signature:
    """What the annotations of a function say, worked out once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = _hints_of(function)
        parameters = list(inspect.signature(function).parameters.values())[1:]
        self._arguments = list(_arguments(parameters, hints))
        self._returned, self._repeated = _returned(hints.get("return", Any))
        self._names = {argument.name for argument in self._arguments if argument.codec.of_input is not None}
        self._takes_rest = any(argument.codec.of_request is not None for argument in self._arguments)

    def arguments(self, request: InferenceRequest) -> dict[str, Any]:
        """The keyword arguments for `request`."""
        inputs = {tensor.name: tensor for tensor in request.inputs}
        rest = [tensor for tensor in request.inputs if tensor.name not in self._names]
        missing = [one.name for one in self._arguments if one.required and not self._has(one, inputs, rest)]
        unknown = [] if self._takes_rest else [tensor.name for tensor in rest]
        if missing or unknown:
            raise InputsNotFound([one.name for one in self._arguments], missing, unknown)
        values: dict[str, Any] = {}
        for one in self._arguments:
            values |= self._value(one, request, inputs, rest) if self._has(one, inputs, rest) else one.absent
        return values

    def _has(self, argument: _Argument, inputs: dict[str, RequestInput], rest: list[RequestInput]) -> bool:
        if argument.codec.of_input is not None:
            return argument.name in inputs
        return argument.codec.of_request is None or bool(rest)

    def _value(
        self, argument: _Argument, request: InferenceRequest, inputs: dict[str, RequestInput], rest: list[RequestInput]
    ) -> dict[str, Any]:
        codec = argument.codec
        if codec.of_input is not None:
            return {argument.name: _decoded(codec.of_input, inputs[argument.name])}
        if codec.of_request is None:
            return {argument.name: request}
        pool = {"id": request.id, "parameters": None, "inputs": rest, "outputs": None}
        return {argument.name: codec.of_request.decode_request(construct(InferenceRequest, pool))}

    def response(self, model: Any, result: Any) -> InferenceResponse:
        """The response of `model` for what its function returned."""
        if isinstance(result, InferenceResponse):
            return result
        values = result if isinstance(result, tuple) else (result,)
        codecs = self._returned * len(values) if self._repeated else self._returned
        if len(codecs) != len(values):
            raise OutputNotFound(len(codecs), len(values))
        outputs: list[ResponseOutput] = []
        for number, (value, codec) in enumerate(zip(values, codecs, strict=True)):
            outputs += _encoded(model, f"output-{number}", value, codec)
        fields = {"model_name": model.name, "model_version": model.version, "id": None, "parameters": None}
        return construct(InferenceResponse, fields | {"outputs": outputs})


def _hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise CodecError(f"the annotations of {function.__qualname__} cannot be resolved: {error}") from error


def _arguments(parameters: list[inspect.Parameter], hints: dict[str, Any]) -> Iterator[_Argument]:
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        has_default = parameter.default is not parameter.empty
        if parameter.name not in hints:
            if not has_default:
                raise CodecError(f"argument {parameter.name!r} has neither an annotation nor a default")
            continue
        hint, optional = _unwrapped(hints[parameter.name])
        absent = {parameter.name: None} if optional and not has_default else {}
        required = not (optional or has_default)
        yield _Argument(parameter.name, _codec_of(hint, InferenceRequest, parameter.name), required, absent)


def _returned(hint: Any) -> tuple[list[_Codec | None], bool]:
    """The codec of each value returned, None for any; and whether there may be any number of the only one."""
    bare, _ = _unwrapped(hint)
    arguments = get_args(bare)
    if bare in (Any, tuple):
        return [None], True
    if get_origin(bare) is not tuple:
        return [_returned_codec(hint)], False
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return [_returned_codec(arguments[0])], True
    return [_returned_codec(argument) for argument in arguments], False


def _returned_codec(hint: Any) -> _Codec | None:
    bare, optional = _unwrapped(hint)
    return None if bare is Any else replace(_codec_of(bare, InferenceResponse, "return"), optional=optional)


def _codec_of(hint: Any, whole: type[Any], name: str) -> _Codec:
    """The codec that has the type hint `hint`; input codecs come first. Raises CodecNotFound."""
    if hint is whole:
        return _Codec()
    # `NDArray[np.float32]` is an array before all: without its arguments it may be known.
    for known in filter(None, (hint, get_origin(hint))):
        of_input, of_request = find_input_codec_by_type_hint(known), None
        if of_input is None:
            of_request = find_request_codec_by_type_hint(known)
        if of_input is not None or of_request is not None:
            return _Codec(of_input, of_request)
    raise CodecNotFound(name=name, type_hint=hint)


def _unwrapped(hint: Any) -> tuple[Any, bool]:
    """A hint without aliases, `Annotated` and None, and whether None was in it."""
    optional = False
    while True:
        origin = get_origin(hint)
        if _is_alias(hint):
            hint = hint.__value__
        elif _is_alias(origin):
            hint = origin.__value__[get_args(hint)]
        elif origin is Annotated:
            hint = get_args(hint)[0]
        elif origin in (Union, UnionType) and NoneType in get_args(hint):
            rest = tuple(argument for argument in get_args(hint) if argument is not NoneType)
            hint, optional = Union[rest], True  # noqa: UP007 - there are as many as there are
        else:
            return hint, optional


def _is_alias(hint: Any) -> bool:
    """Whether `hint` is what `type X = ...` makes, as some libraries' own hints are; Python 3.11 has only a copy."""
    return type(hint).__name__ == "TypeAliasType"


def _decoded(codec: InputCodecLike, tensor: RequestInput) -> Any:
    try:
        return codec.decode_input(tensor)
    except CodecError as error:
        raise CodecError(f"input {tensor.name!r}: {error}") from None


def _encoded(model: Any, name: str, value: Any, codec: _Codec | None) -> list[ResponseOutput]:
    """The outputs of one value returned; none for None, where its annotation allows that."""
    if value is None and (codec is None or codec.optional):
        return []
    of_input = codec.of_input if codec else find_input_codec_by_payload(value)
    if of_input is not None:
        return [of_input.encode_output(name, value)]
    of_request = codec.of_request if codec else find_request_codec_by_payload(value)
    if of_request is None:
        raise CodecNotFound(value, name)
    return list(of_request.encode_response(model.name, value, model.version).outputs)
