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
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_HEADERS, ACK = 4, 1
MAX_CONCURRENT_STREAMS = 3  # a setting
INFER = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/inference.GRPCInferenceService/ModelInfer",
    ":authority": "x",
    "te": "trailers",
    "content-type": "application/grpc",
}


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def fields(headers: dict[str, str]) -> bytes:
    """Headers without any of HPACK's savings; names and values are shorter than 127 bytes."""
    return b"".join(
        b"\0%c%b%c%b" % (len(name), name.encode(), len(value), value.encode()) for name, value in headers.items()
    )


def call(number: int) -> bytes:
    """The beginning of the connection's call of that number, counted from 0, whose message never comes."""
    return frame(HEADERS, fields(INFER), stream=2 * number + 1, flags=END_HEADERS)


@contextlib.contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    """A connection that has said its preface."""
    with socket.create_connection(("127.0.0.1", port_of(served)), timeout=PATIENCE_SECONDS) as sock:
        sock.sendall(PREFACE + frame(SETTINGS))
        yield sock


@pytest.fixture
def wire(served: Served) -> Iterator[socket.socket]:
    """The same."""
    with connected(served) as sock:
        yield sock


def frames(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The kinds of frames with their payloads until the server closes the connection."""
    with sock.makefile("rb") as file, contextlib.suppress(ConnectionError):
        while len(head := file.read(9)) == 9:
            yield head[3], file.read(int.from_bytes(head[:3]))


def kinds(sock: socket.socket) -> list[int]:
    """The kinds of all frames until the server closes the connection."""
    return [kind for kind, _ in frames(sock)]


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


def test_a_connection_takes_a_hundred_calls_at_once(wire: socket.socket, door: Door) -> None:
    """The server says so, and whoever does not listen loses the connection, or the calls above."""
    kind, payload = next(frames(wire))
    assert kind == SETTINGS
    told = dict(struct.iter_unpack(">HI", payload))
    assert told[MAX_CONCURRENT_STREAMS] == 100
    send(wire, frame(SETTINGS, flags=ACK) + b"".join(map(call, range(1000))), 1)
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_WR)
    found = kinds(wire)
    assert GOAWAY in found or found.count(RST) >= 900
    assert door.infer(typed_request("sum")).id


def test_a_flood_of_calls_that_are_begun_and_reset(wire: socket.socket, door: Door) -> None:
    cancelled = struct.pack(">I", 8)
    for start in range(0, 10_000, 100):
        numbers = range(start, start + 100)
        send(wire, b"".join(call(number) + frame(RST, cancelled, stream=2 * number + 1) for number in numbers), 1)
        assert door.infer(typed_request("sum")).id
    ended(wire)


def test_headers_without_end(wire: socket.socket, door: Door) -> None:
    send(wire, frame(HEADERS, fields(INFER), stream=1), 1)
    send(wire, frame(CONTINUATION, fields({"x": "y" * 100}) * 100, stream=1), 1000)
    ended(wire)
    assert door.infer(typed_request("sum")).id


def test_half_of_a_call(wire: socket.socket, door: Door) -> None:
    send(wire, call(0) + frame(DATA, b"\0\0\0\1\0half", stream=1), 1)
    ended(wire)
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
