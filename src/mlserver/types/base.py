"""What all pydantic models of the protocol have in common."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

_M = TypeVar("_M", bound=BaseModel)
_LEAN: dict[str, Any] = {"exclude_unset": True, "exclude_none": True}

# Past pydantic's `__setattr__`, which looks for a field to set; the slots' own setters take half of what
# `object.__setattr__` takes, and a request needs a dozen of them.
new = object.__new__
_slots = vars(BaseModel)
put_dict = _slots["__dict__"].__set__
put_fields_set = _slots["__pydantic_fields_set__"].__set__
put_extra = _slots["__pydantic_extra__"].__set__
put_private = _slots["__pydantic_private__"].__set__


class Message(BaseModel):
    """A message: validated when made, not on assignment; enums are stored as plain strings."""

    model_config = ConfigDict(use_enum_values=True, protected_namespaces=())

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """As pydantic's, but without fields that are unset or None."""
        return super().model_dump(**_LEAN | options)

    def model_dump_json(self, **options: Any) -> str:
        """As pydantic's, but without fields that are unset or None."""
        return super().model_dump_json(**_LEAN | options)


def construct(cls: type[_M], values: dict[str, Any]) -> _M:
    """An instance around `values`, which must hold every field; nothing is validated or copied."""
    made = new(cls)
    put_dict(made, values)
    put_fields_set(made, set(values))
    put_extra(made, None)
    put_private(made, None)
    return made
