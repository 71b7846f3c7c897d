import logging
import pickle
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from mlserver.errors import CodecError, InferenceError, InvalidModelURI, Kind, MLServerError
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    TensorData,
)
from mlserver.types.convert import from_public
from mlserver_sklearn import SKLearnModel

DIGITS, LABELS = load_digits(return_X_y=True)
IRIS, KINDS = load_iris(return_X_y=True)
FOREST = RandomForestClassifier(5, random_state=0).fit(IRIS, KINDS)


def settings(path: Path | None = None, **parameters: Any) -> ModelSettings:
    given = ModelParameters(uri=str(path) if path else None, **parameters)
    return ModelSettings(name="m", implementation=SKLearnModel, parameters=given)


async def load(path: Path, estimator: Any, **parameters: Any) -> SKLearnModel:
    """The runtime around `estimator`, by way of a file."""
    joblib.dump(estimator, path / "model.joblib")
    model = SKLearnModel(settings(path, **parameters))
    assert await model.load() is True
    return model


def request(data: Any, shape: list[int], datatype: str = "FP64", *outputs: str, **values: Any) -> InferenceRequest:
    asked = [RequestOutput(name=name) for name in outputs] or None
    inputs = [RequestInput(name="any", shape=shape, datatype=datatype, data=data)]
    return InferenceRequest(inputs=inputs, outputs=asked, **values)


def iris(*outputs: str, rows: int = 3, **values: Any) -> InferenceRequest:
    return request(IRIS[:rows], [rows, 4], "FP64", *outputs, **values)


def arrays(response: InferenceResponse) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in from_public(response, model="m", version=None).outputs}


async def test_the_walk_through(tmp_path: Path) -> None:
    """An SVC on digits, a file named in `uri`, one FP32 row sent as a nested list, and the answer to the letter."""
    path = tmp_path / "mnist-svm.joblib"
    joblib.dump(SVC(gamma=0.001).fit(DIGITS[:898], LABELS[:898]), path)
    model = SKLearnModel(
        ModelSettings(
            name="mnist-svm",
            implementation=SKLearnModel,
            parameters=ModelParameters(uri=str(path), version="v0.1.0"),
        )
    )
    await model.load()
    response = await model.predict(request(DIGITS[898:899].tolist(), [1, 64], "FP32", id="1"))
    assert response.model_dump(exclude_none=False) == {
        "model_name": "mnist-svm",
        "model_version": "v0.1.0",
        "id": "1",
        "parameters": None,
        "outputs": [{"name": "predict", "shape": [1], "datatype": "INT64", "parameters": None, "data": [8]}],
    }


def test_row_wise() -> None:
    assert SKLearnModel(settings()).is_row_wise


async def test_several_outputs_in_the_order_asked(tmp_path: Path) -> None:
    model = await load(tmp_path, FOREST)
    response = await model.predict(iris("predict_proba", "predict"))
    assert [output.name for output in response.outputs] == ["predict_proba", "predict"]
    np.testing.assert_array_equal(arrays(response)["predict_proba"], FOREST.predict_proba(IRIS[:3]))
    assert [output.shape for output in response.outputs] == [[3, 3], [3]]


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (PCA(2).fit(IRIS), "transform"),
        (SVC().fit(IRIS, KINDS), "decision_function"),
        (make_pipeline(StandardScaler(), LogisticRegression()).fit(IRIS, KINDS), "predict_proba"),
    ],
)
async def test_outputs_are_the_methods(tmp_path: Path, estimator: Any, name: str) -> None:
    model = await load(tmp_path, estimator, extra={"predict_fn": name})
    for response in (await model.predict(iris()), await model.predict(iris(name))):
        np.testing.assert_array_equal(arrays(response)[name], getattr(estimator, name)(IRIS[:3]))


@pytest.mark.parametrize("name", ["transform", "fit", "__class__", "predict_proba"])
async def test_an_output_the_model_does_not_have(tmp_path: Path, name: str) -> None:
    model = await load(tmp_path, LinearRegression().fit(IRIS, KINDS))
    with pytest.raises(InferenceError, match=f"model 'm' has no output '{name}'; available: predict$") as caught:
        await model.predict(iris(name))
    assert caught.value.kind is Kind.INVALID


