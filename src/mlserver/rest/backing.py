"""What the routes stand on, in one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlserver.dataplane import DataPlane
from mlserver.errors import Forbidden
from mlserver.events import Tell, nobody
from mlserver.rest.headers import InferenceHeaders
from mlserver.rest.limits import Limits
from mlserver.settings import Settings
from mlserver.tracing import Tracer


class Admin(Protocol):
    """Who may change the server."""

    def check(self, peer: str | None, headers: Mapping[str, str]) -> None:
        """Raises Forbidden. `peer` is the caller's address; names of `headers` are lower-cased."""


class Nobody:
    """Nobody may: what holds where nothing else is said."""

    def check(self, peer: str | None, headers: Mapping[str, str]) -> None:
        """Raises Forbidden."""
        raise Forbidden("models cannot be loaded or unloaded here")


class ModelStatistics(Protocol):
    """Counts per model."""

    def of(self, models: Sequence[tuple[str, str | None]]) -> list[dict[str, Any]]:
        """The `model_stats` of these models and versions."""


@dataclass(frozen=True)
class Backing:
    """What the routes stand on."""

    settings: Settings
    dataplane: DataPlane
    statistics: ModelStatistics
    headers: InferenceHeaders
    tell: Tell = nobody
    admin: Admin = field(default_factory=Nobody)
    tracer: Tracer | None = None

    @property
    def limits(self) -> Limits:
        """What a request may cost."""
        return Limits.of(self.settings)

    @property
    def root_path(self) -> str:
        """The prefix that a proxy strips, without a slash at its end; mostly empty."""
        return self.settings.root_path.rstrip("/")
