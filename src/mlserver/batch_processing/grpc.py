"""The way over gRPC, for an installation that has the server's messages for it."""

import importlib
from typing import Any

from mlserver.batch_processing.lines import Message
from mlserver.batch_processing.options import BatchOptions
from mlserver.batch_processing.transport import RequestFailed, headers_of
from mlserver.errors import ConfigurationError

_AGAIN = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "ABORTED"}


class GrpcTransport:
    """Requests to one model over one channel. Raises ConfigurationError where gRPC is not installed."""

    def __init__(self, options: BatchOptions) -> None:
        self._options = options
        try:
            self._grpc: Any = importlib.import_module("grpc")
            self._converters: Any = importlib.import_module("mlserver.grpc.converters")
            stubs: Any = importlib.import_module("mlserver.grpc.dataplane_pb2_grpc")
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"transport: grpc needs the module {error.name!r}, which is not here") from None
        self._channel = self._open()
        self._stub = stubs.GRPCInferenceServiceStub(self._channel)

    async def infer(self, request: Message) -> Message:
        """The response to `request`. Raises RequestFailed."""
        message = self._message(request)
        headers = headers_of(request, self._options.request_headers)
        metadata = [(name.lower(), value) for name, value in headers.items()]
        try:
            answer = await self._stub.ModelInfer(message, timeout=self._options.timeout, metadata=metadata)
        except self._grpc.aio.AioRpcError as error:
            code: str = error.code().name
            raise RequestFailed(f"{code}: {error.details()}", again=code in _AGAIN) from None
        return self._plain(answer)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    def _plain(self, answer: Any) -> Message:
        """The answer as JSON values; bytes that are no text cannot be one."""
        from mlserver.errors import MLServerError

        try:
            response: Message = self._converters.ModelInferResponseConverter.to_types(answer).model_dump(mode="json")
        except (MLServerError, ValueError) as error:
            raise RequestFailed(f"the answer cannot be read: {error}", again=False) from None
        return response

    def _message(self, request: Message) -> Any:
        from pydantic import ValidationError

        from mlserver.errors import MLServerError
        from mlserver.types import InferenceRequest

        try:
            return self._converters.ModelInferRequestConverter.from_types(
                InferenceRequest.model_validate(request),
                model_name=self._options.model_name,
                model_version=None,
                use_raw=self._options.binary_data,
            )
        except (ValidationError, MLServerError, ValueError, TypeError) as error:
            raise RequestFailed(f"cannot be sent over gRPC: {error}", again=False) from None

    def _open(self) -> Any:
        unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if not self._options.encrypted:
            return self._grpc.aio.insecure_channel(self._options.address, options=unbounded)
        if self._options.insecure:
            raise ConfigurationError("insecure: gRPC cannot leave a certificate unchecked; leave out one of the two")
        credentials = self._grpc.ssl_channel_credentials()
        return self._grpc.aio.secure_channel(self._options.address, credentials, options=unbounded)
