"""scikit-learn models that know their features by name, and what models say of themselves."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
from mlserver.engine.hosted import HostedModel
from mlserver.errors import InferenceError, Kind
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, RequestOutput
from mlserver.types.convert import request_from_public, response_to_public
from mlserver_sklearn import SKLearnModel
from tests.runtimes.test_sklearn import arrays, load, request

PEOPLE = pd.DataFrame(
    {
        "age": [20.0, 30.0, math.nan, 50.0, 25.0, 61.0],
        "city": ["Rome", "Oslo", "Rome", math.nan, "Bonn", "Oslo"],
        "rooms": [1, 2, 3, 4, 5, 6],
    }
)
BUYS = np.array(["no", "yes", "no", "yes", "no", "yes"])
IRIS = load_iris(as_frame=True)
TEXTS = ["good", "bad", "good day"]


def people() -> Any:
    """A pipeline of columns of mixed types, fitted on a data frame."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "rooms"]),
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(PEOPLE, BUYS)


def columns(frame: pd.DataFrame, *names: str) -> list[RequestInput]:
    """An input per column as a client would send it, without a content type."""
    inputs = []
    for name in names or frame.columns:
        if frame[name].dtype.kind == "O":
            texts = [None if cell is math.nan or cell != cell else cell for cell in frame[name]]
            inputs.append(RequestInput(name=name, shape=[len(frame)], datatype="BYTES", data=texts))
        else:
            inputs.append(NumpyCodec.encode_input(name, frame[name].to_numpy()))
            inputs[-1].parameters = None
    return inputs


async def through_the_engine(model: SKLearnModel, payload: InferenceRequest) -> InferenceResponse:
    """As a door would ask."""
    runner = await HostedModel.load(model.settings)
    return response_to_public(await runner.infer(request_from_public(payload, "m", None)))


@pytest.mark.parametrize(
    "payload",
    [
        InferenceRequest(inputs=columns(PEOPLE)),
        InferenceRequest(inputs=columns(PEOPLE, "rooms", "city", "age")),
        InferenceRequest(inputs=columns(PEOPLE.assign(extra=1))),
        PandasCodec.encode_request(PEOPLE),
        PandasCodec.encode_request(PEOPLE, use_bytes=False),
        PandasCodec.encode_request(PEOPLE[["rooms", "age", "city"]]),
        InferenceRequest(inputs=columns(PEOPLE), parameters=Parameters(content_type="pd")),
    ],
    ids=["columns", "other order", "one more", "pd", "pd as text", "pd in other order", "pd without columns' types"],
)
async def test_columns_of_mixed_types(tmp_path: Path, payload: InferenceRequest) -> None:
    pipeline = people()
    model = await load(tmp_path, pipeline)
    payload.outputs = [RequestOutput(name="predict"), RequestOutput(name="predict_proba")]
    for response in (await model.predict(payload), await through_the_engine(model, payload)):
        assert StringCodec.decode_output(response.outputs[0]) == pipeline.predict(PEOPLE).tolist()
        np.testing.assert_allclose(NumpyCodec.decode_output(response.outputs[1]), pipeline.predict_proba(PEOPLE))


@pytest.mark.parametrize("as_bytes", [False, True])
async def test_rows_of_mixed_types(tmp_path: Path, as_bytes: bool) -> None:
    """One tensor of text: numbers in it are read as such by the pipeline."""
    pipeline = people()
    model = await load(tmp_path, pipeline)
    rows: list[Any] = ["33", "Rome", "2", "44", "Oslo", "5"]
    data = [row.encode() for row in rows] if as_bytes else rows
    output = (await model.predict(request(data, [2, 3], "BYTES"))).outputs[0]
    expected = pd.DataFrame({"age": [33, 44], "city": ["Rome", "Oslo"], "rooms": [2, 5]})
    assert output.data == pipeline.predict(expected).tolist()


async def test_one_tensor_for_a_model_that_knows_names(tmp_path: Path) -> None:
    """Without scikit-learn's warning that the names are missing, which is an error here."""
    forest = RandomForestClassifier(5, random_state=0).fit(IRIS.data, IRIS.target)
    model = await load(tmp_path, forest)
    rows = IRIS.data.to_numpy()
    for datatype in ("FP32", "FP64"):
        response = await model.predict(request(rows, list(rows.shape), datatype))
        np.testing.assert_array_equal(arrays(response)["predict"], forest.predict(IRIS.data))


