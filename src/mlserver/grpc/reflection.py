"""Server reflection, under its name of today and that of before: what grpcurl and Postman learn the messages from."""

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import StatusCode
from grpc.aio import EOF

from mlserver.grpc.calls import parse
from mlserver.grpc.metadata import Context
from mlserver.wire.protobuf.pool import POOL
from mlserver.wire.protobuf.reflection_pb2 import (
    ErrorResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)


class Reflection:
    """Answers from our own descriptor pool."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = sorted(services)

    async def converse(self, context: Context) -> None:
        """Answer each question until there are no more."""
        while (data := await context.read()) is not EOF:
            asked = parse(ServerReflectionRequest, data)
            answer = self.answer(asked)
            answer.valid_host = asked.host
            answer.original_request.CopyFrom(asked)
            await context.write(answer.SerializeToString())

    def answer(self, asked: ServerReflectionRequest) -> ServerReflectionResponse:
        """The answer to one question."""
        kind = asked.WhichOneof("message_request")
        if kind == "list_services":
            services = [ServiceResponse(name=name) for name in self._services]
            return ServerReflectionResponse(list_services_response=ListServiceResponse(service=services))
        try:
            if kind == "file_by_filename":
                return _files(POOL.FindFileByName(asked.file_by_filename))
            if kind == "file_containing_symbol":
                return _files(POOL.FindFileContainingSymbol(asked.file_containing_symbol))
        except KeyError:
            return _error(StatusCode.NOT_FOUND, "not found")
        return _error(StatusCode.NOT_FOUND, "there are no extensions here")


def _files(file: FileDescriptor) -> ServerReflectionResponse:
    """A file, after those that it imports."""
    protos = []
    for one in _with_imports(file, set()):
        proto = FileDescriptorProto()
        one.CopyToProto(proto)
        protos.append(proto.SerializeToString())
    found = FileDescriptorResponse(file_descriptor_proto=reversed(protos))
    return ServerReflectionResponse(file_descriptor_response=found)


def _with_imports(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptor]:
    if file.name not in seen:
        seen.add(file.name)
        for imported in file.dependencies:
            yield from _with_imports(imported, seen)
        yield file


def _error(code: StatusCode, message: str) -> ServerReflectionResponse:
    error = ErrorResponse(error_code=code.value[0], error_message=message)
    return ServerReflectionResponse(error_response=error)
