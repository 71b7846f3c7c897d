"""The messages of `inference.GRPCInferenceService`, for clients."""

from mlserver.wire.protobuf.dataplane_pb2 import *  # noqa: F403
from mlserver.wire.protobuf.dataplane_pb2 import DESCRIPTOR as DESCRIPTOR
