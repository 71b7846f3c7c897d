"""Which pool a model belongs to: this process, the default workers, or workers of its own group and environment."""

import asyncio
import os
import sys
from collections.abc import Sequence

from mlserver.engine.frames import Host
from mlserver.engine.local import LocalPool
from mlserver.engine.pool import WorkerPool
from mlserver.engine.process import Launch
from mlserver.engine.runner import Runner
from mlserver.errors import ConfigurationError
from mlserver.events import Listener
from mlserver.settings import ModelSettings, Settings
from mlserver.types.tensors import TensorRequest


class Pools:
    """Loads models, each into its pool; pools are started when they are first needed and closed when they are empty.

    The default pool is started by `start`, so that its workers come up while the server does.
    """

    def __init__(self, settings: Settings, listeners: Sequence[Listener] = ()) -> None:
        self._settings = settings
        self._listeners = listeners
        self._local: LocalPool | None = None
        self._pools: dict[str, WorkerPool] = {}

    def start(self) -> None:
        """Start the default workers."""
        if self._settings.parallel_workers:
            self._pool("")

    async def load(self, settings: ModelSettings, warmup: TensorRequest | None = None) -> Runner:
        """Load a model where its settings say, and have it answer `warmup`. Raises what says why it could not be."""
        if self._runs_here(settings):
            if self._local is None:
                self._local = LocalPool(self._settings, self._listeners)
            return await self._local.load(settings, warmup)
        _check_importable(settings)
        return await self._pool("").load(settings, warmup)

    async def close(self) -> None:
        """End all workers. Nothing may be under way."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    def _runs_here(self, settings: ModelSettings) -> bool:
        opted_out = settings.parallel_workers is not None and settings.parallel_workers <= 0
        return not self._settings.parallel_workers or opted_out

    def _pool(self, key: str) -> WorkerPool:
        pool = self._pools.get(key)
        if pool is None:
            size = self._settings.parallel_workers
            pool = self._pools[key] = WorkerPool(self._settings, self._launch(), size, self._listeners)
            pool.start()
        return pool

    def _launch(self) -> Launch:
        command = (sys.executable, "-P", "-m", "mlserver.engine.worker")
        host = Host(self._settings.model_dump_json(exclude={"admin_token"}), [path or os.getcwd() for path in sys.path])
        return Launch(command, dict(os.environ), host)


def _check_importable(settings: ModelSettings) -> None:
    """A class that only this process has cannot be run in another one."""
    if settings.implementation_.startswith("__main__.") or "<locals>" in settings.implementation_:
        raise ConfigurationError(
            f"model {settings.name!r}: implementation {settings.implementation_!r} cannot be imported by a worker "
            "process; put the class into a module, or set parallel_workers to 0"
        )
