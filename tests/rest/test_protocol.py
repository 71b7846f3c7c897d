"""One connection without a network: what it asks of its transport, and when."""

import asyncio
import contextvars
from typing import Any

import pytest

from mlserver.rest.limits import Limits
from mlserver.rest.protocol import HttpProtocol
from mlserver.rest.site import Connections, Site
from tests.rest.raw import get

VISITED: contextvars.ContextVar[bool] = contextvars.ContextVar("visited", default=False)


class Transport(asyncio.Transport):
    """Writes down what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.calls: list[str] = []
        self.ended = asyncio.Event()

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.calls.append("eof")

    def close(self) -> None:
        self.ended.set()

    def abort(self) -> None:
        self.ended.set()

    def is_closing(self) -> bool:
        return self.ended.is_set()


class Place:
    """A connection whose requests are answered when a test says so."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.visited: list[bool] = []
        self.transport = Transport()
        self.connections = Connections()
        site = Site(self._answer, None, limits=Limits(max_body_bytes=1000), access_log=False)
        self.protocol = HttpProtocol(site, self.connections)
        self.protocol.connection_made(self.transport)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        self.visited.append(VISITED.get())
        VISITED.set(True)
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    @property
    def answers(self) -> list[bytes]:
        """The bodies that were written, each of which is a path."""
        return [piece.split()[-1] for piece in self.transport.written.split(b"HTTP/1.1 ")[1:]]

    async def settle(self) -> None:
        """Until every request that may be answered is."""
        async with asyncio.timeout(20):
            while self.connections.tasks:
                await asyncio.gather(*self.connections.tasks)

    async def closed(self) -> None:
        """Until the server has closed the connection."""
        async with asyncio.timeout(20):
            await self.transport.ended.wait()


@pytest.fixture
async def place() -> Place:
    """Made within the test's loop."""
    return Place()


async def test_reading_stops_only_for_those_who_send_ahead(place: Place) -> None:
    place.protocol.data_received(get("/1"))
    assert place.transport.calls == []
    place.protocol.data_received(get("/2"))
    place.protocol.data_received(get("/3"))
    assert place.transport.calls == ["pause"]
    assert len(place.connections.tasks) == 1
    place.gate.set()
    await place.settle()
    assert place.answers == [b"/1", b"/2", b"/3"]
    assert place.transport.calls == ["pause", "resume"]
    assert place.connections.tasks == set()


async def test_reading_stops_for_those_who_go_on_after_their_last_request(place: Place) -> None:
    place.protocol.data_received(get("/1", "Connection: close"))
    place.protocol.data_received(b"x" * 100_000)
    assert place.transport.calls == ["pause"]
    place.gate.set()
    await place.settle()
    assert place.answers == [b"/1"]
    assert place.transport.is_closing()


async def test_each_request_has_a_context_of_its_own(place: Place) -> None:
    place.gate.set()
    place.protocol.data_received(get("/1") + get("/2") + get("/3"))
    await place.settle()
    assert place.visited == [False] * 3
    assert VISITED.get() is False


async def test_nothing_is_begun_for_a_caller_that_does_not_read(place: Place) -> None:
    place.gate.set()
    place.protocol.pause_writing()
    place.protocol.data_received(get("/1") + get("/2"))
    assert not place.connections.tasks
    place.protocol.resume_writing()
    await place.settle()
    assert place.answers == [b"/1", b"/2"]


async def test_shutdown_closes_what_is_idle(place: Place) -> None:
    place.protocol.shutdown()
    assert not place.transport.is_closing()
    await place.closed()


async def test_shutdown_answers_a_request_that_is_on_its_way(place: Place) -> None:
    place.gate.set()
    place.protocol.shutdown()
    place.protocol.data_received(get("/1"))
    await place.settle()
    assert place.answers == [b"/1"]
    assert place.transport.is_closing()


async def test_shutdown_lets_what_has_begun_end(place: Place) -> None:
    place.protocol.data_received(get("/1") + get("/2")[:5])
    place.protocol.shutdown()
    place.gate.set()
    await place.settle()
    assert not place.transport.is_closing()
    place.protocol.data_received(get("/2")[5:])
    await place.settle()
    assert place.transport.is_closing()
    place.protocol.data_received(get("/3"))
    assert place.answers == [b"/1", b"/2"]
    assert place.transport.written.count(b"connection: close") == 1


async def test_a_caller_that_is_gone(place: Place) -> None:
    place.protocol.data_received(get("/1") + get("/2"))
    assert list(place.connections) == [place.protocol]
    place.transport.close()
    place.protocol.connection_lost(None)
    assert len(place.connections) == 0
    assert len(place.connections.tasks) == 1
    place.gate.set()
    await place.settle()
    assert place.transport.written == b""


async def test_a_refusal_lets_what_is_in_flight_run_out(place: Place) -> None:
    place.protocol.data_received(b"nonsense\r\n\r\n")
    assert place.transport.calls == ["eof"]
    place.protocol.data_received(b"x" * 65536)
    assert not place.transport.is_closing()
    place.protocol.data_received(b"x")
    assert place.transport.is_closing()
    place.protocol.connection_lost(None)


async def test_a_request_that_is_cancelled_ends_its_connection(place: Place) -> None:
    place.protocol.data_received(get("/1"))
    await asyncio.sleep(0)
    (task,) = place.connections.tasks
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert place.transport.is_closing()
    assert place.connections.tasks == set()
