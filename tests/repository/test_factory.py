"""The repository that the settings ask for."""

from typing import Any

import pytest

from mlserver.errors import ConfigurationError, ModelNotFound
from mlserver.repository import ModelRepository, SchemalessModelRepository, build_repository
from mlserver.settings import ModelSettings, Settings

pytestmark = pytest.mark.usefixtures("here")

HERE = "tests.repository.test_factory"


class Fixed(ModelRepository):
    """A repository with as many models as it is told."""

    def __init__(self, root: str, count: int = 1, token: str = "") -> None:
        self.root, self.count, self.token = root, count, token

    async def list(self) -> Any:
        if self.count < 0:
            raise ConfigurationError("negative")
        return [ModelSettings(name=f"m{n}", implementation="a.B") for n in range(self.count)]

    async def find(self, name: str) -> Any:
        raise ModelNotFound(name)


class Half(ModelRepository):
    """A repository that does not say how to find a model."""

    async def list(self) -> Any:
        return []


def make(implementation: str | None, **arguments: object) -> ModelRepository:
    return build_repository(
        Settings(
            model_repository_root="models",
            model_repository_implementation=implementation,
            model_repository_implementation_args=arguments,
        )
    )


def test_folders_by_default() -> None:
    assert isinstance(make(None), SchemalessModelRepository)


async def test_a_class_of_ones_own() -> None:
    found = make(f"{HERE}.Fixed", count=2, token="x")
    assert isinstance(found, Fixed)
    assert (found.root, found.token) == ("models", "x")
    scan = await found.scan()
    assert [settings.name for settings in scan.found] == ["m0", "m1"]
    assert scan.problems == ()


async def test_a_class_of_ones_own_that_fails_is_a_problem() -> None:
    scan = await make(f"{HERE}.Fixed", count=-1).scan()
    assert (scan.found, [str(problem.error) for problem in scan.problems]) == ([], ["negative"])


@pytest.mark.parametrize("name", ["mlserver.settings.Settings", f"{HERE}.Half"])
def test_what_is_no_repository(name: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"model_repository_implementation: .* cannot be used; expected a subclass"
    ):
        make(name)


def test_arguments_it_does_not_take() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(f"{HERE}.Fixed", tokn="hunter2")
    assert str(caught.value) == (
        "model_repository_implementation_args: Fixed: got an unexpected keyword argument 'tokn'"
    )
