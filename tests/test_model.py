from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from mlserver.codecs import CodecNotFound, NumpyCodec, NumpyRequestCodec, StringCodec
from mlserver.context import model_context, model_name_var, model_version_var
from mlserver.errors import Kind, NotImplementedByModel
from mlserver.model import MLModel
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
)


def settings(**values: Any) -> ModelSettings:
    return ModelSettings(name="m", implementation=MLModel, **values)


def request(**values: Any) -> InferenceRequest:
    inputs = [RequestInput(name="x", shape=[2], datatype="BYTES", data=["a", "b"])]
    return InferenceRequest(inputs=inputs, **values)


def described(content_type: str) -> list[MetadataTensor]:
    parameters = Parameters(content_type=content_type)
    return [MetadataTensor(name="x", datatype="BYTES", shape=[-1], parameters=parameters)]


class Echo(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[])


class Blocking(MLModel):
    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[])


async def test_a_model_that_overrides_nothing() -> None:
    model = MLModel(settings(parameters=ModelParameters(version="v1")))
    assert (model.name, model.version, model.ready, model.is_row_wise) == ("m", "v1", False, False)
    assert model.settings is model._settings
    assert await model.load() is True
    assert await model.unload() is True
    with pytest.raises(NotImplementedByModel, match="model 'm' does not implement predict") as caught:
        await model.predict(request())
    assert caught.value.kind is Kind.NOT_IMPLEMENTED
    assert MLModel(settings()).version is None


async def test_metadata() -> None:
    model = MLModel(settings(platform="p", parameters=ModelParameters(version="v1")))
    model.inputs = described("str")
    assert (await model.metadata()).model_dump() == {
        "name": "m",
        "versions": ["v1"],
        "platform": "p",
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "str"}}],
        "outputs": [],
    }
    assert (await MLModel(settings(versions=["lib 1.0"])).metadata()).versions == ["lib 1.0"]


@pytest.mark.parametrize("kind", [Echo, Blocking])
async def test_a_stream_is_answered_for_its_first_request(kind: type[MLModel]) -> None:
    async def requests() -> AsyncIterator[InferenceRequest]:
        yield request(id="1")
        yield request(id="2")

    answers = [answer.id async for answer in kind(settings()).predict_stream(requests())]
    assert answers == ["1"]


class RowWise(MLModel):
    row_wise = True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[])


class Inherits(RowWise):
    pass


class Overrides(RowWise):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=[])


class Declares(Overrides):
    row_wise = True


class Mixin:
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return InferenceResponse(model_name="mixin", outputs=[])


class Mixed(Mixin, RowWise):
    pass


@pytest.mark.parametrize(
    ("kind", "declared"),
    [(MLModel, False), (RowWise, True), (Inherits, True), (Overrides, False), (Declares, True), (Mixed, False)],
)
def test_row_wise_is_declared_for_one_predict(kind: type[MLModel], declared: bool) -> None:
    assert kind(settings()).is_row_wise is declared
    assert kind(settings(row_wise=True)).is_row_wise is True
    assert kind(settings(row_wise=False)).is_row_wise is False


def test_decode() -> None:
    model = MLModel(settings())
    value = request().inputs[0]
    assert model.decode(value) is value.data
    assert model.decode(value, default_codec=StringCodec) == ["a", "b"]
    model.inputs = described("np")
    assert isinstance(model.decode(value, default_codec=StringCodec), np.ndarray)


def test_decode_request() -> None:
    model = MLModel(settings())
    value = request()
    assert model.decode_request(value) is value
    assert isinstance(model.decode_request(value, default_codec=NumpyRequestCodec), np.ndarray)
    assert model.decode_request(request(parameters=Parameters(content_type="str"))) == ["a", "b"]
    configured = MLModel(settings(parameters=ModelParameters(content_type="str")))
    assert configured.decode_request(request(), default_codec=NumpyRequestCodec) == ["a", "b"]


def test_encode() -> None:
    model = MLModel(settings())
    asked = RequestOutput(name="x")
    assert model.encode(np.zeros(2), asked).shape == [2, 1]
    assert model.encode(5, asked, default_codec=NumpyCodec).data == [5]
    with pytest.raises(CodecNotFound, match=r"no codec can encode builtins\.int as output 'x'"):
        model.encode(5, asked)
    model.outputs = described("str")
    assert model.outputs == described("str")
    assert model.encode(np.array(["a"]), asked).parameters == Parameters(content_type="str")


def test_encode_response() -> None:
    model = MLModel(settings(parameters=ModelParameters(version="v1")))
    assert model.encode_response(["a"]).model_version == "v1"
    assert model.encode_response(5, default_codec=NumpyRequestCodec).outputs[0].data == [5]
    with pytest.raises(CodecNotFound, match=r"no codec can encode builtins\.int$"):
        model.encode_response(5)


def test_context() -> None:
    with model_context(settings(parameters=ModelParameters(version="v1"))):
        assert (model_name_var.get(), model_version_var.get()) == ("m", "v1")
        with model_context(settings()):
            assert model_version_var.get() == ""
        assert model_version_var.get() == "v1"
    with pytest.raises(LookupError):
        model_name_var.get()
