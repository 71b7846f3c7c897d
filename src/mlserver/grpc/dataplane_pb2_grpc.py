"""`inference.GRPCInferenceService` for clients, and for servers of their own."""

from mlserver.grpc.services import make_adder, make_servicer, make_stub
from mlserver.wire.protobuf.dataplane_pb2 import DESCRIPTOR

_SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"]

GRPCInferenceServiceStub = make_stub(_SERVICE)
GRPCInferenceServiceServicer = make_servicer(_SERVICE)
add_GRPCInferenceServiceServicer_to_server = make_adder(_SERVICE)  # noqa: N816 - as protoc names it
