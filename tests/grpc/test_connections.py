"""What happens on connections before there is a call: raw HTTP/2."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

import grpc
import pytest

from mlserver import MLServer, ModelSettings, Settings
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from tests.grpc.client import PATIENCE_SECONDS, Door, typed_request
from tests.grpc.conftest import port_of
from tests.grpc.kitchen import Sum
from tests.seed.serving import Served

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, RST, SETTINGS, PING, GOAWAY = 0, 3, 4, 6, 7


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


@pytest.fixture
def wire(served: Served) -> Iterator[socket.socket]:
    """A connection that has said its preface."""
    with socket.create_connection(("127.0.0.1", port_of(served)), timeout=PATIENCE_SECONDS) as sock:
        sock.sendall(PREFACE + frame(SETTINGS))
        yield sock


def kinds(sock: socket.socket) -> list[int]:
    """The kinds of all frames until the server closes the connection."""
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionError:
        pass
    found, at = [], 0
    while at + 9 <= len(data):
        found.append(data[at + 3])
        at += 9 + int.from_bytes(data[at : at + 3])
    return found


def send(sock: socket.socket, data: bytes, times: int) -> None:
    """So many times, or until the server has closed the connection."""
    try:
        for _ in range(times):
            sock.sendall(data)
    except ConnectionError:
        pass


def ended(sock: socket.socket) -> None:
    """Say that nothing more comes, unless the server has closed the connection already, and wait for its end."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    kinds(sock)


def test_a_flood_of_pings_ends_the_connection(wire: socket.socket, door: Door) -> None:
    send(wire, frame(PING, b"12345678"), 10_000)
    assert GOAWAY in kinds(wire)
    assert door.infer(typed_request("sum")).id


@pytest.mark.parametrize(
    "bad",
    [
        frame(DATA, b"x" * 20_000, stream=1),
        frame(DATA, b"x", stream=0),
        frame(SETTINGS, b"x"),
        frame(PING, b"x"),
        frame(GOAWAY, b""),
        b"\xff" * 64,
    ],
)
def test_frames_that_cannot_be(wire: socket.socket, door: Door, bad: bytes) -> None:
    send(wire, bad, 1)
    ended(wire)
    assert door.infer(typed_request("sum")).id


def test_what_is_no_http_2(served: Served, door: Door) -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b""):
        with socket.create_connection(("127.0.0.1", port_of(served)), timeout=PATIENCE_SECONDS) as sock:
            send(sock, data, 1)
            ended(sock)
    assert door.infer(typed_request("sum")).id


async def test_in_code_with_options_of_the_channel() -> None:
    settings = Settings(host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0, parallel_workers=0)
    settings._custom_grpc_server_settings = {"grpc.max_receive_message_length": 1000}
    server = MLServer(settings)
    running = asyncio.create_task(server.start([ModelSettings(name="sum", implementation=Sum)]))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{await _port(server, running)}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            answer = await stub.ModelInfer(typed_request("sum", 1, 2), wait_for_ready=True, timeout=PATIENCE_SECONDS)
            assert answer.outputs[0].contents.fp64_contents == [3.0]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ModelInfer(typed_request("sum", *range(200)))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        await server.stop()
        await running


async def _port(server: MLServer, running: asyncio.Task[None]) -> int:
    while not server.dataplane.ready():
        assert not running.done()
        await asyncio.sleep(0.01)
    return server.grpc_port