async def test_one_feature_with_a_name(tmp_path: Path) -> None:
    encoder = OneHotEncoder(sparse_output=False).fit(PEOPLE[["city"]].dropna())
    model = await load(tmp_path, encoder, extra={"predict_fn": "transform"})
    payload = InferenceRequest(inputs=[StringCodec.encode_input("city", ["Oslo", "Rome"])])
    assert (await model.predict(payload)).outputs[0].data == [0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (InferenceRequest(inputs=columns(PEOPLE, "age", "city")), "features as inputs by name; missing: 'rooms'"),
        (PandasCodec.encode_request(PEOPLE[["age"]]), "missing: 'city', 'rooms'"),
        (InferenceRequest(inputs=columns(PEOPLE.assign(city="Mars"))), r"Found unknown categories .*'Mars'"),
        (InferenceRequest(inputs=columns(PEOPLE.assign(age="old"))), r"could not convert string|non-numeric"),
        (request([1, 2], [1, 2]), r"expects input of shape \[rows, 3\], got \[1, 2\]"),
    ],
    ids=["too few", "pd with too few", "unknown category", "text for a number", "too narrow"],
)  # fmt: skip
async def test_input_the_model_refuses(tmp_path: Path, payload: InferenceRequest, message: str) -> None:
    model = await load(tmp_path, people())
    with pytest.raises(InferenceError, match=message) as caught:
        await model.predict(payload)
    assert caught.value.kind is Kind.INVALID


async def test_a_column_too_many_for_an_estimator(tmp_path: Path) -> None:
    model = await load(tmp_path, LinearRegression().fit(PEOPLE[["rooms"]], PEOPLE["rooms"]))
    with pytest.raises(InferenceError, match="unseen at fit time"):
        await model.predict(InferenceRequest(inputs=columns(PEOPLE[["rooms"]].assign(more=1))))


async def test_names_of_inputs_mean_nothing_to_a_model_without(tmp_path: Path) -> None:
    model = await load(tmp_path, LinearRegression().fit(PEOPLE[["rooms"]].to_numpy(), PEOPLE["rooms"]))
    assert (await model.predict(InferenceRequest(inputs=columns(PEOPLE, "rooms")[:1]))) is not None


async def test_many_rows_of_nothing(tmp_path: Path) -> None:
    """Which costs a caller nothing, and must cost the model nothing."""
    model = await load(tmp_path, make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(TEXTS, [1, 0, 1]))
    with pytest.raises(InferenceError, match=r"got \[1099511627776, 0\]"):
        await model.predict(request([], [2**40, 0], "BYTES"))


@pytest.mark.parametrize("kind", [XGBClassifier, LGBMClassifier])
async def test_estimators_of_other_libraries(tmp_path: Path, kind: Any) -> None:
    options = {"n_estimators": 2, "n_jobs": 1, "verbosity": 0 if kind is XGBClassifier else -1}
    classifier = kind(**options).fit(IRIS.data.set_axis(list("abcd"), axis=1), IRIS.target)
    model = await load(tmp_path, classifier)
    response = await model.predict(request(IRIS.data.to_numpy()[:9], [9, 4], "FP64", "predict", "predict_proba"))
    assert [output.shape for output in response.outputs] == [[9], [9, 3]]
    with pytest.raises(InferenceError, match=r"(?i)string|dtype") as caught:
        await model.predict(request(["x"] * 4, [1, 4], "BYTES"))
    assert "Stack trace" not in str(caught.value)


class Picky(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A step of a user's own."""

    def fit(self, rows: Any, y: Any = None) -> "Picky":
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows: Any) -> Any:
        raise ValueError("a mistake of the step")


async def test_errors_of_a_step_of_the_models_own_are_its_own(tmp_path: Path) -> None:
    class Passing(Picky):
        def transform(self, rows: Any) -> Any:
            return rows

    pipeline = make_pipeline(Passing(), LinearRegression()).fit(IRIS.data.to_numpy(), IRIS.target)
    pipeline.steps[0] = ("picky", Picky().fit(IRIS.data))
    model = await load(tmp_path, pipeline)
    with pytest.raises(ValueError, match="a mistake of the step"):
        await model.predict(request(IRIS.data.to_numpy()[:1], [1, 4]))


async def test_several_targets_keep_the_rows_first(tmp_path: Path) -> None:
    targets = np.stack([IRIS.target, IRIS.target[::-1]], axis=1)
    forest = RandomForestClassifier(5, random_state=0).fit(IRIS.data.to_numpy(), targets)
    model = await load(tmp_path, forest)
    response = await model.predict(request(IRIS.data.to_numpy()[:4], [4, 4], "FP64", "predict", "predict_proba"))
    assert [output.shape for output in response.outputs] == [[4, 2], [4, 2, 3]]
    expected = np.stack(forest.predict_proba(IRIS.data.to_numpy()[:4]), axis=1)
    np.testing.assert_array_equal(arrays(response)["predict_proba"], expected)


async def test_a_data_frame_becomes_an_output_per_column(tmp_path: Path) -> None:
    scaler = StandardScaler().set_output(transform="pandas").fit(IRIS.data)
    model = await load(tmp_path, scaler, extra={"predict_fn": "transform"})
    outputs = (await model.predict(InferenceRequest(inputs=columns(IRIS.data)))).outputs
    assert [output.name for output in outputs] == IRIS.data.columns.tolist()
    assert [output.shape for output in outputs] == [[150]] * 4


