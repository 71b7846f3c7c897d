import logging
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.datasets import load_iris

from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.errors import InferenceError, InvalidModelURI, Kind, MLServerError
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput, RequestOutput
from mlserver.types.convert import from_public
from mlserver_lightgbm import LightGBMModel

IRIS = load_iris(as_frame=True)
ROWS, KINDS = IRIS.data.to_numpy(), IRIS.target.to_numpy()


def trained(objective: str, target: Any = KINDS, rows: Any = ROWS, **parameters: Any) -> lightgbm.Booster:
    given = {"objective": objective, "verbose": -1, "num_leaves": 4, "num_threads": 1, **parameters}
    return lightgbm.train(given, lightgbm.Dataset(rows, target), 3)


REGRESSION = trained("regression", ROWS[:, 0])


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several would wait for each other longer than they work, on models this small."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def settings(path: Path) -> ModelSettings:
    return ModelSettings(name="m", implementation=LightGBMModel, parameters=ModelParameters(uri=str(path)))


async def load(path: Path, booster: lightgbm.Booster, name: str = "model.bst") -> LightGBMModel:
    """The runtime around `booster`, by way of a file."""
    booster.save_model(path / name)
    model = LightGBMModel(settings(path))
    assert await model.load() is True
    return model


def request(rows: Any, *outputs: str, datatype: str = "FP64") -> InferenceRequest:
    inputs = [RequestInput(name="any", shape=list(np.shape(rows)), datatype=datatype, data=rows)]
    return InferenceRequest(inputs=inputs, outputs=[RequestOutput(name=name) for name in outputs] or None)


def columns(frame: Any) -> InferenceRequest:
    return InferenceRequest(inputs=[NumpyCodec.encode_input(name, frame[name].to_numpy()) for name in frame.columns])


def arrays(response: InferenceResponse) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in from_public(response, model="m", version=None).outputs}


@pytest.mark.parametrize(
    ("booster", "shape"),
    [
        (REGRESSION, [-1]),
        (trained("binary", KINDS > 1), [-1]),
        (trained("multiclass", num_class=3), [-1, 3]),
        (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1).fit(ROWS, KINDS).booster_, [-1, 3]),
    ],
    ids=["regression", "binary", "multiclass", "classifier"],
)
async def test_it_answers_as_it_did(tmp_path: Path, booster: lightgbm.Booster, shape: list[int]) -> None:
    model = await load(tmp_path, booster)
    response = await model.predict(request(ROWS))
    np.testing.assert_array_equal(arrays(response)["predict"], booster.predict(ROWS))
    assert response.outputs[0].parameters is None
    metadata = await model.metadata()
    assert metadata.model_dump(include={"inputs", "outputs"}) == {
        "inputs": [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": "predict", "datatype": "FP64", "shape": shape}],
    }
    assert [output.shape[1:] for output in response.outputs] == [shape[1:]]


async def test_there_is_one_output_whatever_is_asked_for(tmp_path: Path) -> None:
    model = await load(tmp_path, REGRESSION)
    response = await model.predict(request(ROWS[:2], "predict"))
    np.testing.assert_array_equal(arrays(response)["predict"], REGRESSION.predict(ROWS[:2]))
    response = await model.predict(request(ROWS[:2], "scores"))
    assert [output.shape for output in response.outputs] == [[2]]


async def test_features_by_name(tmp_path: Path) -> None:
    frame = IRIS.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    booster = trained("multiclass", rows=frame, num_class=3)
    model = await load(tmp_path, booster)
    inputs = (await model.metadata()).inputs or []
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in inputs] == [
        (name, "FP64", [-1, 1]) for name in frame.columns
    ]
    backwards = frame[frame.columns[::-1]]
    for payload in (columns(frame), columns(backwards), PandasCodec.encode_request(backwards), request(ROWS)):
        answer = NumpyCodec.decode_output((await model.predict(payload)).outputs[0])
        np.testing.assert_array_equal(answer, booster.predict(frame))
    with pytest.raises(InferenceError, match="expects its features as inputs by name; missing: 'petal_width'"):
        await model.predict(columns(frame.iloc[:, :3]))


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64"])
async def test_any_numbers(tmp_path: Path, datatype: str) -> None:
    model = await load(tmp_path, REGRESSION)
    output = arrays(await model.predict(request([[1, 1, 1, 0]], datatype=datatype)))["predict"]
    np.testing.assert_array_equal(output, REGRESSION.predict(np.array([[1.0, 1.0, 1.0, 0.0]])))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (request(ROWS[:, :3]), r"model 'm' expects input of shape \[rows, 4\], got \[150, 3\]"),
        (request(ROWS[0]), r"expects input of shape \[rows, 4\], got \[4\]"),
        (request([["a", "b", "c", "d"]], datatype="BYTES"), "expected numbers, found text"),
        (request([[1, "b", None, 2]], datatype="BYTES"), "expected numbers: could not convert"),
    ],
)
async def test_input_the_model_refuses(tmp_path: Path, payload: InferenceRequest, message: str) -> None:
    model = await load(tmp_path, REGRESSION)
    with pytest.raises(InferenceError, match=message) as caught:
        await model.predict(payload)
    assert caught.value.kind is Kind.INVALID


async def test_files_that_are_no_models(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MLServerError, match=r"expected one of model.bst, model.txt in"):
        await LightGBMModel(settings(tmp_path)).load()
    with pytest.raises(InvalidModelURI, match="no such file or folder"):
        await LightGBMModel(settings(tmp_path / "nothing")).load()
    for content in (b"{", b"", b"\x80\x04"):
        (tmp_path / "model.bst").write_bytes(content)
        with pytest.raises(MLServerError, match=r"model.bst is no model of LightGBM's: ."):
            await LightGBMModel(settings(tmp_path)).load()
    assert capfd.readouterr().out == "", "its words go to the log"


@pytest.mark.parametrize(("given", "expected"), [("3", {"num_threads": 3}), ("2,1", {"num_threads": 2}), ("0", {})])
async def test_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: dict[str, int]) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert (await load(tmp_path, REGRESSION))._options == expected


async def test_other_names_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mlserver"):
        assert (await load(tmp_path, REGRESSION, "model.txt")).is_row_wise
