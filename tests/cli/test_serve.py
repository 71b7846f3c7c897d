"""load_settings: what `mlserver start` starts from."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlserver.cli.serve import DEFAULT_SETTINGS_FILENAME, load_settings
from mlserver.cli.start import loop_factory, run
from mlserver.errors import ConfigurationError
from tests.cli.commands import put

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(autouse=True)
def _path_as_before() -> Iterator[None]:
    before = [*sys.path]
    yield
    sys.path[:] = before


def test_file_name() -> None:
    assert DEFAULT_SETTINGS_FILENAME == "settings.json"


async def test_files_of_the_folder() -> None:
    put("models/settings.json", {"http_port": 1, "model_repository_root": "elsewhere"})
    put("models/x/model-settings.json", {"implementation": "a.B"})
    settings, models = await load_settings("models")
    assert (settings.http_port, settings.model_repository_root) == (1, "models")
    assert [model.name for model in models] == ["x"]


async def test_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_HTTP_PORT", "2")
    monkeypatch.setenv("MLSERVER_MODEL_REPOSITORY_ROOT", "models")
    put("models/x/model-settings.json", {"implementation": "a.B"})
    settings, models = await load_settings()
    assert (settings.http_port, settings.model_repository_root) == (2, "models")
    assert [model.name for model in models] == ["x"]


async def test_folders_go_to_the_front_of_the_path_once(here: Path) -> None:
    put("models/settings.json", {})
    rest = [*sys.path]
    for _ in range(2):
        await load_settings("models")
    assert sys.path == [str(here / "models"), ".", *rest]


async def test_models_may_stay_out() -> None:
    put("settings.json", {"load_models_at_startup": False})
    put("x/model-settings.json", "{")
    assert (await load_settings("."))[1] == []


async def test_a_repository_beside_the_settings() -> None:
    put("settings.json", {"model_repository_implementation": "own_repository.Mine"})
    put(
        "own_repository.py",
        "from mlserver.repository import SchemalessModelRepository\n"
        "class Mine(SchemalessModelRepository):\n"
        "    async def list(self):\n"
        "        return (await super().list())[:1]\n",
    )
    for name in ("a", "b"):
        put(f"{name}/model-settings.json", {"implementation": "a.B"})
    _, models = await load_settings(".")
    assert [model.name for model in models] == ["a"]
    del sys.modules["own_repository"]


@pytest.mark.parametrize("on_load_failure", ["exit", "continue"])
async def test_settings_of_one_model_that_cannot_be_used(
    on_load_failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    put("settings.json", {"on_load_failure": on_load_failure})
    put("good/model-settings.json", {"implementation": "a.B"})
    put("bad/model-settings.json", "[]")
    line = "bad/model-settings.json: expected a JSON object, got []"
    if on_load_failure == "exit":
        with pytest.raises(ConfigurationError) as caught:
            await load_settings(".")
        assert str(caught.value) == line
    else:
        _, models = await load_settings(".")
        assert [model.name for model in models] == ["good"]
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("ERROR", line)]


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    async def work() -> None:
        done.append(True)

    assert loop_factory() is not None
    run(work())
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
    run(work())
    assert done == [True, True]
