"""Errors of choosing a codec; those of using one are `mlserver.errors.CodecError` itself."""

from typing import Any

from mlserver.errors import CodecError


class CodecNotFound(CodecError):
    """No registered codec, and no default, can encode a payload."""

    def __init__(self, payload: Any, name: str | None = None) -> None:
        kind = f"{type(payload).__module__}.{type(payload).__qualname__}"
        super().__init__(f"no codec can encode {kind}{f' as output {name!r}' if name else ''}")
