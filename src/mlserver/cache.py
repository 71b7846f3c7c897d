"""A store of responses, as text by key: an interface for runtimes and tools that keep answers of their own.

The server's own cache (`cache_enabled`) keeps tensors, and is not behind it.
"""

from abc import ABC, abstractmethod


class ResponseCache(ABC):
    """Keeps responses by key."""

    @abstractmethod
    async def insert(self, key: str, value: str) -> None:
        """Keep `value` under `key`, in place of what was there."""

    @abstractmethod
    async def lookup(self, key: str) -> str:
        """What is kept under `key`; empty where nothing is."""

    @abstractmethod
    async def size(self) -> int:
        """How many responses are kept."""


class LocalCache(ResponseCache):
    """Keeps at most `cache_size` responses in the memory of this process; the oldest goes first."""

    def __init__(self, cache_size: int = 100) -> None:
        self._cache_size = cache_size
        self._kept: dict[str, str] = {}

    async def insert(self, key: str, value: str) -> None:
        """Keep `value` under `key`, as the youngest."""
        self._kept.pop(key, None)
        self._kept[key] = value
        while len(self._kept) > self._cache_size:
            del self._kept[next(iter(self._kept))]

    async def lookup(self, key: str) -> str:
        """What is kept under `key`; empty where nothing is."""
        return self._kept.get(key, "")

    async def size(self) -> int:
        """How many responses are kept."""
        return len(self._kept)
