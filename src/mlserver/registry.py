"""What is live: (name, version) -> Runner.

Of several versions of a name, the default - what a request without a version gets - is the unversioned one where there
is one, else the highest: by number where both are whole numbers, else as text.
"""

import functools
from collections.abc import Awaitable, Callable, Iterator

from mlserver.engine.runner import Runner
from mlserver.errors import ModelNotFound, ModelNotReady
from mlserver.settings import ModelSettings

MakeRunner = Callable[[ModelSettings], Awaitable[Runner]]


class Served:
    """A model that should be here. `runner` is None while it loads."""

    __slots__ = ("name", "runner", "settings", "version")

    def __init__(self, settings: ModelSettings) -> None:
        self.name: str = settings.name
        self.version: str | None = settings.version or None
        self.settings = settings
        self.runner: Runner | None = None

    @property
    def ready(self) -> bool:
        """Loaded, and its `load` said that it is ready."""
        return self.runner is not None and self.runner.card.ready

    def answering(self) -> Runner:
        """The runner, where it can answer now. Raises ModelNotReady."""
        if self.runner is None or not self.runner.card.ready:
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

    def __iter__(self) -> Iterator[Served]:
        for versions in self._models.values():
            yield from versions.values()

    async def load(self, settings: ModelSettings) -> Served:
        """Load a model and serve it; while it loads it is known and not ready. Raises what its runtime raises."""
        served = Served(settings)
        self._put(served)
        try:
            served.runner = await self._make_runner(settings)
        except BaseException:
            self._drop(served)
            raise
        self._changed()
        return served

    def find(self, name: str, version: str | None = None) -> Served:
        """The model of this name, in this or its default version. Raises ModelNotFound."""
        served = self._models.get(name, {}).get(version) if version else self._defaults.get(name)
        if served is None:
            raise ModelNotFound(name, version)
        return served

    def is_default(self, served: Served) -> bool:
        """Whether requests without a version go to this one."""
        return self._defaults.get(served.name) is served

    def versions(self, name: str) -> list[str]:
        """The versions of a name that are served, lowest first; an unversioned model adds none."""
        found = [served for served in self._models.get(name, {}).values() if served.version]
        return [served.version for served in sorted(found, key=_BY_VERSION) if served.version]

    async def close(self) -> None:
        """Unload everything, last loaded first."""
        for served in reversed(list(self)):
            self._drop(served)
            if served.runner is not None:
                await served.runner.close()

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


def _compare(left: Served, right: Served) -> int:
    a, b = left.version, right.version
    if a is None or b is None:
        return (a is None) - (b is None)
    if a.isdecimal() and b.isdecimal():
        return (int(a) > int(b)) - (int(a) < int(b))
    return (a > b) - (a < b)


_BY_VERSION = functools.cmp_to_key(_compare)
