import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_iris

from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.errors import InferenceError, InvalidModelURI, Kind, MLServerError
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, RequestOutput
from mlserver.types.convert import from_public
from mlserver_xgboost import XGBoostModel

# Its later versions warn of the kinds of models that they deprecate.
xgboost.set_config(verbosity=0)
IRIS = load_iris(as_frame=True)
ROWS, KINDS = IRIS.data.to_numpy(dtype="f4"), IRIS.target.to_numpy()
SMALL: dict[str, Any] = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several would wait for each other longer than they work, on models this small."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def settings(path: Path) -> ModelSettings:
    return ModelSettings(name="m", implementation=XGBoostModel, parameters=ModelParameters(uri=str(path)))


async def load(path: Path, model: Any, name: str = "model.json") -> XGBoostModel:
    """The runtime around `model`, by way of a file."""
    model.save_model(path / name)
    runtime = XGBoostModel(settings(path))
    assert await runtime.load() is True
    return runtime


def request(rows: Any, *outputs: str, datatype: str = "FP32") -> InferenceRequest:
    inputs = [RequestInput(name="any", shape=list(np.shape(rows)), datatype=datatype, data=rows)]
    return InferenceRequest(inputs=inputs, outputs=[RequestOutput(name=name) for name in outputs] or None)


def columns(frame: Any) -> InferenceRequest:
    return InferenceRequest(inputs=[NumpyCodec.encode_input(name, frame[name].to_numpy()) for name in frame.columns])


def arrays(response: InferenceResponse) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in from_public(response, model="m", version=None).outputs}


def booster(objective: str, target: Any = KINDS, **parameters: Any) -> xgboost.Booster:
    return xgboost.train({"objective": objective, "nthread": 1, **parameters}, xgboost.DMatrix(ROWS, target), 3)


BINARY = KINDS > 1
CLASSIFIERS = [
    xgboost.XGBClassifier(**SMALL).fit(ROWS, KINDS),
    xgboost.XGBClassifier(**SMALL).fit(ROWS, BINARY),
    xgboost.XGBClassifier(**SMALL).fit(ROWS, np.stack([BINARY, ~BINARY], axis=1)),
    xgboost.XGBClassifier(early_stopping_rounds=1, **(SMALL | {"n_estimators": 50})).fit(
        ROWS[::2], BINARY[::2], eval_set=[(ROWS[1::2], BINARY[1::2])], verbose=False
    ),
]


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=["three classes", "two", "two labels", "stopped early"])
async def test_a_classifier_answers_as_it_did(tmp_path: Path, classifier: Any, name: str) -> None:
    model = await load(tmp_path, classifier, name)
    found = arrays(await model.predict(request(ROWS, "predict", "predict_proba")))
    np.testing.assert_array_equal(found["predict"], classifier.predict(ROWS))
    np.testing.assert_array_equal(found["predict_proba"], classifier.predict_proba(ROWS))
    assert found["predict"].dtype == np.int64
    assert list(arrays(await model.predict(request(ROWS[:2])))) == ["predict"]
    await answers_are_as_the_metadata_say(model)


REGRESSORS = [
    xgboost.XGBRegressor(**SMALL).fit(ROWS, ROWS[:, 0]),
    xgboost.XGBRegressor(**SMALL).fit(ROWS, ROWS[:, :2]),
    xgboost.XGBRegressor(booster="gblinear", n_estimators=3, n_jobs=1).fit(ROWS, ROWS[:, 0]),
    xgboost.XGBRegressor(booster="dart", **SMALL).fit(ROWS, ROWS[:, 0]),
    xgboost.XGBRanker(**SMALL).fit(ROWS, KINDS, group=[75, 75]),
]


@pytest.mark.parametrize("regressor", REGRESSORS, ids=["trees", "two targets", "linear", "dart", "ranker"])
async def test_what_is_no_classifier(tmp_path: Path, regressor: Any) -> None:
    model = await load(tmp_path, regressor)
    output = arrays(await model.predict(request(ROWS)))["predict"]
    np.testing.assert_array_equal(output, regressor.predict(ROWS))
    await answers_are_as_the_metadata_say(model)
    with pytest.raises(InferenceError, match=r"model 'm' has no output 'predict_proba'; available: predict$"):
        await model.predict(request(ROWS, "predict_proba"))


@pytest.mark.parametrize(
    "trained",
    [booster("multi:softprob", num_class=3), booster("multi:softmax", num_class=3), booster("binary:logistic", BINARY)],
    ids=["softprob", "softmax", "logistic"],
)
@pytest.mark.parametrize("form", ["json", "ubj"])
async def test_a_booster_answers_what_its_objective_gives(tmp_path: Path, trained: xgboost.Booster, form: str) -> None:
    (tmp_path / "model.bst").write_bytes(trained.save_raw(form))
    model = XGBoostModel(settings(tmp_path))
    await model.load()
    output = arrays(await model.predict(request(ROWS)))["predict"]
    np.testing.assert_array_equal(output, trained.predict(xgboost.DMatrix(ROWS)))
    await answers_are_as_the_metadata_say(model)


