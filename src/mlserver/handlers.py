"""Routes that a model brings itself, besides those of the protocol."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from mlserver.model import MLModel

_MARK = "__custom_handler__"

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


class CustomHandler(NamedTuple):
    """Where a handler is reached over REST."""

    rest_path: str
    rest_method: str = "POST"


def custom_handler(rest_path: str, rest_method: str = "POST") -> Callable[[_Handler], _Handler]:
    """Serve a method of a model at `rest_path`, which is global: no name of the model stands before it.

    The signature follows FastAPI's rules: `Body`, `Header`, `Depends`, path and query parameters, pydantic models.
    Raises ValueError for a path or a method that cannot be.
    """
    if not rest_path.startswith("/"):
        raise ValueError(f"custom_handler: expected a path that begins with '/', got {rest_path!r}")
    if not rest_method.isalpha():
        raise ValueError(f"custom_handler: expected an HTTP method, got {rest_method!r}")

    def mark(handler: _Handler) -> _Handler:
        setattr(handler, _MARK, CustomHandler(rest_path, rest_method.upper()))
        return handler

    return mark


def custom_handlers(model: MLModel) -> list[tuple[CustomHandler, Callable[..., Any]]]:
    """The marked methods of a model, bound to it, in the order of their names."""
    # Looked for in the class, so that no property of the model is called for it.
    names = [name for name, found in inspect.getmembers_static(type(model)) if hasattr(_function(found), _MARK)]
    methods = [getattr(model, name) for name in names]
    return [(getattr(method, _MARK), method) for method in methods]


def _function(member: Any) -> Any:
    """The function that a static or class method is made of; others as they are."""
    return member.__func__ if isinstance(member, staticmethod | classmethod) else member
