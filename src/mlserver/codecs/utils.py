"""Choosing codecs for requests and responses, and remembering what was decoded."""

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar, TypeAlias

from mlserver.codecs.base import (
    InputCodecLike,
    RequestCodec,
    find_input_codec,
    find_input_codec_by_payload,
    find_request_codec,
    find_request_codec_by_payload,
)
from mlserver.errors import CodecError
from mlserver.settings import ModelSettings
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    Parameters,
    RequestInput,
    RequestOutput,
    ResponseOutput,
)
from mlserver.types.base import construct
from mlserver.types.parameters import DECODED, lazy_parameters

InputOrOutput: TypeAlias = RequestInput | ResponseOutput
Parametrised: TypeAlias = InferenceRequest | RequestInput | RequestOutput | ResponseOutput | InferenceResponse
Tensors: TypeAlias = Mapping[str, MetadataTensor]

# The attribute of `parameters` that holds a decoded payload.
DecodedParameterName = DECODED

_NONE: Tensors = {}


def inject_batch_dimension(shape: list[int]) -> list[int]:
    """`[N]` as `[N, 1]` and `[]` as `[1]`; other shapes as they are."""
    if len(shape) > 1:
        return shape
    return [*shape, 1]


def has_decoded(parametrised: Parametrised) -> bool:
    """Whether a codec has decoded this request or tensor already."""
    parameters = parametrised.parameters
    return isinstance(parameters, Parameters) and DecodedParameterName in parameters.__dict__


def get_decoded(parametrised: Parametrised) -> Any:
    """What a codec decoded from this request or tensor; None where none did."""
    if not has_decoded(parametrised):
        return None
    return parametrised.parameters.__dict__[DecodedParameterName]


def get_decoded_or_raw(parametrised: Parametrised) -> Any:
    """What a codec decoded; where none did, a tensor's data, or the request itself."""
    if has_decoded(parametrised):
        return get_decoded(parametrised)
    return parametrised.data if isinstance(parametrised, RequestInput | ResponseOutput) else parametrised


def decode_request_input(request_input: RequestInput, metadata_inputs: Tensors = _NONE) -> Any | None:
    """Decode by the input's content type, else by that of the model's metadata for its name, and remember it.

    None, and nothing remembered, where neither is set or the content type is unknown. Raises CodecError that names the
    input where its data do not fit.
    """
    content_type = content_type_of(request_input) or content_type_of(metadata_inputs.get(request_input.name))
    codec = find_input_codec(content_type) if content_type else None
    if codec is None:
        return None
    try:
        decoded = codec.decode_input(request_input)
    except CodecError as error:
        raise CodecError(f"input {request_input.name!r:.80}: {error}") from None
    return _remember(request_input, decoded)


def decode_inference_request(
    inference_request: InferenceRequest,
    model_settings: ModelSettings | None = None,
    metadata_inputs: Tensors = _NONE,
) -> Any | None:
    """Decode the inputs, then the request by its content type, else by the one in the model's `parameters`.

    None where neither is set or the content type is unknown; the inputs may have been decoded even so.
    """
    for request_input in inference_request.inputs:
        decode_request_input(request_input, metadata_inputs)
    content_type = content_type_of(inference_request)
    if content_type is None and model_settings is not None and model_settings.parameters is not None:
        content_type = model_settings.parameters.content_type
    codec = find_request_codec(content_type) if content_type else None
    return None if codec is None else _remember(inference_request, codec.decode_request(inference_request))


def encode_response_output(
    payload: Any, request_output: RequestOutput, metadata_outputs: Tensors = _NONE
) -> ResponseOutput | None:
    """Encode by the content type asked for, else by that of the model's metadata, else by the payload's type.

    None where no codec is found.
    """
    content_type = content_type_of(request_output) or content_type_of(metadata_outputs.get(request_output.name))
    codec = (find_input_codec(content_type) if content_type else None) or find_input_codec_by_payload(payload)
    return None if codec is None else codec.encode_output(request_output.name, payload)


def encode_inference_response(payload: Any, model_settings: ModelSettings) -> InferenceResponse | None:
    """Encode a whole response by the payload's type; None where no codec is found."""
    codec = find_request_codec_by_payload(payload)
    return None if codec is None else codec.encode_response(model_settings.name, payload, model_settings.version)


def content_type_of(parametrised: Parametrised | MetadataTensor | None) -> str | None:
    """The content type in the parameters, if any. Assignment is not validated, so those may be a plain dict."""
    parameters: Any = None if parametrised is None else parametrised.parameters
    if parameters is None:
        return None
    found: str | None = parameters.get("content_type") if isinstance(parameters, dict) else parameters.content_type
    return found or None


def _remember(parametrised: InferenceRequest | RequestInput, decoded: Any) -> Any:
    """Keep `decoded` in parameters of its own: those given may be shared by several tensors."""
    given: Any = parametrised.parameters
    own = copy(given) if isinstance(given, Parameters) else Parameters(**(given or {}))
    own.__dict__[DecodedParameterName] = decoded
    parametrised.__dict__["parameters"] = own
    return decoded


class SingleInputRequestCodec(RequestCodec):
    """A request or response of exactly one tensor, for which `InputCodec` does the work."""

    InputCodec: ClassVar[InputCodecLike]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether the input codec can encode `payload`."""
        return cls.InputCodec.can_encode(payload)

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **kwargs: Any
    ) -> InferenceResponse:
        """A response with the one output `output-1`."""
        return construct(
            InferenceResponse,
            {
                "model_name": model_name,
                "model_version": model_version,
                "id": None,
                "parameters": lazy_parameters({"content_type": cls.ContentType}),
                "outputs": [cls.InputCodec.encode_output("output-1", payload, **kwargs)],
            },
        )

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """The value of the one output. Raises CodecError where there are more or none."""
        output = _only(response.outputs, "response", "output")
        return get_decoded(output) if has_decoded(output) else cls.InputCodec.decode_output(output)

    @classmethod
    def encode_request(cls, payload: Any, **kwargs: Any) -> InferenceRequest:
        """A request with the one input `input-1`."""
        return construct(
            InferenceRequest,
            {
                "id": None,
                "parameters": lazy_parameters({"content_type": cls.ContentType}),
                "inputs": [cls.InputCodec.encode_input("input-1", payload, **kwargs)],
                "outputs": None,
            },
        )

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """The value of the one input, as its own content type has it if it is decoded already.

        Raises CodecError where there are more or none.
        """
        request_input = _only(request.inputs, "request", "input")
        return get_decoded(request_input) if has_decoded(request_input) else cls.InputCodec.decode_input(request_input)


def _only(tensors: list[Any], what: str, role: str) -> Any:
    if len(tensors) != 1:
        names = ", ".join(repr(tensor.name) for tensor in tensors)
        raise CodecError(
            f"expected a {what} of exactly one {role}, found {len(tensors)}{': ' + names if names else ''}"
        )
    return tensors[0]
