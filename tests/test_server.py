"""`MLServer` in code: in the caller's loop, with a model class from the caller's module."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import requests

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.errors import ConfigurationError
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

HERE: dict[str, Any] = {"host": "127.0.0.1", "http_port": 0, "grpc_port": 0, "metrics_port": 0, "parallel_workers": 0}


class Doubler(MLModel):
    unloaded = 0

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (value,) = payload.inputs
        data = [2 * item for item in value.data]
        output = ResponseOutput(name="y", shape=value.shape, datatype=value.datatype, data=data)
        return InferenceResponse(model_name=self.name, outputs=[output])

    async def unload(self) -> bool:
        Doubler.unloaded += 1
        return True


class Refusing(MLModel):
    async def load(self) -> bool:
        raise RuntimeError("no weights")


@asynccontextmanager
async def running(settings: Settings, *models: ModelSettings) -> AsyncIterator[MLServer]:
    server = MLServer(settings)
    task = asyncio.create_task(server.start(list(models)))
    await until(lambda: server.dataplane.ready() or task.done())
    try:
        yield server
    finally:
        await server.stop()
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what only the server's state tells of; a minute, after which it hangs."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def get(server: MLServer, path: str) -> requests.Response:
    return await asyncio.to_thread(requests.get, f"http://127.0.0.1:{server.http_port}{path}", timeout=30)


async def test_it_serves_and_stops() -> None:
    before = Doubler.unloaded
    async with running(Settings(**HERE), ModelSettings(name="doubler", implementation=Doubler)) as server:
        request = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 2.5]}]}
        url = f"http://127.0.0.1:{server.http_port}/v2/models/doubler/infer"
        found = await asyncio.to_thread(requests.post, url, json=request, timeout=30)
        assert found.json()["outputs"][0]["data"] == [2.0, 5.0]
        assert (await get(server, "/v2/health/ready")).status_code == 200
    assert Doubler.unloaded == before + 1
    with pytest.raises(requests.ConnectionError):
        await get(server, "/v2/health/live")


async def test_two_servers_in_one_process() -> None:
    model = ModelSettings(name="doubler", implementation=Doubler)
    async with running(Settings(**HERE), model) as one, running(Settings(**HERE), model) as other:
        assert one.http_port != other.http_port
        assert (await get(other, "/v2/models/doubler/ready")).status_code == 200


async def test_a_failed_load_leaves_nothing_running() -> None:
    server = MLServer(Settings(**HERE))
    with pytest.raises(ConfigurationError, match="model 'refusing' failed to load: RuntimeError: no weights"):
        await server.start([ModelSettings(name="refusing", implementation=Refusing)])
    assert not server.dataplane.ready()
    with pytest.raises(requests.ConnectionError):
        await get(server, "/v2/health/live")


async def test_going_on_without_a_model_is_not_being_ready() -> None:
    settings = Settings(**HERE, on_load_failure="continue")
    server = MLServer(settings)
    models = [
        ModelSettings(name="refusing", implementation=Refusing),
        ModelSettings(name="doubler", implementation=Doubler),
    ]
    task = asyncio.create_task(server.start(models))
    await until(lambda: server.dataplane.started)
    assert (await get(server, "/v2/health/ready")).status_code == 503
    assert (await get(server, "/v2/models/doubler/ready")).status_code == 200
    assert (await get(server, "/v2/models/refusing/ready")).status_code == 404
    await server.stop()
    await task


async def test_without_models_it_is_ready_only_where_none_are_loaded_at_startup() -> None:
    async with running(Settings(**HERE, load_models_at_startup=False)) as server:
        assert (await get(server, "/v2/health/ready")).json() == {"live": True, "ready": True}