ROWS, KINDS = IRIS.data.to_numpy(), IRIS.target.to_numpy()
SPLIT = ColumnTransformer([("a", OneHotEncoder(), [1]), ("b", "passthrough", slice(0, 1)), ("c", "drop", [2])])
FORMS: list[tuple[Any, Any, Any]] = [
    (
        people(),
        [("age", "FP64", [-1, 1]), ("city", "BYTES", [-1, 1]), ("rooms", "FP64", [-1, 1])],
        [("predict", "BYTES", [-1]), ("predict_proba", "FP64", [-1, 2]), ("decision_function", "FP64", [-1])],
    ),
    (
        SVC().fit(ROWS, KINDS),
        [("input-0", "FP64", [-1, 4])],
        [("predict", "INT64", [-1]), ("decision_function", "FP64", [-1, 3])],
    ),
    (SVC(decision_function_shape="ovo").fit(ROWS, KINDS), None, [None, ("decision_function", "FP64", [-1, 3])]),
    (LinearRegression().fit(ROWS, KINDS), None, [("predict", "FP64", [-1])]),
    (RandomForestRegressor(2).fit(ROWS, ROWS[:, :2]), None, [("predict", "FP64", [-1, 2])]),
    (RandomForestClassifier(2).fit(ROWS, np.stack([KINDS, KINDS], 1)), None, [("predict", "INT64", [-1, 2])]),
    (KMeans(2, n_init=1).fit(ROWS), None, [("predict", "INT32", [-1]), ("transform", "FP64", [-1, 2])]),
    (IsolationForest(n_estimators=2).fit(ROWS), None, [("predict", "INT64", [-1]), None]),
    (PCA(2).fit(ROWS), None, [("transform", "FP64", [-1, 2])]),
    (
        GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2).fit(ROWS, KINDS),
        [("input-0", "FP64", [-1, 4])],
        [("predict", "INT64", [-1]), ("predict_proba", "FP64", [-1, 3]), ("decision_function", "FP64", [-1, 3])],
    ),
    (
        make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(TEXTS, [1, 0, 1]),
        [("input-0", "BYTES", [-1])],
        [("predict", "INT64", [-1]), ("predict_proba", "FP64", [-1, 2])],
    ),
    (
        make_pipeline(OrdinalEncoder(), LinearRegression()).fit(np.array([["a"], ["b"]], dtype=object), [1, 2]),
        [("input-0", "BYTES", [-1, 1])],
        None,
    ),
    (
        SPLIT.fit(PEOPLE),
        [("age", "FP64", [-1, 1]), ("city", "BYTES", [-1, 1]), ("rooms", "FP64", [-1, 1])],
        [("transform", "FP64", [-1, 5])],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("estimator", "inputs", "outputs"), FORMS, ids=lambda value: type(value).__name__)
async def test_metadata(tmp_path: Path, estimator: Any, inputs: list[Any] | None, outputs: list[Any] | None) -> None:
    metadata = await (await load(tmp_path, estimator)).metadata() if hasattr(estimator, "predict") else None
    if metadata is None:
        metadata = await (await load(tmp_path, estimator, extra={"predict_fn": "transform"})).metadata()
    for found, expected in ((metadata.inputs, inputs), (metadata.outputs, outputs)):
        forms = [(tensor.name, tensor.datatype, tensor.shape) for tensor in found or []]
        if expected is not None:
            assert [form if wanted else None for form, wanted in zip(forms, expected, strict=True)] == expected


@pytest.mark.parametrize(("estimator", "inputs", "outputs"), FORMS, ids=lambda value: type(value).__name__)
async def test_answers_are_as_the_metadata_say(tmp_path: Path, estimator: Any, inputs: Any, outputs: Any) -> None:
    method = "predict" if hasattr(estimator, "predict") else "transform"
    model = await load(tmp_path, estimator, extra={"predict_fn": method})
    metadata = await model.metadata()
    described = {tensor.name: tensor for tensor in metadata.outputs or []}
    given = [example(tensor.name, tensor.datatype, tensor.shape) for tensor in metadata.inputs or []]
    asked = [RequestOutput(name=name) for name in described]
    for output in (await model.predict(InferenceRequest(inputs=given, outputs=asked))).outputs:
        wanted = described[output.name]
        assert output.datatype == wanted.datatype
        assert len(output.shape) == len(wanted.shape)
        assert all(there in (size, -1) for size, there in zip(output.shape, wanted.shape, strict=True))


def example(name: str, datatype: str, shape: list[int]) -> RequestInput:
    """Two rows that every model above takes."""
    shape = [2, *shape[1:]]
    texts = {"city": ["Rome", "Oslo"], "input-0": ["a", "b"]}.get(name, [])
    data = texts if datatype == "BYTES" else np.ones(shape)
    return RequestInput(name=name, shape=shape, datatype=datatype, data=data)


async def test_metadata_before_the_load() -> None:
    settings = ModelSettings(name="m", implementation=SKLearnModel, parameters=ModelParameters(uri="x"))
    assert (await SKLearnModel(settings).metadata()).inputs == []