async def answers_are_as_the_metadata_say(model: XGBoostModel) -> None:
    metadata = await model.metadata()
    described = {tensor.name: tensor for tensor in metadata.outputs or []}
    for output in (await model.predict(request(ROWS[:2], *described))).outputs:
        wanted = described[output.name]
        assert (output.datatype, output.shape) == (wanted.datatype, [2, *wanted.shape[1:]])
        assert output.parameters is None


async def test_features_by_name(tmp_path: Path) -> None:
    classifier = xgboost.XGBClassifier(**SMALL).fit(IRIS.data, KINDS)
    model = await load(tmp_path, classifier)
    inputs = (await model.metadata()).inputs or []
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in inputs] == [
        (name, "FP32", [-1, 1]) for name in IRIS.data.columns
    ]
    backwards = IRIS.data[IRIS.data.columns[::-1]]
    expected = classifier.predict(IRIS.data)
    for payload in (columns(IRIS.data), columns(backwards), PandasCodec.encode_request(backwards), request(ROWS)):
        np.testing.assert_array_equal(
            NumpyCodec.decode_output((await model.predict(payload)).outputs[0]).ravel(), expected
        )
    for wrong, message in (
        (columns(IRIS.data.iloc[:, :3]), r"missing: 'petal width \(cm\)'$"),
        (columns(IRIS.data.assign(more=1)), "unknown: 'more'$"),
        (PandasCodec.encode_request(IRIS.data.assign(more=1)), "unknown: 'more'$"),
    ):
        with pytest.raises(InferenceError, match=message):
            await model.predict(wrong)


async def test_metadata_without_names(tmp_path: Path) -> None:
    metadata = await (await load(tmp_path, CLASSIFIERS[1])).metadata()
    assert metadata.model_dump(include={"inputs", "outputs"}) == {
        "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [-1]},
            {"name": "predict_proba", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }
    assert (await XGBoostModel(settings(tmp_path)).metadata()).inputs == []


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64"])
async def test_any_numbers(tmp_path: Path, datatype: str) -> None:
    model = await load(tmp_path, CLASSIFIERS[0])
    output = arrays(await model.predict(request([[1, 1, 1, 0]], datatype=datatype)))["predict"]
    np.testing.assert_array_equal(output, CLASSIFIERS[0].predict(np.array([[1.0, 1.0, 1.0, 0.0]])))


async def test_missing_values(tmp_path: Path) -> None:
    model = await load(tmp_path, CLASSIFIERS[0])
    output = arrays(await model.predict(request([[None, 3, 1, None]])))["predict"]
    np.testing.assert_array_equal(output, CLASSIFIERS[0].predict(np.array([[np.nan, 3, 1, np.nan]])))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (request(ROWS[:, :3]), r"model 'm' expects input of shape \[rows, 4\], got \[150, 3\]"),
        (request(ROWS[0]), r"expects input of shape \[rows, 4\], got \[4\]"),
        (request([["a", "b", "c", "d"]], datatype="BYTES"), "expected numbers, found text"),
        (request(ROWS, "predict_contribs"), "no output 'predict_contribs'; available: predict, predict_proba"),
    ],
)
async def test_input_the_model_refuses(tmp_path: Path, payload: InferenceRequest, message: str) -> None:
    model = await load(tmp_path, CLASSIFIERS[0])
    with pytest.raises(InferenceError, match=message) as caught:
        await model.predict(payload)
    assert caught.value.kind is Kind.INVALID


async def test_a_content_type_asked_for(tmp_path: Path) -> None:
    model = await load(tmp_path, CLASSIFIERS[0])
    payload = request(ROWS[:2])
    payload.parameters = Parameters(content_type="np")
    output = (await model.predict(payload)).outputs[0]
    assert (output.shape, output.parameters) == ([2, 1], Parameters(content_type="np"))


async def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(MLServerError, match=r"expected one of model.bst, model.json, model.ubj in"):
        await XGBoostModel(settings(tmp_path)).load()
    with pytest.raises(InvalidModelURI, match="no such file or folder"):
        await XGBoostModel(settings(tmp_path / "nothing")).load()
    for content in (b"{", b"\x80\x04", b"", b'{"learner": 5}'):
        (tmp_path / "model.json").write_bytes(content)
        with pytest.raises(MLServerError, match=r"model.json is no model of XGBoost's: .") as caught:
            await XGBoostModel(settings(tmp_path)).load()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "expected"), [("3", "3"), ("2,1", "2"), ("", "0"), ("many", "0")])
async def test_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    model = await load(tmp_path, CLASSIFIERS[0])
    assert json.loads(model._model.save_config())["learner"]["generic_param"]["nthread"] == expected


def test_row_wise(tmp_path: Path) -> None:
    assert XGBoostModel(settings(tmp_path)).is_row_wise
