"""Bytes that are no message, or nearly one: each gets an answer, and the server lives on."""

from typing import Any

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.grpc.client import PATIENCE_SECONDS, Door, Refused, raw_request, refusal, typed_request

# PERMISSION_DENIED is what a change of settings gets.
EXPECTED = {"INVALID_ARGUMENT", "INTERNAL", "RESOURCE_EXHAUSTED", "NOT_FOUND", "PERMISSION_DENIED", "OK"}
SOUND = [
    message.SerializeToString()
    for message in (raw_request("sum", id="one", a=1, b="two"), typed_request("sum", 1, 2, version="v"))
]
METHODS = ("ModelInfer", "ModelMetadata", "RepositoryIndex", "LogSettings")


def ended(channel: grpc.Channel, data: bytes, method: str = "ModelInfer") -> str:
    """The code that a call with these bytes ends with."""
    call: Any = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    try:
        call(data, timeout=PATIENCE_SECONDS)
    except grpc.RpcError as error:
        return Refused(error).code
    return "OK"


@st.composite
def damaged(draw: Any) -> bytes:
    """A sound message with a few bytes changed, cut or doubled."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "cut", "insert"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut" if at:
                del data[at:]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=damaged() | st.binary(max_size=64), method=st.sampled_from(METHODS))
def test_damaged_messages(channel: grpc.Channel, data: bytes, method: str) -> None:
    assert ended(channel, data, method) in EXPECTED


def test_groups_in_groups_and_lengths_that_lie(channel: grpc.Channel, door: Door) -> None:
    for data in (
        b"\x2b" * 10_000,  # a group in a group, and so on
        b"\x2a\xff\xff\xff\xff\x0f",  # an input of 4 GiB
        b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # a length of more than ten bytes
        b"\x0a\x02\xff\xfe",  # a name that is not UTF-8
        b"\x00\x01",  # a field of number 0
    ):
        assert ended(channel, data) == "INVALID_ARGUMENT"
    assert door.infer(typed_request("sum")).id


def test_unknown_fields_are_ignored(channel: grpc.Channel) -> None:
    assert ended(channel, SOUND[0] + b"\xfa\x3e\x03abc") == "OK"


def test_what_does_not_parse_ends_a_stream(channel: grpc.Channel) -> None:
    call: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    assert refusal(call, iter([b"\xff"]), timeout=PATIENCE_SECONDS).code == "INVALID_ARGUMENT"
