"""Messages to `mlserver.types` and back, for clients and for runtimes that talk to other servers.

`use_raw` asks for raw contents. Datatypes that have no typed contents are always raw.
"""

from typing import Any

from mlserver.grpc.management import put_parameters, put_tensor
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    MetadataTensor,
    Parameters,
    RepositoryIndexRequest,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    RequestInput,
    RequestOutput,
    ResponseOutput,
    State,
)
from mlserver.types.convert import from_public, request_from_public, response_to_public, to_public
from mlserver.types.parameters import lazy_parameters
from mlserver.types.tensors import OutputRequest, TensorRequest, TensorResponse
from mlserver.wire.protobuf import dataplane_pb2 as pb
from mlserver.wire.protobuf import parameters, requests, responses


class ModelInferRequestConverter:
    """Inference requests."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelInferRequest) -> InferenceRequest:
        """Raises InferenceError where contents and shapes do not agree."""
        return to_public(requests.request_of(pb_object))

    @classmethod
    def from_types(
        cls, type_object: InferenceRequest, model_name: str, model_version: str | None = None, use_raw: bool = False
    ) -> pb.ModelInferRequest:
        """Raises CodecError where data and shapes do not agree. Headers are for the call's metadata, not for here."""
        return requests.message_of(request_from_public(type_object, model_name, model_version), raw=use_raw)


class ModelInferResponseConverter:
    """Inference responses."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelInferResponse) -> InferenceResponse:
        """Raises InferenceError where contents and shapes do not agree."""
        return response_to_public(responses.response_of(pb_object))

    @classmethod
    def from_types(cls, type_object: InferenceResponse, use_raw: bool = False) -> pb.ModelInferResponse:
        """Raises ModelError where data and shapes do not agree. Headers are for the call's metadata, not for here."""
        answer = from_public(type_object, model=type_object.model_name, version=type_object.model_version)
        return responses.message_of(answer, raw=use_raw)


class InferInputTensorConverter:
    """Inputs of requests."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelInferRequest.InferInputTensor) -> RequestInput:
        """Raises InferenceError where contents and shape do not agree."""
        return to_public(TensorRequest("", None, [requests.input_of(pb_object)])).inputs[0]

    @classmethod
    def from_types(cls, type_object: RequestInput, use_raw: bool = False) -> pb.ModelInferRequest.InferInputTensor:
        """With `use_raw` without its contents, which belong into the request. Raises CodecError."""
        message = pb.ModelInferRequest.InferInputTensor()
        tensor = request_from_public(InferenceRequest(inputs=[type_object]), "", None).inputs[0]
        requests.put_input(tensor, message, raw=use_raw)
        return message


class InferRequestedOutputTensorConverter:
    """Outputs that a request asks for."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelInferRequest.InferRequestedOutputTensor) -> RequestOutput:
        """Cannot fail."""
        asked = OutputRequest(pb_object.name, parameters.values_of(pb_object.parameters))
        return (to_public(TensorRequest("", None, [], outputs=[asked])).outputs or [])[0]

    @classmethod
    def from_types(cls, type_object: RequestOutput) -> pb.ModelInferRequest.InferRequestedOutputTensor:
        """Raises ModelError for a parameter that cannot be sent."""
        message = pb.ModelInferRequest.InferRequestedOutputTensor(name=type_object.name)
        put_parameters(type_object.parameters, message.parameters)
        return message


class InferOutputTensorConverter:
    """Outputs of responses."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelInferResponse.InferOutputTensor) -> ResponseOutput:
        """Raises InferenceError where contents and shape do not agree."""
        return response_to_public(TensorResponse("", None, [responses.output_of(pb_object)])).outputs[0]

    @classmethod
    def from_types(cls, type_object: ResponseOutput, use_raw: bool = False) -> pb.ModelInferResponse.InferOutputTensor:
        """With `use_raw` without its contents, which belong into the response. Raises ModelError."""
        message = pb.ModelInferResponse.InferOutputTensor()
        answer = InferenceResponse(model_name="", outputs=[type_object])
        responses.put_output(from_public(answer, model="", version=None).outputs[0], message, raw=use_raw)
        return message


class ParametersConverter:
    """Parameters, but for headers, which are a call's metadata."""

    @classmethod
    def to_types(cls, pb_object: Any) -> Parameters:
        """Of any message's map."""
        return lazy_parameters(parameters.values_of(pb_object)) or Parameters()

    @classmethod
    def from_types(cls, type_object: Parameters) -> dict[str, pb.InferParameter]:
        """Raises ModelError for a parameter that cannot be sent."""
        message = pb.ModelInferRequest()
        put_parameters(type_object, message.parameters)
        return dict(message.parameters)


