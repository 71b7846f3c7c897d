"""Errors of choosing a codec; those of using one are `mlserver.errors.CodecError` itself."""

from collections.abc import Iterable
from typing import Any

from mlserver.errors import CodecError, Kind

__all__ = ["CodecError", "CodecNotFound", "InputsNotFound", "OutputNotFound"]


class CodecNotFound(CodecError):
    """No registered codec, and no default, can encode a payload, or has the type hint that was asked for."""

    def __init__(self, payload: Any = None, name: str | None = None, *, type_hint: Any = None) -> None:
        if type_hint is not None:
            super().__init__(f"no codec has the type hint {type_hint!r}{f' of {name!r}' if name else ''}")
            return
        kind = f"{type(payload).__module__}.{type(payload).__qualname__}"
        super().__init__(f"no codec can encode {kind}{f' as output {name!r}' if name else ''}")


class InputsNotFound(CodecError):
    """The inputs of a request are not those that the model's `predict` takes as arguments."""

    def __init__(self, expected: Iterable[str], missing: Iterable[str] = (), unknown: Iterable[str] = ()) -> None:
        found = {"missing": _listed(missing), "unknown": _listed(unknown)}
        wrong = "; ".join(f"{what}: {names}" for what, names in found.items() if names)
        super().__init__(f"expected the inputs {_listed(expected) or '(none)'}; {wrong}")


class OutputNotFound(CodecError):
    """A model's `predict` returned another number of values than its return annotation says: the model's mistake."""

    kind = Kind.MODEL

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"expected predict to return {expected} value(s), as its annotation says, found {found}")


def _listed(names: Iterable[str]) -> str:
    """Names as text that stays short whatever a caller sent."""
    shown = [repr(name[:64]) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
