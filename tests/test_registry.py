"""What is live, and which version a request without one gets."""

from collections.abc import AsyncIterator, Sequence

import pytest

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.isolate import Outcome
from mlserver.engine.runner import ModelCard
from mlserver.errors import ModelNotFound, ModelNotReady
from mlserver.registry import Registry
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import TensorRequest, TensorResponse


class FakeRunner:
    """Never predicts: the registry must not need it to."""

    def __init__(self, settings: ModelSettings, *, ready: bool = True) -> None:
        self.card = ModelCard(MetadataModelResponse(name=settings.name, platform=""), max_rows=1, ready=ready)
        self.ready = ready
        self.closed = False

    async def infer(self, request: TensorRequest) -> TensorResponse:
        raise AssertionError(request)

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        raise AssertionError(request)

    def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        raise AssertionError(requests)

    async def call(self, request: CustomRequest) -> CustomResponse:
        raise AssertionError(request)

    async def close(self) -> None:
        self.closed = True


async def make(settings: ModelSettings) -> FakeRunner:
    return FakeRunner(settings)


def settings(name: str = "m", version: str | None = None) -> ModelSettings:
    return ModelSettings(name=name, implementation=FakeRunner, parameters=ModelParameters(version=version))


@pytest.mark.parametrize(
    ("versions", "default"),
    [
        (["1", "2"], "2"),
        (["10", "9"], "10"),
        (["v10", "v3"], "v3"),
        (["1", "v1"], "v1"),
        (["1", None, "2"], None),
        ([None, "3"], None),
        (["v0.1.0"], "v0.1.0"),
    ],
)
async def test_the_default_version(versions: list[str | None], default: str | None) -> None:
    registry = Registry(make)
    for version in versions:
        await registry.load(settings(version=version))
    assert registry.find("m").version == default
    assert [served.version for served in registry if registry.is_default(served)] == [default]
    assert sorted(registry.versions("m")) == sorted(version for version in versions if version)


async def test_an_unversioned_model_after_versioned_ones_reloads_nothing() -> None:
    registry = Registry(make)
    first = await registry.load(settings(version="1"))
    await registry.load(settings())
    assert registry.find("m", "1") is first
    assert all(served.ready for served in registry)


@pytest.mark.parametrize(("name", "version"), [("n", None), ("n", "1"), ("m", "2")])
async def test_what_is_not_here_is_not_found(name: str, version: str | None) -> None:
    registry = Registry(make)
    await registry.load(settings(version="1"))
    with pytest.raises(ModelNotFound, match=name):
        registry.find(name, version)


async def test_a_model_that_loads_is_known_and_not_ready() -> None:
    async def slow(found: ModelSettings) -> FakeRunner:
        served = registry.find("m")
        assert not served.ready
        with pytest.raises(ModelNotReady):
            served.answering()
        return FakeRunner(found)

    registry = Registry(slow)
    served = await registry.load(settings())
    assert served.answering() is served.runner


async def test_a_load_that_says_no_leaves_the_model_not_ready() -> None:
    async def unready(found: ModelSettings) -> FakeRunner:
        return FakeRunner(found, ready=False)

    registry = Registry(unready)
    with pytest.raises(ModelNotReady):
        (await registry.load(settings())).answering()


async def test_a_load_that_fails_leaves_nothing() -> None:
    async def fails(found: ModelSettings) -> FakeRunner:
        raise RuntimeError("no")

    changes: list[int] = []
    registry = Registry(fails, lambda: changes.append(1))
    with pytest.raises(RuntimeError, match="no"):
        await registry.load(settings())
    assert list(registry) == []
    with pytest.raises(ModelNotFound):
        registry.find("m")


async def test_closing_unloads_everything_and_tells_of_each_change() -> None:
    seen: list[int] = []
    registry = Registry(make, lambda: seen.append(len(list(registry))))
    runners = [(await registry.load(settings(version=version))).runner for version in ("1", "2")]
    await registry.close()
    assert all(isinstance(runner, FakeRunner) and runner.closed for runner in runners)
    assert seen == [1, 2, 1, 0]
