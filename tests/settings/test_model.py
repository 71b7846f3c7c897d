"""ModelSettings and ModelParameters."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlserver.settings import ModelParameters, ModelSettings

pytestmark = pytest.mark.usefixtures("here")

SEED = {
    "name": "mnist-svm",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./mnist-svm.joblib", "version": "v0.1.0"},
}


class Model:
    """Stands for a runtime."""


def test_defaults() -> None:
    assert ModelSettings(implementation="a.B").model_dump(by_alias=True) == {
        "implementation": "a.B",
        "name": "",
        "platform": "",
        "versions": [],
        "inputs": [],
        "outputs": [],
        "max_batch_size": 0,
        "max_batch_time": 0.0,
        "parameters": None,
        "cache_enabled": False,
        "parallel_workers": None,
        "warm_workers": False,
        "row_wise": None,
        "max_concurrency": 64,
        "max_workers": None,
        "predict_timeout_seconds": None,
        "idempotent": False,
        "warmup_request": None,
        "response_cache_bytes": 64 * 1024 * 1024,
        "kafka_group_id": None,
        "kafka_input_topics": [],
        "kafka_output_topic": None,
    }
    assert ModelParameters().model_dump() == {
        "uri": None,
        "version": None,
        "environment_path": None,
        "environment_tarball": None,
        "inference_pool_gid": None,
        "format": None,
        "content_type": None,
        "autogenerate_inference_pool_gid": False,
        "extra": {},
    }


def test_the_seeds_model_settings() -> None:
    Path("model-settings.json").write_text(json.dumps(SEED))
    found = ModelSettings.parse_file("model-settings.json")
    assert (found.name, found.version, found._source) == ("mnist-svm", "v0.1.0", "model-settings.json")
    assert found.implementation_ == "mlserver_sklearn.SKLearnModel"
    assert found.dict() == SEED
    assert json.loads(found.json()) == SEED


def test_version_is_that_of_the_parameters() -> None:
    assert ModelSettings(implementation="a.B").version is None
    assert ModelSettings(implementation="a.B", parameters={"version": ""}).version is None
    assert ModelSettings(implementation="a.B", parameters=ModelParameters(version="1")).version == "1"


def test_unknown_parameters_are_kept() -> None:
    found = ModelParameters(model_type="x", threads=3)
    assert found.model_dump(exclude_unset=True) == {"model_type": "x", "threads": 3}
    assert found.threads == 3  # type: ignore[attr-defined]
    assert ModelParameters(**found.dict()) == found


def test_the_environment_fills_parameters_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSERVER_MODEL_URI", "/env")
    monkeypatch.setenv("MLSERVER_MODEL_VERSION", "v1")
    monkeypatch.setenv("MLSERVER_MODEL_IMPLEMENTATION", "env.Model")
    found = ModelSettings(name="x", parameters={"uri": "./given"})
    assert found.parameters is not None
    assert (found.parameters.uri, found.version, found.implementation_) == ("./given", "v1", "env.Model")


def test_dotenv_names_of_the_model_are_no_parameters() -> None:
    Path(".env").write_text("MLSERVER_MODEL_NAME=x\nMLSERVER_MODEL_FOO=1\n")
    assert ModelParameters().model_dump(exclude_unset=True) == {}


def test_pool_identifier_is_generated_on_demand() -> None:
    assert ModelParameters().inference_pool_gid is None
    generated = ModelParameters(autogenerate_inference_pool_gid=True).inference_pool_gid
    assert generated is not None
    assert uuid.UUID(generated).version == 4
    assert ModelParameters(autogenerate_inference_pool_gid=True, inference_pool_gid="g").inference_pool_gid == "g"


@pytest.mark.parametrize("name", ["a", "mnist-svm", "v0.1.0", "1", "A_b.c-9", "x" * 128])
def test_names(name: str) -> None:
    assert ModelSettings(name=name, implementation="a.B", parameters={"version": name}).name == name


@pytest.mark.parametrize(
    "name",
    ["..", "a..b", "../a", "/a", "a/b", ".a", "-a", "_a", "a b", "a\n", "a\\b", "ä", "x" * 129, "a:b", "a?", "%41"],
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError, match="expected 1 to 128 letters"):
        ModelSettings(name=name, implementation="a.B")
    with pytest.raises(ValidationError, match="expected 1 to 128 letters"):
        ModelParameters(version=name)


def test_class_in_code() -> None:
    found = ModelSettings(name="x", implementation=Model)
    assert found.implementation_ == "tests.settings.test_model.Model"
    assert found.implementation is Model
    assert ModelSettings(**found.dict()).implementation is Model


def test_class_that_cannot_be_imported() -> None:
    class Local:
        pass

    found = ModelSettings(name="x", implementation=Local)
    assert found.implementation is Local
    found.implementation = Model
    assert (found.implementation, found.implementation_) == (Model, "tests.settings.test_model.Model")


@pytest.mark.parametrize("given", [{"max_batch_size": -1}, {"max_batch_time": -1}, {"parameters": {"version": 1}}, {}])
def test_what_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelSettings(**({"implementation": "a.B", **given} if given else {}))
