"""What happens many times a second while it lasts, and is said once a minute."""

import time
from collections.abc import Hashable

_SAY_SECONDS = 60.0
# Kinds that are remembered. Topics and error codes are few; beyond that the memory begins anew, and says one twice.
_MAX_KINDS = 1_024


class Seldom:
    """Remembers when each kind of trouble was said. Kinds are anything hashable."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: dict[Hashable, float] = {}

    def due(self, kind: Hashable) -> bool:
        """Whether `kind` is to be said now; then it is not for a minute."""
        now = time.monotonic()
        said = self._said.get(kind)
        if said is not None and now - said < _SAY_SECONDS:
            return False
        if len(self._said) >= _MAX_KINDS:
            self._said.clear()
        self._said[kind] = now
        return True
