"""The composition root: builds every floor, starts upward, drains downward. Nothing below knows of it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from mlserver.dataplane import DataPlane
from mlserver.engine.batcher import Batcher
from mlserver.engine.local import LocalRunner
from mlserver.engine.runner import Runner
from mlserver.errors import ConfigurationError, MLServerError
from mlserver.events import Listener, ModelLoaded, tell
from mlserver.kafka.supervisor import KafkaProcess
from mlserver.observe.endpoint import metrics_app
from mlserver.observe.prometheus import PrometheusListener
from mlserver.registry import Registry
from mlserver.rest.app import RestApp
from mlserver.rest.server import HttpServer, bind
from mlserver.settings import ModelSettings, Settings

logger = logging.getLogger("mlserver")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class MLServer:
    """A server for models, in the running event loop.

    `start` returns when the server has stopped: by `stop`, or by SIGINT, SIGTERM or SIGQUIT where the loop runs in the
    main thread. A second signal ends the process at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = PrometheusListener(settings.metrics_rest_server_prefix)
        self._listeners: Sequence[Listener] = (self._metrics,)
        self._registry = Registry(_make_runner, self._models_changed)
        self._dataplane = DataPlane(settings, self._registry, self._listeners)
        self._http: list[HttpServer] = []
        self._kafka: KafkaProcess | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def dataplane(self) -> DataPlane:
        """The door inside, for callers in this process."""
        return self._dataplane

    @property
    def http_port(self) -> int:
        """The port REST listens on, also where the setting was 0. Valid once started."""
        return self._http[0].port

    async def start(self, models_settings: Sequence[ModelSettings] = (), *, complete: bool = True) -> None:
        """Serve until stopped. Raises ConfigurationError, with nothing left running, where it cannot start.

        `complete` is False where a model that should be here is not among `models_settings`: then the others are
        served, and the server is never ready.
        """
        self._dataplane.complete = complete
        self._stopping = asyncio.Event()
        self._open_doors()
        with _stop_signals(self._on_signal):
            try:
                await self._load(models_settings)
                if self._kafka is not None:
                    await self._kafka.configured()
                if not self._stopping.is_set():
                    self._dataplane.started = True
                    state = "ready" if self._dataplane.ready() else "started, not ready"
                    logger.info("%s: REST on %s:%d", state, self._settings.host, self.http_port)
                await self._stopping.wait()
            finally:
                await self._drain()

    async def stop(self, sig: int | None = None) -> None:
        """Ask a running server to drain and end; `start` then returns."""
        self._begin_stop(sig)

    def _open_doors(self) -> None:
        """Take every port before anything is started, then let health be asked while models load."""
        settings = self._settings
        rest = RestApp(self._dataplane, settings.max_body_bytes, self._listeners)
        apps = [(rest, settings.http_port, "http_port", settings.debug)]
        if settings.metrics_endpoint:
            app = metrics_app(self._metrics.registry, settings.metrics_endpoint)
            apps.append((app, settings.metrics_port, "metrics_port", False))
        with contextlib.ExitStack() as undo:
            for app, port, setting, access_log in apps:
                sock = bind(settings.host, port, setting)
                undo.callback(socket.socket.close, sock)
                grace = settings.shutdown_grace_seconds
                self._http.append(HttpServer(app, sock, access_log=access_log, grace_seconds=grace))
            undo.pop_all()
        for server in self._http:
            server.start()
        if settings.kafka_enabled:
            self._kafka = KafkaProcess(settings, self._dataplane, self._registry, self._listeners)
            self._kafka.start()

    async def _load(self, models_settings: Sequence[ModelSettings]) -> None:
        """Load the models, one after the other; a failure ends the start unless the settings say otherwise."""
        for settings in models_settings:
            begun = time.perf_counter()
            try:
                served = await self._registry.load(settings)
            except Exception as error:
                if self._settings.on_load_failure == "exit":
                    raise _load_failure(settings, error) from error
                logger.error("%s", _load_failure(settings, error), exc_info=_unexpected(error))
                self._dataplane.complete = False
            else:
                seconds = time.perf_counter() - begun
                logger.info("loaded model %r in %.2f s", served.name, seconds)
                tell(self._listeners, ModelLoaded(served.name, served.version, seconds))

    def _models_changed(self) -> None:
        if self._kafka is not None:
            self._kafka.models_changed()

    def _on_signal(self, sig: int) -> None:
        if self._stopping is not None and self._stopping.is_set():
            logger.warning("second signal: ending at once")
            os._exit(128 + sig)
        self._begin_stop(sig)

    def _begin_stop(self, sig: int | None) -> None:
        """Not ready from now on; `start` goes on to drain."""
        if sig is not None:
            logger.info("stopping on %s", signal.Signals(sig).name)
        self._dataplane.started = False
        if self._stopping is not None:
            self._stopping.set()

    async def _drain(self) -> None:
        """Not ready, then the doors with what is under way in them, then the models; all within the grace."""
        self._dataplane.started = False
        grace = self._settings.shutdown_grace_seconds
        doors = [server.stop() for server in self._http]
        if self._kafka is not None:
            doors.append(self._kafka.stop(grace))
        try:
            async with asyncio.timeout(grace):
                await asyncio.gather(*doors)
                await self._registry.close()
        except TimeoutError:
            logger.error("could not drain within shutdown_grace_seconds = %s", grace)


async def _make_runner(settings: ModelSettings) -> Runner:
    runner = await LocalRunner.start(settings)
    return Batcher(runner) if runner.card.max_rows > 1 else runner


def _load_failure(settings: ModelSettings, error: Exception) -> ConfigurationError:
    """One line: which model, and why. What is not ours keeps its class."""
    if isinstance(error, ConfigurationError):
        return error
    text = str(error) if isinstance(error, MLServerError) else f"{type(error).__name__}: {error}"
    named = f"model {settings.name!r}"
    return ConfigurationError(text if text.startswith(named) else f"{named} failed to load: {text}")


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, ConfigurationError | MLServerError) else error


@contextlib.contextmanager
def _stop_signals(handler: Callable[[int], None]) -> Iterator[None]:
    """Call `handler` for every stop signal; in a thread that is not the main one signals stay with whoever has them."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for sig in _STOP_SIGNALS:
        loop.add_signal_handler(sig, handler, sig)
    try:
        yield
    finally:
        for sig in _STOP_SIGNALS:
            loop.remove_signal_handler(sig)
