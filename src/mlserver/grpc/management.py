"""Everything of `GRPCInferenceService` but inference: health, metadata, the repository, and Triton's extensions."""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from google.protobuf.json_format import ParseDict

from mlserver.admin import AdminPolicy
from mlserver.dataplane import DataPlane
from mlserver.errors import InferenceError
from mlserver.extensions import LOG_INSTEAD, TRACE_INSTEAD, TRACE_SETTINGS, log_settings, see_no_change
from mlserver.grpc.errors import NotSupported
from mlserver.grpc.metadata import Context, headers_of, peer_of
from mlserver.settings import Settings
from mlserver.types import MetadataTensor
from mlserver.types.parameters import Parameters, values_of
from mlserver.wire.protobuf import dataplane_pb2 as messages
from mlserver.wire.protobuf.parameters import put

_LOG_KINDS = {bool: "bool_param", int: "uint32_param", str: "string_param"}


class ModelStatistics(Protocol):
    """Counts per model."""

    def of(self, models: Sequence[tuple[str, str | None]], /) -> list[dict[str, Any]]:
        """Triton's `model_stats` of these models and versions, as JSON."""


class Management:
    """Answers from the data plane; methods have the names that the protocol gives them."""

    def __init__(self, settings: Settings, dataplane: DataPlane, statistics: ModelStatistics | None = None) -> None:
        self._dataplane = dataplane
        self._policy = AdminPolicy(settings)
        self._statistics = statistics

    async def server_live(self, _: messages.ServerLiveRequest, __: Context) -> messages.ServerLiveResponse:
        """Whether the server can answer at all."""
        return messages.ServerLiveResponse(live=self._dataplane.live())

    async def server_ready(self, _: messages.ServerReadyRequest, __: Context) -> messages.ServerReadyResponse:
        """Whether every model is ready."""
        return messages.ServerReadyResponse(ready=self._dataplane.ready())

    async def model_ready(self, asked: messages.ModelReadyRequest, _: Context) -> messages.ModelReadyResponse:
        """Whether a model is ready. Raises ModelNotFound."""
        ready = self._dataplane.model_ready(asked.name, asked.version or None)
        return messages.ModelReadyResponse(ready=ready)

    async def server_metadata(self, _: messages.ServerMetadataRequest, __: Context) -> messages.ServerMetadataResponse:
        """Name, version and extensions of the server."""
        metadata = self._dataplane.metadata()
        return messages.ServerMetadataResponse(
            name=metadata.name, version=metadata.version, extensions=metadata.extensions
        )

    async def model_metadata(self, asked: messages.ModelMetadataRequest, _: Context) -> messages.ModelMetadataResponse:
        """What a model says of itself. Raises ModelNotFound, ModelNotReady."""
        metadata = self._dataplane.model_metadata(asked.name, asked.version or None)
        answer = messages.ModelMetadataResponse(
            name=metadata.name, versions=metadata.versions or [], platform=metadata.platform
        )
        for tensors, into in ((metadata.inputs, answer.inputs), (metadata.outputs, answer.outputs)):
            for tensor in tensors or ():
                put_tensor(tensor, into.add())
        put_parameters(metadata.parameters, answer.parameters)
        return answer

    async def model_config(self, asked: messages.ModelConfigRequest, _: Context) -> messages.ModelConfigResponse:
        """Triton's configuration of a model. Raises ModelNotFound, ModelNotReady."""
        config = self._dataplane.model_config(asked.name, asked.version or None)
        return ParseDict({"config": config}, messages.ModelConfigResponse(), ignore_unknown_fields=True)

    async def model_statistics(
        self, asked: messages.ModelStatisticsRequest, _: Context
    ) -> messages.ModelStatisticsResponse:
        """Triton's statistics of one model, or of all. Raises ModelNotFound."""
        if self._statistics is None:
            raise NotSupported("this server keeps no statistics")
        found = self._statistics.of(self._dataplane.models(asked.name or None, asked.version or None))
        return ParseDict({"model_stats": found}, messages.ModelStatisticsResponse(), ignore_unknown_fields=True)

    async def index(self, asked: Any, answer: Any) -> Any:
        """The repository's models, written into `answer`, of either service's messages."""
        for item in await self._dataplane.repository_index(asked.ready):
            answer.models.add(name=item.name, version=item.version or "", state=str(item.state), reason=item.reason)
        return answer

    async def load(self, asked: Any, context: Context, answer: Any) -> Any:
        """Load a model, or load it anew. Raises Forbidden, ModelNotFound, what its runtime raises."""
        self._policy.check(peer_of(context), headers_of(context)())
        sent = ", ".join(sorted(getattr(asked, "parameters", ())))
        if sent:
            raise InferenceError(f"a model is loaded as its folder says; not supported: {sent:.200} - at `parameters`")
        await self._dataplane.load(asked.model_name)
        return answer

    async def unload(self, asked: Any, context: Context, answer: Any) -> Any:
        """Unload all versions of a model. Raises Forbidden, ModelNotFound."""
        self._policy.check(peer_of(context), headers_of(context)())
        await self._dataplane.unload(asked.model_name)
        return answer

    async def trace_setting(self, asked: messages.TraceSettingRequest, _: Context) -> messages.TraceSettingResponse:
        """Triton's trace settings. Raises Forbidden for a change, ModelNotFound."""
        if asked.model_name:
            self._dataplane.model_ready(asked.model_name)
        changes = {name: _trace_value(name, list(setting.value)) for name, setting in asked.settings.items()}
        see_no_change(changes, TRACE_SETTINGS, TRACE_INSTEAD)
        answer = messages.TraceSettingResponse()
        for name, value in TRACE_SETTINGS.items():
            answer.settings[name].value.extend(value if isinstance(value, list) else [value])
        return answer

    async def log_settings(self, asked: messages.LogSettingsRequest, _: Context) -> messages.LogSettingsResponse:
        """Triton's log settings. Raises Forbidden for a change."""
        settings = log_settings()
        see_no_change({name: _log_value(setting) for name, setting in asked.settings.items()}, settings, LOG_INSTEAD)
        answer = messages.LogSettingsResponse()
        for name, value in settings.items():
            setattr(answer.settings[name], _LOG_KINDS[type(value)], value)
        return answer

    async def shared_memory(self, _: Any, __: Context) -> NoReturn:
        """Raises NotSupported."""
        raise NotSupported("shared memory is not supported: send the tensors themselves")


def put_tensor(tensor: MetadataTensor, message: messages.ModelMetadataResponse.TensorMetadata) -> None:
    """Write a tensor of a model's metadata."""
    message.name, message.datatype = tensor.name, str(tensor.datatype)
    message.shape.extend(tensor.shape)
    put_parameters(tensor.parameters, message.parameters)


def put_parameters(parameters: Parameters | None, into: Any) -> None:
    """Write parameters but for headers."""
    if parameters is not None:
        put(values_of(parameters), into)


def _trace_value(name: str, values: list[str]) -> list[str] | str | None:
    """A setting as it is in JSON, where only levels are a list; without values it asks for the default."""
    if len(values) == 1 and name != "trace_level":
        return values[0]
    return values or None


def _log_value(setting: messages.LogSettingsRequest.SettingValue) -> Any:
    kind = setting.WhichOneof("parameter_choice")
    return getattr(setting, kind) if kind else None
