"""What is live: (name, version) -> Runner.

Of several versions of a name, the default - what a request without a version gets - is the unversioned one where there
is one, else the highest: by number where both are whole numbers, else as text.
"""

import asyncio
import contextlib
import functools
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

from mlserver.engine.runner import Runner
from mlserver.errors import ModelNotFound, ModelNotReady
from mlserver.settings import ModelSettings

logger = logging.getLogger("mlserver")

MakeRunner = Callable[[ModelSettings], Awaitable[Runner]]


class Served:
    """A model that should be here. `runner` is None while it loads for the first time."""

    __slots__ = ("in_flight", "key", "name", "reloading", "runner", "settings", "version")

    def __init__(self, settings: ModelSettings) -> None:
        self.name: str = settings.name
        self.version: str | None = settings.version or None
        self.key = (settings.name, settings.version or "")
        """Name and version as labels have them."""
        self.in_flight = 0
        """Requests that have been asked and not answered."""
        self.settings = settings
        self.runner: Runner | None = None
        self.reloading = False
        """Whether the one that takes its place is being loaded."""

    @property
    def ready(self) -> bool:
        """Loaded, its `load` said that it is ready, and somebody lives who can run it."""
        return self.runner is not None and self.runner.ready

    @contextlib.contextmanager
    def busy(self, requests: int) -> Iterator[None]:
        """Within: so many requests are under way."""
        self.in_flight += requests
        try:
            yield
        finally:
            self.in_flight -= requests

    def answering(self) -> Runner:
        """The runner, where it can answer now. Raises ModelNotReady."""
        if self.runner is None or not self.runner.ready:
            raise ModelNotReady(self.name, self.version)
        return self.runner

    def __repr__(self) -> str:
        return f"Served({self.name!r}, {self.version!r}, {'ready' if self.ready else 'not ready'})"


class Registry:
    """Loads and finds models. `changed` is called after each change of what is served."""

    def __init__(self, make_runner: MakeRunner, changed: Callable[[], None] = lambda: None) -> None:
        self._make_runner = make_runner
        self._changed = changed
        self._models: dict[str, dict[str | None, Served]] = {}
        self._defaults: dict[str, Served] = {}
        # Changes to one name come one after the other.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Models that were replaced or unloaded, and still answer those who asked before.
        self._leaving: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Served]:
        for versions in self._models.values():
            yield from versions.values()

    async def load(self, settings: ModelSettings) -> Served:
        """Load a model and serve it, in place of one of the same name and version if there is one.

        That one answers until the new one is ready, and goes on if the new one does not load; then it answers those
        who have asked, and is unloaded. A model that is new is known while it loads, and not ready. Raises what its
        runtime raises.
        """
        async with self._locks[settings.name]:
            served = Served(settings)
            old = self._models.get(settings.name, {}).get(served.version)
            if old is None:
                self._put(served)
            else:
                old.reloading = True
            try:
                served.runner = await self._make_runner(settings)
            except BaseException:
                if old is None:
                    self._drop(served)
                raise
            finally:
                if old is not None:
                    old.reloading = False
            if old is not None:
                self._put(served)
                self._leave(old)
            self._changed()
            return served

    async def unload(self, name: str, version: str | None = None, *, every: bool = False) -> None:
        """Stop serving a model, or with `every` all versions of a name, and wait until it has let go of its resources.

        New requests do not find it from now on, those under way are answered. Raises ModelNotFound.
        """
        async with self._locks[name]:
            versions = self._models.get(name, {})
            found = [*versions.values()] if every else [versions[version]] if version in versions else []
            if not found:
                raise ModelNotFound(name, version)
            for served in found:
                self._drop(served)
        leaving = [self._leave(served) for served in found]
        await asyncio.gather(*(asyncio.shield(task) for task in leaving))

    def find(self, name: str, version: str | None = None) -> Served:
        """The model of this name, in this or its default version. Raises ModelNotFound."""
        served = self._models.get(name, {}).get(version) if version else self._defaults.get(name)
        if served is None:
            raise ModelNotFound(name, version)
        return served

    def of(self, name: str) -> list[Served]:
        """Every version of a name that is served, lowest first."""
        return sorted(self._models.get(name, {}).values(), key=_BY_VERSION)

    def is_default(self, served: Served) -> bool:
        """Whether requests without a version go to this one."""
        return self._defaults.get(served.name) is served

    def versions(self, name: str) -> list[str]:
        """The versions of a name that are served, lowest first; an unversioned model adds none."""
        return [served.version for served in self.of(name) if served.version]

    async def close(self) -> None:
        """Unload everything, last loaded first."""
        for served in reversed(list(self)):
            self._drop(served)
            self._leave(served)
        while self._leaving:
            await asyncio.wait(self._leaving)

    def _leave(self, served: Served) -> "asyncio.Task[None]":
        """Let a model answer those who have asked, and unload it."""
        task = asyncio.create_task(_closed(served))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    def _put(self, served: Served) -> None:
        self._models.setdefault(served.name, {})[served.version] = served
        self._choose_default(served.name)

    def _drop(self, served: Served) -> None:
        versions = self._models.get(served.name, {})
        if versions.get(served.version) is served:
            del versions[served.version]
        if not versions:
            self._models.pop(served.name, None)
        self._choose_default(served.name)
        self._changed()

    def _choose_default(self, name: str) -> None:
        versions = self._models.get(name)
        if versions:
            self._defaults[name] = max(versions.values(), key=_BY_VERSION)
        else:
            self._defaults.pop(name, None)


async def _closed(served: Served) -> None:
    if served.runner is None:
        return
    try:
        await served.runner.close()
    except Exception:
        logger.exception("model %r failed to unload", served.name)


def _compare(left: Served, right: Served) -> int:
    a, b = left.version, right.version
    if a is None or b is None:
        return (a is None) - (b is None)
    if a.isdecimal() and b.isdecimal():
        return (int(a) > int(b)) - (int(a) < int(b))
    return (a > b) - (a < b)


_BY_VERSION = functools.cmp_to_key(_compare)
