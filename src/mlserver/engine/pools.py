"""Which pool a model belongs to: this process, the default workers, or workers of its own group and environment."""

import asyncio
import logging
import os
import sys
import sysconfig

from mlserver.engine.cache import Cached, CacheSize, Shelf
from mlserver.engine.environments import Environments, asked_for
from mlserver.engine.interpreter import Environment, worker_command
from mlserver.engine.local import LocalPool
from mlserver.engine.pool import WorkerPool
from mlserver.engine.process import Launch
from mlserver.engine.runner import Runner
from mlserver.engine.threads import thread_environment, worker_threads
from mlserver.engine.words import Host
from mlserver.errors import ConfigurationError
from mlserver.events import Hub
from mlserver.settings import ModelSettings, Settings
from mlserver.types.tensors import TensorRequest

logger = logging.getLogger("mlserver")

# Nothing in a worker has to know who may change the server.
_NOT_FOR_WORKERS = {"admin_token"}


class Pools:
    """Loads models, each into its pool. Pools besides the default one live from their first model to their last.

    The default pool is started by `start`, so that its workers come up while the server does.
    """

    hub: Hub
    """Who is told what happens; may grow."""

    def __init__(self, settings: Settings, hub: Hub | None = None) -> None:
        self._settings = settings
        self.hub = hub or Hub()
        self._environments = Environments(settings.environments_dir)
        self._cached = CacheSize(settings.cache_size)
        self._local: LocalPool | None = None
        self._pools: dict[str, WorkerPool] = {}
        # Models of each pool that are loaded or being loaded.
        self._users: dict[str, int] = {}

    def start(self) -> None:
        """Start the default workers, if that has not been done."""
        if self._settings.parallel_workers:
            self._pool("", None)

    async def load(self, settings: ModelSettings, warmup: TensorRequest | None = None) -> Runner:
        """Load a model where its settings say, and have it answer `warmup`. Raises what says why it could not be."""
        runner = await self._loaded(settings, warmup)
        if settings.cache_enabled and self._settings.cache_enabled:
            return Cached(runner, Shelf(settings.response_cache_bytes, self._cached))
        return runner

    async def close(self) -> None:
        """End all workers. Nothing may be under way."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))

    async def _loaded(self, settings: ModelSettings, warmup: TensorRequest | None) -> Runner:
        if self._runs_here(settings):
            if any(asked_for(settings)):
                logger.warning("model %r: its environment is not used, since it runs without workers", settings.name)
            if self._local is None:
                self._local = LocalPool(self._settings, self.hub.tell)
            return await self._local.load(settings, warmup)
        _check_importable(settings)
        environment = await self._environments.acquire(settings)
        key = _key(settings, environment)
        self._users[key] = self._users.get(key, 0) + 1

        async def released() -> None:
            await self._release(key)
            await self._environments.release(environment)

        try:
            return await self._pool(key, environment).load(settings, warmup, released)
        except BaseException:
            await released()
            raise

    def _runs_here(self, settings: ModelSettings) -> bool:
        opted_out = settings.parallel_workers is not None and settings.parallel_workers <= 0
        return not self._settings.parallel_workers or opted_out

    def _pool(self, key: str, environment: Environment | None) -> WorkerPool:
        pool = self._pools.get(key)
        if pool is None:
            size = self._settings.parallel_workers
            pool = self._pools[key] = WorkerPool(self._settings, self._launch(environment), size, self.hub.tell)
            pool.start()
        return pool

    async def _release(self, key: str) -> None:
        """A model has left its pool, which nobody may need any more."""
        self._users[key] -= 1
        if self._users[key]:
            return
        del self._users[key]
        if key:
            await self._pools.pop(key).close()

    def _launch(self, environment: Environment | None) -> Launch:
        settings = self._settings
        command, added = worker_command(environment)
        threads = worker_threads(settings.parallel_workers, settings.worker_threads)
        environ = {**os.environ, **added}
        host = Host(settings.model_dump_json(exclude=_NOT_FOR_WORKERS), _paths(whole=environment is None))
        return Launch(command, environ | thread_environment(threads, environ), host)


def _key(settings: ModelSettings, environment: Environment | None) -> str:
    """The pool of a model: empty for the default one."""
    gid = settings.parameters.inference_pool_gid if settings.parameters else None
    return "-".join(filter(None, (environment.key if environment else None, gid)))


def _paths(*, whole: bool) -> list[str]:
    """Where a worker looks for modules first: `sys.path`, or for another Python's only what stands before our own."""
    entries = [os.path.abspath(entry) for entry in sys.path]
    if whole:
        return entries
    own = next((n for n, entry in enumerate(entries) if entry.startswith(sysconfig.get_path("stdlib"))), len(entries))
    return [entry for entry in entries[:own] if not entry.endswith(".zip")]


def _check_importable(settings: ModelSettings) -> None:
    """A class that only this process has cannot be run in another one."""
    if settings.implementation_.startswith("__main__.") or "<locals>" in settings.implementation_:
        raise ConfigurationError(
            f"model {settings.name!r}: implementation {settings.implementation_!r} cannot be imported by a worker "
            "process; put the class into a module, or set parallel_workers to 0"
        )
