"""The modules that are generated, and the pool they define their messages in."""

import sys

from google.protobuf import descriptor_pool

from mlserver.wire.protobuf import dataplane_pb2
from mlserver.wire.protobuf.pool import POOL
from scripts.generate_protobuf import FOLDER, generated


def test_the_modules_are_current() -> None:
    for name, text in generated().items():
        assert (FOLDER / name).read_text() == text, f"{name}: run `make protobuf`"


def test_nothing_of_ours_is_in_the_pool_that_everybody_shares() -> None:
    assert dataplane_pb2.DESCRIPTOR.pool is POOL
    if "tritonclient.grpc" not in sys.modules:
        try:
            descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
        except KeyError:
            return
        raise AssertionError("our messages are in protobuf's default pool")


def test_messages_say_where_they_are_from() -> None:
    assert dataplane_pb2.ModelInferRequest.__module__ == "mlserver.wire.protobuf.dataplane_pb2"
