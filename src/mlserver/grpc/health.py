"""`grpc.health.v1.Health`: the server as a whole, each of its services, and each model by its name."""

import asyncio

from mlserver.dataplane import DataPlane
from mlserver.errors import ModelNotFound
from mlserver.grpc.calls import parse
from mlserver.grpc.metadata import Context
from mlserver.wire.protobuf.health_pb2 import HealthCheckRequest, HealthCheckResponse

_Status = HealthCheckResponse.ServingStatus
# Nobody tells when a model becomes ready, and a state costs 2 us to ask.
_WATCH_SECONDS = 0.5


class Health:
    """Answers from the data plane. `services` are the names that mean the whole server."""

    def __init__(self, dataplane: DataPlane, services: frozenset[str]) -> None:
        self._dataplane = dataplane
        self._services = services | {""}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all watching."""
        self._stopping.set()

    async def check(self, asked: HealthCheckRequest, _: Context) -> HealthCheckResponse:
        """The state now. Raises ModelNotFound for a service that nobody knows."""
        return HealthCheckResponse(status=self._status(asked.service))

    async def watch(self, context: Context) -> None:
        """The state now, and each time it changes, until the caller leaves or the server stops."""
        asked = parse(HealthCheckRequest, await context.read())
        told: _Status | None = None
        while not self._stopping.is_set():
            status = self._known(asked.service)
            if status != told:
                told = status
                await context.write(HealthCheckResponse(status=status).SerializeToString())
            await self._a_moment()

    async def _a_moment(self) -> None:
        try:
            async with asyncio.timeout(_WATCH_SECONDS):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _known(self, service: str) -> _Status:
        try:
            return self._status(service)
        except ModelNotFound:
            return HealthCheckResponse.SERVICE_UNKNOWN

    def _status(self, service: str) -> _Status:
        dataplane = self._dataplane
        ready = dataplane.ready() if service in self._services else dataplane.model_ready(service)
        return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