class ServerMetadataResponseConverter:
    """What a server says of itself."""

    @classmethod
    def to_types(cls, pb_object: pb.ServerMetadataResponse) -> MetadataServerResponse:
        """Cannot fail."""
        extensions = list(pb_object.extensions)
        return MetadataServerResponse(name=pb_object.name, version=pb_object.version, extensions=extensions)

    @classmethod
    def from_types(cls, type_object: MetadataServerResponse) -> pb.ServerMetadataResponse:
        """Cannot fail."""
        return pb.ServerMetadataResponse(
            name=type_object.name, version=type_object.version, extensions=type_object.extensions
        )


class TensorMetadataConverter:
    """Tensors of a model's metadata."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelMetadataResponse.TensorMetadata) -> MetadataTensor:
        """Raises pydantic.ValidationError for a datatype that nobody knows."""
        datatype: Any = pb_object.datatype
        found = lazy_parameters(parameters.values_of(pb_object.parameters))
        return MetadataTensor(name=pb_object.name, datatype=datatype, shape=list(pb_object.shape), parameters=found)

    @classmethod
    def from_types(cls, type_object: MetadataTensor) -> pb.ModelMetadataResponse.TensorMetadata:
        """Raises ModelError for a parameter that cannot be sent."""
        message = pb.ModelMetadataResponse.TensorMetadata()
        put_tensor(type_object, message)
        return message


class ModelMetadataResponseConverter:
    """What a model says of itself."""

    @classmethod
    def to_types(cls, pb_object: pb.ModelMetadataResponse) -> MetadataModelResponse:
        """Raises pydantic.ValidationError for a datatype that nobody knows."""
        return MetadataModelResponse(
            name=pb_object.name,
            versions=list(pb_object.versions),
            platform=pb_object.platform,
            inputs=[TensorMetadataConverter.to_types(tensor) for tensor in pb_object.inputs],
            outputs=[TensorMetadataConverter.to_types(tensor) for tensor in pb_object.outputs],
            parameters=lazy_parameters(parameters.values_of(pb_object.parameters)),
        )

    @classmethod
    def from_types(cls, type_object: MetadataModelResponse) -> pb.ModelMetadataResponse:
        """Raises ModelError for a parameter that cannot be sent."""
        message = pb.ModelMetadataResponse(
            name=type_object.name, versions=type_object.versions or [], platform=type_object.platform
        )
        message.inputs.extend(TensorMetadataConverter.from_types(tensor) for tensor in type_object.inputs or ())
        message.outputs.extend(TensorMetadataConverter.from_types(tensor) for tensor in type_object.outputs or ())
        put_parameters(type_object.parameters, message.parameters)
        return message


class RepositoryIndexRequestConverter:
    """Requests for the repository's index."""

    @classmethod
    def to_types(cls, pb_object: pb.RepositoryIndexRequest) -> RepositoryIndexRequest:
        """Cannot fail."""
        return RepositoryIndexRequest(ready=pb_object.ready)

    @classmethod
    def from_types(cls, type_object: RepositoryIndexRequest, repository_name: str = "") -> pb.RepositoryIndexRequest:
        """Cannot fail."""
        return pb.RepositoryIndexRequest(repository_name=repository_name, ready=bool(type_object.ready))


class RepositoryIndexResponseConverter:
    """The repository's index."""

    @classmethod
    def to_types(cls, pb_object: pb.RepositoryIndexResponse) -> RepositoryIndexResponse:
        """Raises ValueError for a state that nobody knows."""
        return RepositoryIndexResponse(
            root=[
                RepositoryIndexResponseItem(
                    name=model.name, version=model.version or None, state=State(model.state), reason=model.reason
                )
                for model in pb_object.models
            ]
        )

    @classmethod
    def from_types(cls, type_object: RepositoryIndexResponse) -> pb.RepositoryIndexResponse:
        """Cannot fail."""
        message = pb.RepositoryIndexResponse()
        for item in type_object:
            message.models.add(name=item.name, version=item.version or "", state=str(item.state), reason=item.reason)
        return message