async def test_a_default_output_the_model_does_not_have_fails_the_load(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="available: predict, predict_proba"):
        await load(tmp_path, FOREST, extra={"predict_fn": "transform"})


@pytest.mark.parametrize(
    ("data", "shape", "datatype", "message"),
    [
        ([1, 2, 3], [1, 3], "FP32", r"expects input of shape \[rows, 4\], got \[1, 3\]"),
        ([1, 2, 3, 4], [4], "FP32", r"expects input of shape \[rows, 4\], got \[4\]"),
        ([1, 2, 3, 4], [1, 2, 2], "FP32", r"expects input of shape \[rows, 4\], got \[1, 2, 2\]"),
        ([1, 2, 3, None], [1, 4], "FP32", "contains NaN"),
        (["a", "b", "c", "d"], [1, 4], "BYTES", "could not convert string"),
        ([], [0, 4], "FP32", r"Found array with 0 sample"),
    ],
)
async def test_input_the_model_refuses(
    tmp_path: Path, data: Any, shape: list[int], datatype: str, message: str
) -> None:
    model = await load(tmp_path, SVC().fit(IRIS, KINDS))
    with pytest.raises(InferenceError, match=message):
        await model.predict(request(data, shape, datatype))


async def test_two_inputs_are_one_too_many(tmp_path: Path) -> None:
    model = await load(tmp_path, FOREST)
    two = iris()
    two.inputs *= 2
    with pytest.raises(CodecError, match="exactly one input, found 2: 'any', 'any'"):
        await model.predict(two)


class Broken(LinearRegression):  # type: ignore[misc]
    def predict(self, rows: Any) -> Any:
        raise ValueError("a mistake of the model")


async def test_other_errors_of_the_model_are_its_own(tmp_path: Path) -> None:
    model = await load(tmp_path, Broken().fit(IRIS, KINDS))
    with pytest.raises(ValueError, match="a mistake of the model"):
        await model.predict(iris())


async def test_text_in_and_text_out(tmp_path: Path) -> None:
    texts = ["good film", "bad film", "good day", "bad day"]
    model = await load(tmp_path, make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, ["+", "-", "+", "-"]))
    for payload in (
        request(["good", "bad"], [2], "BYTES"),
        request([b"good", b"bad"], [2], "BYTES"),
        request(["good", "bad"], [2, 1], "BYTES"),
    ):
        if payload.inputs[0].shape == [2, 1]:
            payload.inputs[0].parameters = Parameters(content_type="str")
        output = (await model.predict(payload)).outputs[0]
        assert output.data == ["+", "-"]
        assert (output.datatype, output.shape, output.parameters) == ("BYTES", [2], None)


async def test_numbers_in_an_array_of_objects(tmp_path: Path) -> None:
    model = await load(tmp_path, LogisticRegression(max_iter=500).fit(IRIS, KINDS))
    model._model.classes_ = model._model.classes_.astype(object)
    assert (await model.predict(iris())).outputs[0].datatype == "INT64"


async def test_a_sparse_result_becomes_dense(tmp_path: Path) -> None:
    encoder = OneHotEncoder().fit(KINDS.reshape(-1, 1))
    assert hasattr(encoder.transform([[1]]), "toarray")
    model = await load(tmp_path, encoder, extra={"predict_fn": "transform"})
    assert (await model.predict(request([1], [1, 1], "INT64"))).outputs[0].data == [0, 1, 0]


