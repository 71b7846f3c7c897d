"""What an author of a model may write, run as the server runs it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

import mlserver
from mlserver import MLModel, metrics
from mlserver.codecs import StringCodec, StringRequestCodec
from mlserver.context import model_name_var
from mlserver.engine.hosted import HostedModel
from mlserver.errors import Kind, MLServerError, ModelError
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse
from mlserver.types.convert import request_from_public, response_to_public
from mlserver.types.tensors import TensorRequest


class Sync(MLModel):
    """Everything that may be a plain function is one."""

    async def load(self) -> bool:
        mlserver.register("texts", "Texts per request")
        mlserver.log(loads=1)
        return True

    def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        texts = self.decode_request(payload, default_codec=StringRequestCodec)
        mlserver.log(texts=len(texts))
        if "fail" in texts:
            raise MLServerError("asked to", status_code=418)
        return self.encode_response([text.upper() for text in texts])

    async def metadata(self) -> MetadataModelResponse:
        metadata = await super().metadata()
        metadata.platform = "upper"
        return metadata

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for text in StringRequestCodec.decode_request(payload):
                mlserver.log(texts=1)
                yield self.encode_response([f"{model_name_var.get()}: {text}"])

    async def unload(self) -> bool:
        mlserver.log(unloads=1)
        return True


class Async(Sync):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:  # type: ignore[override]
        return super().predict(payload)


class Careless(MLModel):
    """Forgets to answer."""

    async def predict(self, payload: InferenceRequest) -> Any:
        return ["no response"]


@pytest.fixture(autouse=True)
def _no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.REGISTRY, "_histograms", {})


async def start(kind: type[MLModel]) -> HostedModel:
    parameters = ModelParameters(version="v1")
    return await HostedModel.load(ModelSettings(name="m", implementation=kind, parameters=parameters))


def request(*texts: str) -> TensorRequest:
    return request_from_public(StringRequestCodec.encode_request(list(texts)), "m", None)


def sums() -> dict[str, float]:
    """What was recorded, by metric; all of it by the one model."""
    deltas = metrics.take_deltas()
    assert {(model, version) for _, _, model, version, *_ in deltas} == {("m", "v1")}
    return {name: total for name, *_, total in deltas}


@pytest.mark.parametrize("kind", [Sync, Async])
async def test_a_model(kind: type[MLModel]) -> None:
    runner = await start(kind)
    assert runner.card.metadata.platform == "upper"
    answer = response_to_public(await runner.infer(request("a", "b")))
    assert StringRequestCodec.decode_response(answer) == ["A", "B"]
    with pytest.raises(MLServerError, match="asked to") as caught:
        await runner.infer(request("fail"))
    assert (caught.value.kind, caught.value.status_code) == (Kind.INVALID, 418)
    await runner.unload()
    assert sums() == {"loads": 1, "texts": 3, "unloads": 1}


async def test_a_stream() -> None:
    async def requests() -> AsyncIterator[TensorRequest]:
        yield request("a", "b")
        yield request("c")

    runner = await start(Sync)
    answers = [response_to_public(answer) async for answer in runner.stream(requests())]
    assert [StringCodec.decode_output(answer.outputs[0]) for answer in answers] == [["m: a"], ["m: b"], ["m: c"]]
    assert sums()["texts"] == 3


async def test_no_response() -> None:
    runner = await start(Careless)
    with pytest.raises(ModelError, match="predict of model 'm' returned list, expected InferenceResponse"):
        await runner.infer(request("a"))
