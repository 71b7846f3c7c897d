"""From an import path to a class."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlserver.errors import ConfigurationError
from mlserver.settings import ModelSettings, load_model_settings_file


@pytest.fixture(autouse=True)
def _modules_as_before(here: Path) -> Iterator[None]:
    before = {**sys.modules}
    yield
    sys.modules.clear()
    sys.modules.update(before)


def model(folder: str, implementation: str, **modules: str) -> ModelSettings:
    """The settings of a model in `folder`, beside `modules`, where `pkg__x` is `x` in a package."""
    Path(folder, "pkg").mkdir(parents=True, exist_ok=True)
    Path(folder, "pkg", "__init__.py").touch()
    for name, text in modules.items():
        Path(folder, *name.split("__")).with_suffix(".py").write_text(text)
    source = Path(folder, "model-settings.json")
    source.write_text(json.dumps({"name": folder, "implementation": implementation}))
    return load_model_settings_file(source.absolute())


def test_two_folders_with_a_module_of_the_same_name() -> None:
    a = model("a", "models.Model", models="import helper\nclass Model:\n    told = helper.WHO\n", helper="WHO = 'a'\n")
    b = model("b", "models.Model", models="import helper\nclass Model:\n    told = helper.WHO\n", helper="WHO = 'bb'\n")
    assert a.implementation.told == "a"
    assert b.implementation.told == "bb"
    assert a.implementation is not b.implementation
    assert a.implementation is a.implementation
    assert not {"a", "b"} & {Path(entry).name for entry in sys.path}


def test_a_reload_takes_the_new_text() -> None:
    old = model("a", "models.Model", models="class Model:\n    told = 1\n").implementation
    new = model("a", "models.Model", models="class Model:\n    told = 'two'\n").implementation
    assert (old.told, new.told) == (1, "two")


def test_a_failed_reload_leaves_the_old_modules() -> None:
    model("a", "models.Model", models="class Model: ...\n").implementation  # noqa: B018 - the import is the point
    before = sys.modules["models"]
    with pytest.raises(ConfigurationError):
        model("a", "models.Model", models="class Model: ...\nraise RuntimeError\n").implementation  # noqa: B018
    assert sys.modules["models"] is before


def test_a_module_that_came_from_elsewhere_under_the_same_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "site").mkdir()
    (here / "site" / "models.py").write_text("class Model:\n    told = 'elsewhere'\n")
    monkeypatch.syspath_prepend(str(here / "site"))
    assert ModelSettings(implementation="models.Model").implementation.told == "elsewhere"
    assert model("a", "models.Model", models="class Model:\n    told = 'a'\n").implementation.told == "a"


def test_what_the_folder_does_not_have_is_not_loaded_anew() -> None:
    before = sys.modules["json"]
    (Path("a") / "json").mkdir(parents=True)
    found = model("a", "models.Model", models="import json\nclass Model:\n    json = json\n").implementation
    assert found.json is before
    assert sys.modules["json"] is before


def test_packages_and_nested_classes() -> None:
    text = "class Outer:\n    class Inner: ...\n"
    found = model("a", "pkg.models.Outer.Inner", pkg__models=text).implementation
    assert found.__qualname__ == "Outer.Inner"


@pytest.mark.parametrize(
    ("implementation", "why"),
    [
        ("Model", "expected an import path such as 'models.MyModel'"),
        ("models.", "expected an import path such as 'models.MyModel'"),
        ("nowhere.Model", "there is no module 'nowhere'"),
        ("pkg.nowhere.Model", "there is no module 'pkg.nowhere'"),
        ("models.Missing", "module 'models' has no attribute 'Missing'"),
        ("models.Model.Missing", "class 'Model' has no attribute 'Missing'"),
        ("needs.Model", "it needs the module 'not_there', which is not installed"),
        ("broken.Model", "SyntaxError: '(' was never closed (broken.py, line 2)"),
        ("raises.Model", "RuntimeError: two lines (a/raises.py:2)"),
        ("exits.Model", "SystemExit: 3 (a/exits.py:1)"),
    ],
)
def test_what_cannot_be_imported(implementation: str, why: str) -> None:
    settings = model(
        "a",
        implementation,
        models="class Model: ...\n",
        needs="import not_there\n",
        broken="\nx = (\n",
        raises="\nraise RuntimeError('two\\nlines')\n",
        exits="raise SystemExit(3)\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        _ = settings.implementation
    expected = f"a/model-settings.json: implementation: {implementation!r} cannot be imported: {why}"
    assert str(caught.value) == expected


def test_what_is_no_class() -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = model("a", "models.make", models="def make(): ...\n").implementation
    assert str(caught.value) == (
        "a/model-settings.json: implementation: 'models.make' is no class (found: function); "
        "expected a class that extends mlserver.MLModel"
    )


def test_without_a_file_the_model_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^model 'x': implementation: 'no\.Where' cannot be imported: "):
        _ = ModelSettings(name="x", implementation="no.Where").implementation


@pytest.mark.parametrize(
    ("implementation", "library", "extra"),
    [
        ("mlserver_lightgbm.LightGBMModel", "lightgbm", "lightgbm"),
        ("mlserver_sklearn.SKLearnModel", "sklearn", "sklearn"),
        ("mlserver_xgboost.XGBoostModel", "xgboost", "xgboost"),
    ],
)
def test_a_runtime_without_its_library(
    monkeypatch: pytest.MonkeyPatch, implementation: str, library: str, extra: str
) -> None:
    package = implementation.partition(".")[0]
    monkeypatch.setitem(sys.modules, library, None)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    Path(f"site/{package}").mkdir(parents=True)
    Path(f"site/{package}/__init__.py").write_text(f"import {library}\n")
    monkeypatch.syspath_prepend(str(Path("site").absolute()))
    with pytest.raises(ConfigurationError) as caught:
        _ = ModelSettings(name="x", implementation=implementation).implementation
    assert str(caught.value) == (
        f"model 'x': implementation: '{implementation}' cannot be imported: "
        f"it needs the module '{library}', which is not installed; pip install \"mlserver[{extra}]\""
    )
