"""A `uri` that leads somewhere else than to a file of this machine."""

import socket

import pytest

from mlserver.errors import Kind, MLServerError
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver_lightgbm import LightGBMModel
from mlserver_sklearn import SKLearnModel
from mlserver_xgboost import XGBoostModel


@pytest.mark.parametrize("runtime", [SKLearnModel, XGBoostModel, LightGBMModel])
async def test_an_address_is_refused_by_name_and_never_asked(runtime: type[MLModel]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0)
        uri = f"http://127.0.0.1:{canary.getsockname()[1]}/model.joblib"
        settings = ModelSettings(name="m", implementation=runtime, parameters=ModelParameters(uri=uri))
        with pytest.raises(
            MLServerError, match=f"model 'm': expected a file on this machine as `uri`, found {uri}"
        ) as caught:
            await runtime(settings).load()
        assert caught.value.kind is Kind.INVALID
        with pytest.raises(BlockingIOError):
            canary.accept()
