"""The class that runtime authors subclass."""

import inspect
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from mlserver.codecs.base import InputCodecLike, RequestCodecLike
from mlserver.codecs.errors import CodecNotFound
from mlserver.codecs.utils import (
    decode_inference_request,
    decode_request_input,
    encode_inference_response,
    encode_response_output,
    get_decoded,
    has_decoded,
)
from mlserver.errors import NotImplementedByModel
from mlserver.settings import ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)


class MLModel:
    """A model: subclasses override `load` and `predict`, and may override the rest.

    `ready` is set by the server, to what `load` returned. `row_wise` declares that each row of an answer depends on
    that row of the request alone, so that rows of several requests may be predicted together. It speaks of one
    `predict`: a subclass that overrides `predict` has to declare it anew.
    """

    row_wise: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Whoever comes first in the order of bases speaks: a mixin's `predict` is one that nobody declared row-wise.
        owner = next(vars(base) for base in cls.__mro__ if "row_wise" in vars(base) or "predict" in vars(base))
        if "row_wise" not in owner:
            cls.row_wise = False

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._inputs_index = _by_name(settings.inputs)
        self._outputs_index = _by_name(settings.outputs)
        self.ready = False

    @property
    def name(self) -> str:
        """The model's name."""
        return self._settings.name

    @property
    def version(self) -> str | None:
        """The model's version; None where it has none."""
        return self._settings.version

    @property
    def settings(self) -> ModelSettings:
        """The model's settings."""
        return self._settings

    @property
    def is_row_wise(self) -> bool:
        """Whether rows may be stacked: `row_wise` of the settings, or where that is null, of the class."""
        asked = self._settings.row_wise
        return self.row_wise if asked is None else asked

    @property
    def inputs(self) -> list[MetadataTensor]:
        """Metadata of the inputs, whose content types choose codecs. Assign a new list to change them."""
        return self._settings.inputs

    @inputs.setter
    def inputs(self, value: list[MetadataTensor]) -> None:
        self._settings.inputs = value
        self._inputs_index = _by_name(value)

    @property
    def outputs(self) -> list[MetadataTensor]:
        """Metadata of the outputs, whose content types choose codecs. Assign a new list to change them."""
        return self._settings.outputs

    @outputs.setter
    def outputs(self, value: list[MetadataTensor]) -> None:
        self._settings.outputs = value
        self._outputs_index = _by_name(value)

    async def load(self) -> bool:
        """Get ready to predict; False leaves the model loaded but not ready."""
        return True

    async def unload(self) -> bool:
        """Give back what `load` took. No call of `predict` is under way or follows."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request. Raise `mlserver.errors.InferenceError` for requests that are the caller's mistake."""
        raise NotImplementedByModel(f"model {self.name!r} does not implement predict")

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Answer a stream of requests with a stream of responses; unless overridden, `predict` on the first request."""
        async for payload in payloads:
            # A runtime's `predict` may be a plain function.
            answer: Any = self.predict(payload)
            yield await answer if inspect.isawaitable(answer) else answer
            break

    async def metadata(self) -> MetadataModelResponse:
        """What the model says of itself; `versions` are those of the settings, else its own."""
        own = [self.version] if self.version else []
        return MetadataModelResponse(
            name=self.name,
            versions=self._settings.versions or own,
            platform=self._settings.platform,
            inputs=self.inputs,
            outputs=self.outputs,
        )

    def decode(self, request_input: RequestInput, default_codec: InputCodecLike | None = None) -> Any:
        """The Python value of an input, by its content type, the metadata's, or `default_codec`; else its TensorData.

        Raises CodecError where the data do not fit.
        """
        decode_request_input(request_input, self._inputs_index)
        if has_decoded(request_input):
            return get_decoded(request_input)
        return request_input.data if default_codec is None else default_codec.decode_input(request_input)

    def decode_request(self, inference_request: InferenceRequest, default_codec: RequestCodecLike | None = None) -> Any:
        """The Python value of a request, by its content type, the settings', or `default_codec`; else the request.

        Raises CodecError where the data do not fit.
        """
        decode_inference_request(inference_request, self._settings, self._inputs_index)
        if has_decoded(inference_request):
            return get_decoded(inference_request)
        return inference_request if default_codec is None else default_codec.decode_request(inference_request)

    def encode(
        self, payload: Any, request_output: RequestOutput, default_codec: InputCodecLike | None = None
    ) -> ResponseOutput:
        """The output for `payload`, by the content type asked for, the metadata's, its Python type, or `default_codec`.

        Raises CodecNotFound where there is none of them.
        """
        output = encode_response_output(payload, request_output, self._outputs_index)
        if output is not None:
            return output
        if default_codec is None:
            raise CodecNotFound(payload, request_output.name)
        return default_codec.encode_output(request_output.name, payload)

    def encode_response(self, payload: Any, default_codec: RequestCodecLike | None = None) -> InferenceResponse:
        """The response for `payload`, by its Python type or `default_codec`. Raises CodecNotFound."""
        response = encode_inference_response(payload, self._settings)
        if response is not None:
            return response
        if default_codec is None:
            raise CodecNotFound(payload)
        return default_codec.encode_response(self.name, payload, self.version)


def _by_name(tensors: list[MetadataTensor]) -> dict[str, MetadataTensor]:
    return {tensor.name: tensor for tensor in tensors}
