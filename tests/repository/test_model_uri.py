"""mlserver.utils: where a model's artefact is."""

import uuid
from pathlib import Path

import pytest

from mlserver.errors import InvalidModelURI
from mlserver.settings import ModelSettings
from mlserver.utils import generate_uuid, get_model_uri, to_absolute_path


@pytest.fixture
def models(here: Path) -> Path:
    """A folder with a file in it, and a folder with two."""
    (here / "m").mkdir()
    (here / "m" / "one.bin").touch()
    (here / "m" / "many").mkdir()
    (here / "m" / "many" / "model.b").touch()
    (here / "m" / "many" / "model.c").touch()
    return here / "m"


def settings(uri: str | None, source: Path | None) -> ModelSettings:
    found = ModelSettings(name="x", implementation="a.B", parameters={"uri": uri})
    found._source = str(source) if source else None
    return found


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("one.bin", "one.bin"),
        ("./one.bin", "one.bin"),
        ("../m/one.bin", "one.bin"),
        ("file:one.bin", "one.bin"),
        ("file:./one.bin", "one.bin"),
        ("many", "many/model.b"),
        ("./many/", "many/model.b"),
        (".", "."),
    ],
)
async def test_relative_to_the_settings(uri: str, path: str, models: Path) -> None:
    found = await get_model_uri(settings(uri, models / "model-settings.json"), ["model.a", "model.b", "model.c"])
    assert Path(found) == models / path


@pytest.mark.parametrize("prefix", ["", "file:", "file://", "file://localhost"])
async def test_absolute(prefix: str, models: Path) -> None:
    uri = f"{prefix}{models}/one.bin"
    for source in (None, models / "many" / "model-settings.json"):
        assert await get_model_uri(settings(uri, source)) == f"{models}/one.bin"


@pytest.mark.usefixtures("models")
async def test_relative_to_the_working_directory_without_a_file() -> None:
    assert await get_model_uri(settings("m/one.bin", None)) == "m/one.bin"


async def test_a_folder_without_a_well_known_file_is_itself(models: Path) -> None:
    source = models / "model-settings.json"
    assert await get_model_uri(settings("many", source), ["model.x"]) == str(models / "many")
    assert await get_model_uri(settings("many", source)) == str(models / "many")


@pytest.mark.parametrize("uri", ["s3://bucket/x", "hf:org/model", "models:/x/1"])
async def test_other_schemes_are_left_alone(uri: str, models: Path) -> None:
    assert await get_model_uri(settings(uri, models / "model-settings.json"), ["model.b"]) == uri


async def test_nothing_there(models: Path) -> None:
    with pytest.raises(InvalidModelURI, match=f"model 'x': no such file or folder: {models}/none"):
        await get_model_uri(settings("none", models / "model-settings.json"))
    for without in (settings(None, None), settings("", None), ModelSettings(name="x", implementation="a.B")):
        with pytest.raises(InvalidModelURI, match=r"have no `parameters\.uri`"):
            await get_model_uri(without)


def test_to_absolute_path() -> None:
    assert to_absolute_path(settings("x", Path("/a/b/model-settings.json")), "../c/./d") == "/a/c/d"
    assert to_absolute_path(settings("x", None), "../c/./d") == "../c/./d"


def test_generate_uuid() -> None:
    assert uuid.UUID(generate_uuid()).version == 4
    assert generate_uuid() != generate_uuid()
