"""The messages of the deprecated `inference.model_repository.ModelRepositoryService`, for clients."""

from mlserver.wire.protobuf.model_repository_pb2 import *  # noqa: F403
from mlserver.wire.protobuf.model_repository_pb2 import DESCRIPTOR as DESCRIPTOR
