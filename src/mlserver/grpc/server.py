"""The gRPC server: its port, its limits and its services."""

import errno
import logging
import socket
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from mlserver.dataplane import DataPlane
from mlserver.errors import ConfigurationError
from mlserver.events import Tell, nobody
from mlserver.grpc.calls import Answer, Calls, method_of
from mlserver.grpc.health import Health
from mlserver.grpc.inference import Inference
from mlserver.grpc.management import Management, ModelStatistics
from mlserver.grpc.reflection import Reflection
from mlserver.grpc.streaming import Streams
from mlserver.settings import Settings
from mlserver.tracing import Tracer
from mlserver.wire.cloudevents import CloudEvents, namespace
from mlserver.wire.protobuf import dataplane_pb2, health_pb2, model_repository_pb2, reflection_pb2

logger = logging.getLogger("mlserver.grpc")

_INFERENCE = dataplane_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_REPOSITORY = model_repository_pb2.DESCRIPTOR.services_by_name["ModelRepositoryService"]
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
_REFLECTION_NAMES = (_REFLECTION.full_name, "grpc.reflection.v1alpha.ServerReflection")

# So many calls at once per connection; a client that wants more opens another. As HTTP/2 advises at least.
_MAX_STREAMS = 100
# Calls that have ended for the caller but not yet for us; above that new ones of the connection are refused. By gRPC's
# own bound a caller who keeps 150 calls under way sees many of them refused; a flood of calls that are begun and given
# up holds 10 MiB with this one.
_MAX_ENDING_STREAMS = 4 * _MAX_STREAMS
# As REST takes of headers. Above the first number a call is refused by chance, above the second for certain.
_METADATA_BYTES = 64 * 1024


class GrpcServer:
    """`inference.GRPCInferenceService` and what belongs to it, on the running loop."""

    def __init__(
        self,
        settings: Settings,
        dataplane: DataPlane,
        tell: Tell = nobody,
        statistics: ModelStatistics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._settings = settings
        self._management = Management(settings, dataplane, statistics)
        streamed = method_of(_INFERENCE.methods_by_name["ModelStreamInfer"])
        self._inference = Inference(dataplane, CloudEvents(settings.server_name, namespace()), tell)
        self._streams = Streams(dataplane, self._inference, settings.grpc_stream_format, streamed, tell)
        self._health = Health(dataplane, frozenset({_INFERENCE.full_name, _REPOSITORY.full_name}))
        self._calls = Calls(tell, access_log=settings.debug, tracer=tracer)
        self._server: grpc.aio.Server | None = None
        self.port: int = settings.grpc_port
        """The port that callers use. Valid once bound."""

    def bind(self) -> None:
        """Take the port; 0 takes a free one. Raises ConfigurationError naming the port and its setting."""
        host, port = self._settings.host, self._settings.grpc_port
        _check_free(host, port)
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers(self._handlers())
        try:
            self.port = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError as error:
            raise ConfigurationError(f"grpc_port: port {port} on {host} cannot be bound: {error}") from None
        self._server = server

    async def start(self) -> None:
        """Begin to answer."""
        if self._server is None:
            raise RuntimeError("bind comes first")
        await self._server.start()
        logger.info("gRPC on %s:%d", self._settings.host, self.port)

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, answer what is under way for so many seconds, close."""
        if self._server is not None:
            self._health.stop()
            self._streams.stop()
            await self._server.stop(grace_seconds)

    def _options(self) -> list[tuple[str, Any]]:
        settings = self._settings
        limit = settings.grpc_max_message_length
        options: dict[str, Any] = {
            # Two processes on one port would each get some of the calls, and nobody an error.
            "grpc.so_reuseport": 0,
            "grpc.max_receive_message_length": settings.max_body_bytes if limit is None else limit,
            # What the models answer is for them to say.
            "grpc.max_send_message_length": -1,
            "grpc.max_concurrent_streams": _MAX_STREAMS,
            "grpc.http2.max_deallocating_streams": _MAX_ENDING_STREAMS,
            "grpc.max_metadata_size": _METADATA_BYTES,
            "grpc.absolute_max_metadata_size": _METADATA_BYTES,
        }
        return list((options | (settings._custom_grpc_server_settings or {})).items())

    def _handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        reflection = self._calls.stream(method_of(_REFLECTION.methods[0]), Reflection(self._services()).converse)
        handlers = {
            _INFERENCE.full_name: {
                **self._unary(_INFERENCE, self._inference_answers()),
                "ModelInfer": self._calls.unparsed(_INFERENCE.methods_by_name["ModelInfer"], self._inference.infer),
                "ModelStreamInfer": self._calls.stream(
                    method_of(_INFERENCE.methods_by_name["ModelStreamInfer"]), self._streams.converse
                ),
            },
            _REPOSITORY.full_name: self._unary(_REPOSITORY, self._repository_answers(model_repository_pb2)),
            _HEALTH.full_name: {
                **self._unary(_HEALTH, {"Check": self._health.check}),
                "Watch": self._calls.stream(method_of(_HEALTH.methods_by_name["Watch"]), self._health.watch),
            },
            **{name: {"ServerReflectionInfo": reflection} for name in _REFLECTION_NAMES},
        }
        return tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())

    def _services(self) -> list[str]:
        return [_INFERENCE.full_name, _REPOSITORY.full_name, _HEALTH.full_name, *_REFLECTION_NAMES]

    def _unary(self, service: ServiceDescriptor, answers: dict[str, Answer]) -> dict[str, Any]:
        return {name: self._calls.unary(service.methods_by_name[name], answer) for name, answer in answers.items()}

    def _inference_answers(self) -> dict[str, Answer]:
        management = self._management
        regions = [method.name for method in _INFERENCE.methods if "SharedMemory" in method.name]
        return {
            "ServerLive": management.server_live,
            "ServerReady": management.server_ready,
            "ModelReady": management.model_ready,
            "ServerMetadata": management.server_metadata,
            "ModelMetadata": management.model_metadata,
            "ModelConfig": management.model_config,
            "ModelStatistics": management.model_statistics,
            "TraceSetting": management.trace_setting,
            "LogSettings": management.log_settings,
            **dict.fromkeys(regions, management.shared_memory),
            **self._repository_answers(dataplane_pb2),
        }

    def _repository_answers(self, messages: Any) -> dict[str, Answer]:
        """The repository's methods with the messages of one of the two services that have them."""
        management = self._management
        return {
            "RepositoryIndex": lambda asked, _: management.index(asked, messages.RepositoryIndexResponse()),
            "RepositoryModelLoad": lambda asked, context: management.load(
                asked, context, messages.RepositoryModelLoadResponse()
            ),
            "RepositoryModelUnload": lambda asked, context: management.unload(
                asked, context, messages.RepositoryModelUnloadResponse()
            ),
        }


def _check_free(host: str, port: int) -> None:
    """Try the port before gRPC does, which only says that it failed. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(1)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror or error}"
            raise ConfigurationError(f"grpc_port: port {port} on {host} {why}") from None
