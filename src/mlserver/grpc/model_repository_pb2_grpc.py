"""The deprecated `inference.model_repository.ModelRepositoryService` for clients, and for servers of their own."""

from mlserver.grpc.services import make_adder, make_servicer, make_stub
from mlserver.wire.protobuf.model_repository_pb2 import DESCRIPTOR

_SERVICE = DESCRIPTOR.services_by_name["ModelRepositoryService"]

ModelRepositoryServiceStub = make_stub(_SERVICE)
ModelRepositoryServiceServicer = make_servicer(_SERVICE)
add_ModelRepositoryServiceServicer_to_server = make_adder(_SERVICE)  # noqa: N816 - as protoc names it
