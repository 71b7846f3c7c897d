"""What one connection may cost: bytes, depth and time."""

from dataclasses import dataclass
from typing import Self

from mlserver.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one HTTP server; sizes in bytes. The defaults are those of the settings of the same names."""

    max_body_bytes: int = 64 * 1024 * 1024
    max_header_bytes: int = 64 * 1024
    max_json_depth: int = 64
    header_timeout_seconds: float = 10
    body_timeout_seconds: float = 60
    idle_timeout_seconds: float = 75
    gzip_enabled: bool = True

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those that the settings say."""
        return cls(**{name: getattr(settings, name) for name in cls.__dataclass_fields__})
