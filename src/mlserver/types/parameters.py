"""Parameters of messages, with headers that are made into a dict when somebody looks."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, SerializerFunctionWrapHandler, model_serializer

from mlserver.types.base import Message, construct, put_extra

# In an instance's `__dict__`: the function that makes headers nobody looked at yet; "headers" is then absent from it.
_UNSEEN = "_headers"
# Where codecs keep what they decoded; never pickled, serialised or compared.
DECODED = "_decoded_payload"


class Parameters(Message):
    """Parameters of a request, response or tensor; any other name is kept and is an attribute too.

    `headers` holds a request's headers by lower-cased name, or in a response those to send back.
    """

    model_config = ConfigDict(extra="allow")

    content_type: str | None = None
    headers: dict[str, Any] | None = None

    if not TYPE_CHECKING:  # else every misspelt attribute would pass the type checker

        def __getattr__(self, name: str) -> Any:
            build = self.__dict__.pop(_UNSEEN, None) if name == "headers" else None
            if build is None:
                return super().__getattr__(name)
            headers = self.__dict__["headers"] = dict(build())
            return headers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return values_of(self) == values_of(other) and self.headers == other.headers

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        _look(self)
        return super().__iter__()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> "Parameters":
        _look(self)
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        _look(self)
        state = super().__getstate__()
        return state | {"__dict__": {name: value for name, value in self.__dict__.items() if name != DECODED}}

    def __repr_args__(self) -> Any:
        _look(self)
        return super().__repr_args__()

    @model_serializer(mode="wrap")
    def _with_headers(self, serialise: SerializerFunctionWrapHandler) -> Any:
        _look(self)
        return serialise(self)


def lazy_parameters(
    values: Mapping[str, Any] | None, headers: Callable[[], Mapping[str, str]] | None = None
) -> Parameters | None:
    """Around `values`, unvalidated; None where there is nothing to hold.

    `headers` is called at the first look at `.headers`, and wins over a value of that name.
    """
    if headers is None and not values:
        return None
    extra = dict(values) if values else {}
    sent = extra.pop("headers", None)
    held = {"content_type": extra.pop("content_type", None), "headers": sent}
    made = construct(Parameters, held)
    if extra:
        made.__pydantic_fields_set__.update(extra)
    put_extra(made, extra)
    if headers is not None:
        del held["headers"]
        held[_UNSEEN] = headers
    return made


def values_of(parameters: Parameters) -> dict[str, Any]:
    """What is set, but for the headers."""
    held = {} if parameters.content_type is None else {"content_type": parameters.content_type}
    return held | (parameters.__pydantic_extra__ or {})


def seen(parameters: Parameters) -> bool:
    """Whether `headers` are a dict, or None; False for a door's that nobody has looked at yet."""
    return _UNSEEN not in parameters.__dict__


def _look(parameters: Any) -> None:
    """Make the headers. Assignment is not validated, so what stands for parameters may be a plain dict."""
    if isinstance(parameters, Parameters) and not seen(parameters):
        parameters.headers  # noqa: B018 - looking makes them
