"""The composition root: builds every floor, starts upward, drains downward. Nothing below knows of it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from mlserver.admin import AdminPolicy
from mlserver.dataplane import DataPlane
from mlserver.engine.pools import Pools
from mlserver.engine.runner import Runner
from mlserver.errors import ConfigurationError, MLServerError
from mlserver.grpc.server import GrpcServer
from mlserver.kafka.supervisor import KafkaProcess
from mlserver.observe.endpoint import metrics_app
from mlserver.observe.prometheus import PrometheusListener
from mlserver.observe.statistics import Statistics
from mlserver.registry import Registry
from mlserver.repository import build_repository
from mlserver.rest.app import RestApp
from mlserver.rest.backing import Backing
from mlserver.rest.headers import InferenceHeaders
from mlserver.rest.server import HttpServer, bind
from mlserver.settings import ModelSettings, Settings
from mlserver.tracing import tracer_of
from mlserver.warmup import warmup_of
from mlserver.wire.cloudevents import CloudEvents, namespace

logger = logging.getLogger("mlserver")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)


class MLServer:
    """A server for models, in the running event loop.

    `start` returns when the server has stopped: by `stop`, or by SIGINT, SIGTERM or SIGQUIT where the loop runs in the
    main thread. A second signal ends the process at once. `pools`, made of the same settings, may have been started
    before: workers take as long to begin as this module takes to be imported.
    """

    def __init__(self, settings: Settings, pools: Pools | None = None) -> None:
        self._settings = settings
        self._metrics = PrometheusListener(settings.metrics_rest_server_prefix, self._in_flight)
        self._statistics = Statistics()
        self._pools = pools or Pools(settings)
        for listener in (self._metrics, self._statistics):
            self._pools.hub.add(listener)
        self._tell = self._pools.hub.tell
        self._registry = Registry(self._make_runner, self._models_changed)
        self._dataplane = DataPlane(settings, self._registry, build_repository(settings), self._tell)
        self._http: list[HttpServer] = []
        self._tracer = self._dataplane.tracer = tracer_of(settings)
        self._grpc = GrpcServer(settings, self._dataplane, self._tell, self._statistics, self._tracer)
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

    @property
    def grpc_port(self) -> int:
        """The port gRPC listens on, also where the setting was 0. Valid once started."""
        return self._grpc.port

    async def start(self, models_settings: Sequence[ModelSettings] = (), *, complete: bool = True) -> None:
        """Serve until stopped. Raises ConfigurationError, with nothing left running, where it cannot start.

        `complete` is False where a model that should be here is not among `models_settings`: then the others are
        served, and the server is never ready.
        """
        self._dataplane.complete = complete
        self._stopping = asyncio.Event()
        self._open_doors()
        self._pools.start()
        with _stop_signals(self._on_signal):
            try:
                await self._until_stopped(self._come_up(models_settings), self._stopping)
            finally:
                await self._drain()

    async def stop(self, sig: int | None = None) -> None:
        """Ask a running server to drain and end; `start` then returns."""
        self._begin_stop(sig)

    def _open_doors(self) -> None:
        """Take every port before anything is started, then let health be asked while models load."""
        settings = self._settings
        rest = RestApp(self._backing())
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
            self._grpc.bind()
            undo.pop_all()
        for server in self._http:
            server.start()
        if settings.kafka_enabled:
            self._kafka = KafkaProcess(settings, self._dataplane, self._registry, self._tell)
            self._kafka.start()

    def _backing(self) -> Backing:
        """What the REST door stands on."""
        settings = self._settings
        headers = InferenceHeaders(CloudEvents(settings.server_name, namespace()))
        return Backing(
            settings, self._dataplane, self._statistics, headers, self._tell, AdminPolicy(settings), self._tracer
        )

    async def _until_stopped(self, work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> None:
        """Do the work, which a stop cancels, and wait for the stop. Raises what the work raises."""
        doing, stopped = asyncio.create_task(work), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((doing, stopped), return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                await doing
                await stopped
        finally:
            doing.cancel()
            stopped.cancel()
            await asyncio.wait((doing, stopped))

    async def _come_up(self, models_settings: Sequence[ModelSettings]) -> None:
        await self._grpc.start()
        await self._load(models_settings)
        if self._kafka is not None:
            await self._kafka.configured()
        self._dataplane.started = True
        state = "ready" if self._dataplane.ready() else "started, not ready"
        logger.info("%s: REST on %s:%d", state, self._settings.host, self.http_port)

    async def _load(self, models_settings: Sequence[ModelSettings]) -> None:
        """Load the models, one after the other; a failure ends the start unless the settings say otherwise."""
        for settings in models_settings:
            try:
                await self._dataplane.load_settings(settings)
            except MLServerError as error:
                if self._settings.on_load_failure == "exit":
                    raise ConfigurationError(str(error)) from error
                logger.error("%s", error, exc_info=_unexpected(error.__cause__))
                self._dataplane.missing.add((settings.name, settings.version or None))

    async def _make_runner(self, settings: ModelSettings) -> Runner:
        return await self._pools.load(settings, await asyncio.to_thread(warmup_of, settings))

    def _in_flight(self) -> Iterator[tuple[str, str, int]]:
        return self._dataplane.in_flight()

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
        doors.append(self._grpc.stop(grace))
        if self._kafka is not None:
            doors.append(self._kafka.stop(grace))
        try:
            async with asyncio.timeout(grace):
                await asyncio.gather(*doors)
                await self._registry.close()
                await self._pools.close()
        except TimeoutError:
            logger.error("could not drain within shutdown_grace_seconds = %s", grace)
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)


def _unexpected(error: BaseException | None) -> BaseException | None:
    """A runtime's own exception, whose traceback says more than its line."""
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