class Frame:
    """What of a data frame the runtime uses."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = list(columns)
        self._columns = columns

    def __getitem__(self, name: str) -> "Frame":
        return Frame({name: self._columns[name]})

    def to_numpy(self) -> Any:
        (values,) = self._columns.values()
        return np.asarray(values)


async def test_a_data_frame_becomes_an_output_per_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = ModuleType("pandas")
    pandas.DataFrame = Frame  # type: ignore[attr-defined]
    model = await load(tmp_path, FOREST)
    model._model.predict = lambda rows: Frame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pandas", pandas)
        outputs = (await model.predict(iris())).outputs
        with pytest.raises(InferenceError, match="output 'predict' is a data frame"):
            await model.predict(iris("predict", "predict_proba"))
    assert [(output.name, output.shape, output.data) for output in outputs] == [
        ("a", [3], TensorData([1, 2, 3])),
        ("b", [3], TensorData(["x", "y", "z"])),
    ]


async def test_a_content_type_asked_for_is_answered(tmp_path: Path) -> None:
    model = await load(tmp_path, FOREST)
    by_request = await model.predict(iris(parameters=Parameters(content_type="np")))
    asked = iris("predict", "predict_proba")
    assert asked.outputs is not None
    asked.outputs[0].parameters = Parameters(content_type="np")
    by_output = await model.predict(asked)
    for output in (by_request.outputs[0], by_output.outputs[0]):
        assert (output.shape, output.parameters) == ([3, 1], Parameters(content_type="np"))
    assert by_output.outputs[1].parameters is None
    model.outputs = [
        MetadataTensor(name="predict", datatype="INT64", shape=[-1, 1], parameters=Parameters(content_type="np"))
    ]
    assert (await model.predict(iris())).outputs[0].shape == [3, 1]


async def test_an_inputs_content_type_asks_for_nothing(tmp_path: Path) -> None:
    model = await load(tmp_path, FOREST)
    payload = iris()
    payload.inputs[0].parameters = Parameters(content_type="np")
    output = (await model.predict(payload)).outputs[0]
    assert (output.shape, output.parameters) == ([3], None)


async def test_metadata_that_the_model_knows(tmp_path: Path) -> None:
    metadata = await (await load(tmp_path, FOREST)).metadata()
    assert metadata.model_dump(include={"inputs", "outputs"}) == {
        "inputs": [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [-1]},
            {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 3]},
        ],
    }
    assert (await SKLearnModel(settings()).metadata()).inputs == []
    described = SKLearnModel(settings())
    described.inputs = [MetadataTensor(name="x", datatype="FP32", shape=[-1, 4])]
    assert (await described.metadata()).inputs == described.inputs


@pytest.mark.parametrize("name", ["model.joblib", "model.pickle", "model.pkl", "other.bin"])
async def test_files(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        pickle.dump(FOREST, file)
    model = SKLearnModel(settings(tmp_path / name if name == "other.bin" else tmp_path))
    assert await model.load()
    assert arrays(await model.predict(iris()))["predict"].tolist() == [0, 0, 0]


async def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MLServerError, match=r"expected one of model.joblib, model.pickle, model.pkl in"):
        await SKLearnModel(settings(tmp_path)).load()
    with pytest.raises(InvalidModelURI, match="no such file or folder"):
        await SKLearnModel(settings(tmp_path / "nothing")).load()
    for content in (b"", b"\x80\x04", b"no pickle", b"cnowhere\nat_all\n."):
        (tmp_path / "model.joblib").write_bytes(content)
        with pytest.raises(MLServerError, match=r"model.joblib cannot be unpickled: \w+Error") as caught:
            await SKLearnModel(settings(tmp_path)).load()
        assert caught.value.kind is Kind.INVALID


class Older:
    """Unpickles as what an older scikit-learn's estimators do: with a warning each."""

    n_features_in_ = 4

    def __setstate__(self, state: Any) -> None:
        for name in ("SVC", "Pipeline"):
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=name, current_sklearn_version="1.9", original_sklearn_version="1.0"
                ),
                stacklevel=1,
            )
        if state["loud"]:
            warnings.warn("something else", UserWarning, stacklevel=1)

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


async def test_another_version_is_one_line_of_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    older = Older()
    older.loud = False  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "mlserver"):
        model = await load(tmp_path, older)
    assert [record.getMessage() for record in caplog.records] == [
        "model 'm' was saved by scikit-learn 1.0 and runs on 1.9: its predictions may differ"
    ]
    assert (await model.predict(iris())).outputs[0].datatype == "FP64"


async def test_other_warnings_stay_warnings(tmp_path: Path) -> None:
    older = Older()
    older.loud = True  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match="something else"):
        await load(tmp_path, older)


async def test_columns_of_different_kinds(tmp_path: Path) -> None:
    rows = np.array([["1", "a"], ["2", "b"]], dtype=object)
    columns = ColumnTransformer([("kept", "passthrough", [0]), ("encoded", OneHotEncoder(), [1])])
    model = await load(tmp_path, columns.fit(rows), extra={"predict_fn": "transform"})
    output = (await model.predict(request(["1", "a"], [1, 2], "BYTES"))).outputs[0]
    assert output.shape == [1, 3]
