"""Which code each error has: the table of docs/grpc.md."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from mlserver.errors import Kind
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.errors import CODE
from tests.grpc.client import Door, raw_request, refusal, typed_request
from tests.grpc.conftest import LIMIT
from tests.seed.serving import Served


def tensor(datatype: str = "FP64", shape: tuple[int, ...] = (1, 2), **contents: Any) -> pb.ModelInferRequest:
    """A request with one input of such contents."""
    request = pb.ModelInferRequest(model_name="echo")
    made = request.inputs.add(name="x", datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return request


def raw(*buffers: bytes, datatype: str = "FP64", shape: tuple[int, ...] = (1, 2)) -> pb.ModelInferRequest:
    """The same with raw contents."""
    request = tensor(datatype, shape)
    request.raw_input_contents.extend(buffers)
    return request


def both() -> pb.ModelInferRequest:
    """Contents and raw contents."""
    request = tensor(fp64_contents=[1, 2])
    request.raw_input_contents.append(b"\0" * 16)
    return request


def twice() -> pb.ModelInferRequest:
    """Two inputs of one name."""
    request = tensor(fp64_contents=[1, 2])
    request.inputs.append(request.inputs[0])
    return request


def shared() -> pb.ModelInferRequest:
    """An input in shared memory."""
    request = tensor()
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    return request


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ModelInferRequest(model_name="echo"), "expected at least one input - at `inputs`"),
        (tensor("INT9"), "expected a datatype of BF16, BOOL, "),
        (tensor("FP64", (-1, 2)), "expected dimensions >= 0, got [-1, 2] - at `inputs[0].shape`"),
        (
            tensor("FP64", (2**40, 0)),
            "shape [1099511627776, 0] has no elements and too many rows - at `inputs[0].shape`",
        ),
        (
            raw(b"", shape=(2**40, 0)),
            "shape [1099511627776, 0] has no elements and too many rows - at `inputs[0].shape`",
        ),
        (tensor("FP64", (2**62, 2**62)), " has more than 2^63 elements - at `inputs[0].shape`"),
        (tensor(), "shape [1, 2] needs 2 elements, fp64_contents has 0 - at `inputs[0]`"),
        (tensor(fp64_contents=[1]), "shape [1, 2] needs 2 elements, fp64_contents has 1 - at `inputs[0]`"),
        (
            tensor("FP64", (1,) * 100, fp64_contents=[1]),
            "expected at most 64 dimensions, got 100 - at `inputs[0].shape`",
        ),
        (tensor("FP64", (0, 2**62)), " has no elements and too many rows - at `inputs[0].shape`"),
        (tensor("FP16", fp32_contents=[1, 2]), "FP16 has no typed contents: send it in raw_input_contents"),
        (tensor("INT8", int_contents=[1, 128]), "expected numbers of INT8, found 128 - at `inputs[0].contents."),
        (tensor("INT32", fp64_contents=[1, 1.5]), "expected numbers of INT32, found 1.5 - at"),
        (tensor("FP64", bytes_contents=[b"1", b"2"]), "expected fp64_contents, got bytes_contents"),
        (tensor("BYTES", int_contents=[1, 2]), "expected bytes_contents for BYTES, got int_contents"),
        (tensor("BOOL", bool_contents=[True], int_contents=[1]), "expected one kind of contents, got bool_contents"),
        (both(), "expected no contents beside raw_input_contents - at `inputs[0].contents`"),
        (raw(b"\0" * 16, b""), "expected raw contents for 1 inputs, got 2 - at `raw_input_contents`"),
        (raw(b"\0" * 15), "shape [1, 2] of FP64 needs 16 bytes, got 15 - at `inputs[0]`"),
        (raw(b"\0" * 16, shape=(2**62, 2**62)), " has more than 2^63 elements - at `inputs[0].shape`"),
        (raw(b"\0\2", datatype="BOOL"), "expected bytes 0 or 1 for BOOL, got 2 - at `inputs[0]`"),
        (raw(b"\1\0\0\0a", datatype="BYTES"), "the shape needs 2 elements, more than 5 bytes can hold"),
        (raw(b"\4\0\0\0aaaa", datatype="BYTES"), "the shape needs 2 elements, the data have 1"),
        (raw(b"\1\0\0\0a\2\0\0\0b", datatype="BYTES"), "element 1 says 2 bytes, 1 are left"),
        (raw(b"\0\0\0\0\0\0\0\0c", datatype="BYTES"), "1 bytes follow the last of 2 elements"),
        (raw(b"\0", datatype="BYTES", shape=(2**62,)), "more than 1 bytes can hold"),
        (twice(), "two inputs have the same name - at `inputs`"),
        (shared(), "shared memory is not supported: send the data themselves - at `inputs[0].parameters`"),
    ],
)
def test_a_request_that_cannot_be_understood(door: Door, request_: pb.ModelInferRequest, words: str) -> None:
    refused = door.refused(request_)
    assert (refused.code, words in refused.details) == ("INVALID_ARGUMENT", True), refused.details


def test_every_kind_has_a_code() -> None:
    assert set(CODE) == set(Kind)


@pytest.mark.parametrize(
    ("model", "parameters", "code", "words"),
    [
        ("none", {}, "NOT_FOUND", "model 'none' not found"),
        ("none\r\n\x1b[31m", {}, "NOT_FOUND", r"model 'none\r\n\x1b[31m' not found"),
        ("unimplemented", {}, "UNIMPLEMENTED", "model 'unimplemented' does not implement predict"),
        ("raiser", {"how": "zero"}, "INTERNAL", "ZeroDivisionError: division by zero (request r1)"),
        ("raiser", {"how": "long"}, "INTERNAL", "ValueError: \u00fc\u00fc\u00fc"),
        ("raiser", {"how": "null"}, "INTERNAL", "output 'out' has an element that cannot be sent as bytes: null"),
        ("raiser", {"how": "refuse"}, "INVALID_ARGUMENT", "not this input"),
        ("raiser", {"how": "busy"}, "RESOURCE_EXHAUSTED", "too many wait"),
        ("raiser", {"how": "late"}, "DEADLINE_EXCEEDED", "too late"),
        ("raiser", {"how": "died"}, "UNAVAILABLE", "the worker of model 'raiser' ended"),
        ("raiser", {"how": 400}, "INVALID_ARGUMENT", "as asked"),
        ("raiser", {"how": 409}, "ABORTED", "as asked"),
        ("raiser", {"how": 422}, "FAILED_PRECONDITION", "as asked"),
        ("raiser", {"how": 418}, "UNKNOWN", "as asked"),
        ("raiser", {"how": 200}, "INVALID_ARGUMENT", "as asked"),
    ],
)
def test_codes(door: Door, model: str, parameters: dict[str, Any], code: str, words: str) -> None:
    refused = door.refused(typed_request(model, id="r1", **parameters))
    assert (refused.code, words in refused.details) == (code, True), refused.details
    assert "Traceback" not in refused.details
    assert "kitchen.py" not in refused.details


def test_unknown_models_and_versions_at_every_method(stub: Any) -> None:
    for call, request in (
        (stub.ModelReady, pb.ModelReadyRequest(name="none")),
        (stub.ModelReady, pb.ModelReadyRequest(name="twice", version="v3")),
        (stub.ModelMetadata, pb.ModelMetadataRequest(name="none")),
        (stub.TraceSetting, pb.TraceSettingRequest(model_name="none")),
        (stub.ModelInfer, raw_request("twice", version="v3")),
        (stub.ModelStreamInfer, iter([typed_request("none")])),
    ):
        assert refusal(call, request).code == "NOT_FOUND"


def test_names_that_are_paths_lead_nowhere(door: Door) -> None:
    for name in ("..", "../echo", "/etc/passwd", "%2e%2e%2f", "echo\0", "x" * 10_240, ""):
        assert door.refused(typed_request(name)).code == "NOT_FOUND"


def test_unknown_methods_and_services(channel: grpc.Channel) -> None:
    for path in ("/inference.GRPCInferenceService/None", "/inference.None/ModelInfer", "/x"):
        assert refusal(channel.unary_unary(path), b"").code == "UNIMPLEMENTED"


def test_a_message_that_is_too_large(door: Door) -> None:
    refused = door.refused(typed_request("sum", *range(LIMIT // 8 + 1)))
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert str(LIMIT) in refused.details
    assert door.infer(typed_request("sum", 1)).id


def test_a_small_message_that_inflates_to_a_large_one(connect: Callable[..., grpc.Channel]) -> None:
    unlimited = [("grpc.max_send_message_length", -1)]
    bomb = connect(compression=grpc.Compression.Gzip, options=unlimited)
    call: Any = bomb.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refusal(call, b"\0" * 1000 * LIMIT).code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(connect: Callable[..., grpc.Channel], compression: grpc.Compression) -> None:
    call: Any = connect(compression=compression).unary_unary("/inference.GRPCInferenceService/ModelInfer")
    answer = pb.ModelInferResponse.FromString(call(typed_request("sum", *range(1000)).SerializeToString()))
    assert answer.outputs[0].contents.fp64_contents == [499500]


def test_metadata_that_are_too_large(door: Door) -> None:
    assert door.refused(typed_request("sum"), metadata=[("x", "y" * 100_000)]).code == "RESOURCE_EXHAUSTED"
    assert door.infer(typed_request("sum"), metadata=[("x", "y" * 30_000)]).id


def test_what_callers_write_cannot_break_the_log(door: Door, served: Served) -> None:
    door.refused(typed_request("raiser", id="one\nFAKE line\x1b[31m", how="zero"))
    line = served.wait_for("FAKE line")
    assert r"one\nFAKE line\x1b[31m" in line
