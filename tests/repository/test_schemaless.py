"""A folder as a repository: what is found, what is filled in, what is refused."""

# ruff: noqa: ASYNC240 - tests may wait for the disk
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlserver.errors import ConfigurationError, ModelNotFound
from mlserver.repository import DEFAULT_MODEL_SETTINGS_FILENAME, SchemalessModelRepository

pytestmark = pytest.mark.usefixtures("here")


def put(folder: str, text: str | None = None, **settings: Any) -> Path:
    """A model-settings.json in `folder`: `text`, or the settings as JSON."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    file = Path(folder, DEFAULT_MODEL_SETTINGS_FILENAME)
    file.write_text(json.dumps({"implementation": "a.B", **settings}) if text is None else text)
    return file


async def keys(root: str = ".") -> list[tuple[str, str | None]]:
    return [(found.name, found.version) for found in await SchemalessModelRepository(root).list()]


async def test_every_folder_at_any_depth_in_order() -> None:
    for folder in (".", "b", "a/v2", "a/v1", "c/d/e/f"):
        put(folder, name=folder.replace("/", "-").replace(".", "root"))
    put(".hidden", name="hidden")
    put("a/.git/x", name="hidden-too")
    (Path("a") / "model-settings.json.bak").write_text("{")
    assert [name for name, _ in await keys()] == ["root", "b", "a-v1", "a-v2", "c-d-e-f"]


async def test_what_is_left_out_comes_from_the_folder(here: Path) -> None:
    file = put("mnist")
    (found,) = await SchemalessModelRepository(".").list()
    assert found.parameters is not None
    assert (found.name, found.version, found.parameters.uri) == ("mnist", None, str(here / "mnist"))
    assert found._source == str(here / file)


async def test_what_is_given_stays() -> None:
    put(".", name="x", parameters={"uri": "./m.joblib", "version": "v1", "extra": {"a": 1}, "other": 2})
    (found,) = await SchemalessModelRepository(".").list()
    assert found.dict()["parameters"] == {"uri": "./m.joblib", "version": "v1", "extra": {"a": 1}, "other": 2}


async def test_the_environment_fills_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_MODEL_URI", "/elsewhere")
    put("x")
    (found,) = await SchemalessModelRepository(".").list()
    assert found.parameters is not None
    assert found.parameters.uri == "/elsewhere"


async def test_it_is_read_anew_each_time() -> None:
    repository = SchemalessModelRepository(".")
    assert await repository.list() == []
    put("x")
    assert [found.name for found in await repository.list()] == ["x"]


async def test_root_is_kept_when_the_working_directory_changes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("x")
    repository = SchemalessModelRepository(".")
    Path("other").mkdir()
    monkeypatch.chdir("other")
    assert [found._source for found in await repository.list()] == [str(here / "x" / "model-settings.json")]


async def test_find_gives_all_versions() -> None:
    put("a/v1", name="a", parameters={"version": "v1"})
    put("a/v2", name="a", parameters={"version": "v2"})
    put("b")
    repository = SchemalessModelRepository(".")
    assert [found.version for found in await repository.find("a")] == ["v1", "v2"]
    for name in ("c", "", "../a", "v1"):
        with pytest.raises(ModelNotFound):
            await repository.find(name)


async def test_a_name_unlike_the_folders_is_pointed_out(caplog: pytest.LogCaptureFixture) -> None:
    put(".", name="root")
    put("same", name="same")
    put("versioned/v1", name="versioned", parameters={"version": "v1"})
    put("other", name="odd")
    with caplog.at_level(logging.WARNING, "mlserver"):
        await keys()
    assert caplog.messages == ["other/model-settings.json: name: the model is called 'odd', its folder 'other'"]


async def test_the_environments_model_where_there_is_none(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await keys() == []
    monkeypatch.setenv("MLSERVER_MODEL_NAME", "env")
    assert await keys() == []
    monkeypatch.setenv("MLSERVER_MODEL_IMPLEMENTATION", "a.B")
    monkeypatch.setenv("MLSERVER_MODEL_VERSION", "v1")
    (found,) = await SchemalessModelRepository(".").list()
    assert found.parameters is not None
    assert (found.name, found.version, found.parameters.uri) == ("env", "v1", str(here))
    put("x")
    assert [name for name, _ in await keys()] == ["env"]
    monkeypatch.delenv("MLSERVER_MODEL_NAME")
    assert await keys() == [("x", "v1")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "x/model-settings.json:1:2: not valid JSON: Expecting property name enclosed in double quotes"),
        ("{}", "x/model-settings.json: implementation: missing"),
        (
            '{"implementation": "a.B", "max_batch_size": "x"}',
            "x/model-settings.json: max_batch_size: expected an integer, got 'x'",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_an_error(text: str, line: str) -> None:
    put("x", text)
    put("y")
    repository = SchemalessModelRepository(".")
    with pytest.raises(ConfigurationError) as caught:
        await repository.list()
    assert str(caught.value) == line
    scan = await repository.scan()
    assert [found.name for found in scan.found] == ["y"]
    assert [str(problem.error) for problem in scan.problems] == [line]


async def test_several_problems_are_one_line() -> None:
    put("x", "[]")
    put("y", "[]")
    put("z", "[]")
    with pytest.raises(ConfigurationError) as caught:
        await keys()
    assert str(caught.value) == "x/model-settings.json: expected a JSON object, got [] (and 2 more like it)"


async def test_a_link_that_leads_nowhere_is_an_error() -> None:
    Path("x").mkdir()
    Path("x/model-settings.json").symlink_to("gone.json")
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
        await keys()


async def test_find_does_not_pass_over_a_version_that_cannot_be_read() -> None:
    put("a/v1", name="a", parameters={"version": "v1"})
    put("a/v2", "{")
    put("named", '{"name": "c"}')
    put("b")
    repository = SchemalessModelRepository(".")
    for name in ("a", "v2", "c", "named"):
        with pytest.raises(ConfigurationError):
            await repository.find(name)
    assert len(await repository.find("b")) == 1


async def test_folder_whose_name_is_none() -> None:
    put("my model")
    with pytest.raises(ConfigurationError) as caught:
        await keys()
    assert str(caught.value) == (
        "my model/model-settings.json: name: missing, and the folder's name 'my model' cannot be it; expected "
        "1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit, without '..'"
    )


@pytest.mark.parametrize(
    ("version", "which"),
    [({"version": "v1"}, "the model 'm', version 'v1', is"), ({}, "the model 'm', unversioned, is")],
)
async def test_the_same_model_twice(version: dict[str, str], which: str) -> None:
    put("a", name="m", parameters=version)
    put("b", name="m", parameters=version)
    put("c", name="m", parameters={"version": "other"})
    with pytest.raises(ConfigurationError) as caught:
        await keys()
    assert str(caught.value) == f"b/model-settings.json: {which} also in a/model-settings.json"


async def test_links_within_the_repository(here: Path) -> None:
    """As Kubernetes mounts a ConfigMap: `x -> ..data/x`, `..data -> ..2024`."""
    put("..2024/x", name="x")
    Path("..data").symlink_to("..2024")
    Path("x").symlink_to("..data/x")
    put("real", name="real")
    Path("another").symlink_to("real")
    Path("loop").symlink_to(".")
    assert [found._source for found in await SchemalessModelRepository(".").list()] == [
        str(here / "real" / "model-settings.json"),
        str(here / "x" / "model-settings.json"),
    ]


async def test_links_out_of_the_repository_are_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    put("outside/x")
    put("root/y")
    Path("root/out").symlink_to("../outside")
    Path("root/up").symlink_to("..")
    with caplog.at_level(logging.WARNING, "mlserver"):
        assert [name for name, _ in await keys("root")] == ["y"]
    assert caplog.messages == [f"root/{link}: leads out of the repository, not followed" for link in ("out", "up")]


async def test_root_may_be_a_link_itself() -> None:
    put("v1/x")
    put("v2/z")
    Path("current").symlink_to("v1")
    repository = SchemalessModelRepository("current")
    assert [found.name for found in await repository.list()] == ["x"]
    Path("current").unlink()
    Path("current").symlink_to("v2")
    assert [found.name for found in await repository.list()] == ["z"]


async def test_folder_that_may_not_be_read_hides_no_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path("lost+found").mkdir()
    put("x")
    real = Path.iterdir

    def refusing(self: Path) -> Iterator[Path]:
        if self.name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", refusing)
    assert [name for name, _ in await keys()] == ["x"]
    assert caplog.messages == ["lost+found: cannot be read: Permission denied"]


async def test_root_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match=r"^model_repository_root: there is no folder nowhere$"):
        await keys("nowhere")
