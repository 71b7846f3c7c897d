"""A TCP relay between a server's Kafka clients and the broker, that does to them what networks do.

Of what passes it reads the length of a request or response, the API key of the one and the correlation id of both:
enough to know which response answers which request, whatever the protocol's version.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from typing import Self

from mlserver.testing.kafka_process import HOST

PRODUCE, OFFSET_COMMIT, END_TXN, TXN_OFFSET_COMMIT = 0, 8, 26, 28
"""API keys: the first two bytes of a request."""

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close that does not wait is an RST


class Held:
    """A request on its way that is let through when the test says so."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        """Set when the request is here."""
        self.answered = threading.Event()
        """Set when the broker has answered it."""
        self.error = 0
        """What the broker answered, by the protocol's code; of responses that begin with it, as EndTxn's do."""
        self._let_go = threading.Event()

    def release(self) -> None:
        """Let it through, whether or not its sender still waits."""
        self._let_go.set()

    @property
    def released(self) -> bool:
        """Whether it may pass."""
        return self._let_go.is_set()


class Relay:
    """A context manager; listens at `port` and passes on to the listener `Relayed` of a broker."""

    def __init__(self, port: int, broker_port: int) -> None:
        self._port = port
        self._broker_port = broker_port
        self.reset_every = 0
        """Every so many requests the connection of one is reset; 0: none."""
        self.passed: Counter[int] = Counter()
        """Requests by API key."""
        self.resets = 0
        self._to_lose: Counter[int] = Counter()
        self._to_hold: defaultdict[int, deque[Held]] = defaultdict(deque)
        self._dark = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay")

    @property
    def bootstrap(self) -> str:
        """Where clients find it."""
        return f"{HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        start = asyncio.start_server(self._serve, HOST, self._port)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextlib.contextmanager
    def blackhole(self) -> Iterator[None]:
        """Nothing passes, either way, and no connection ends; afterwards what was under way arrives."""
        self._dark = True
        try:
            yield
        finally:
            self._dark = False

    def lose(self, api: int, count: int = 1) -> None:
        """The next so many responses to `api` are lost, each with its connection: what was asked for is done."""
        self._to_lose[api] += count

    def lost(self, api: int) -> bool:
        """Whether all that were to be lost are."""
        return not self._to_lose[api]

    def hold(self, api: int) -> Held:
        """The next request of this kind waits, and all behind it on its connection."""
        held = Held()
        self._to_hold[api].append(held)
        return held

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(HOST, self._broker_port, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), upstream)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await connection.run()
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def request(self, api: int) -> Held | None:
        """Before a request passes; one that was held, where it was. Raises ConnectionResetError."""
        await self.light()
        self.passed[api] += 1
        if self.reset_every and self.passed.total() % self.reset_every == 0:
            self.resets += 1
            raise ConnectionResetError
        if not self._to_hold[api]:
            return None
        held = self._to_hold[api].popleft()
        held.reached.set()
        while not held.released:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        return held

    async def response(self, api: int) -> None:
        """Before a response passes. Raises ConnectionResetError where it is lost."""
        await self.light()
        if self._to_lose[api]:
            self._to_lose[api] -= 1
            self.resets += 1
            raise ConnectionResetError

    async def light(self) -> None:
        """Wait while nothing may pass."""
        while self._dark:  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)


class _Connection:
    """One client's, and the one to the broker that it stands for."""

    def __init__(
        self,
        relay: Relay,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._relay = relay
        self._client = client
        self._broker = broker
        self._waiting: dict[bytes, tuple[int, Held | None]] = {}

    async def run(self) -> None:
        """Until the broker's side has ended, or a fault ends both."""
        requests = asyncio.create_task(self._requests())
        try:
            await self._responses()
        finally:
            requests.cancel()
            self._reset()

    async def _requests(self) -> None:
        """What the client has sent reaches the broker, even where it has gone meanwhile."""
        reader, writer = self._client[0], self._broker[1]
        try:
            async for frame in _frames(reader):
                api = int.from_bytes(frame[4:6])
                held = await self._relay.request(api)
                self._waiting[frame[8:12]] = api, held
                await _write(writer, frame)
            writer.write_eof()
        except OSError:
            self._reset()

    async def _responses(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            async for frame in _frames(self._broker[0]):
                api, held = self._waiting.pop(frame[4:8])
                if held is not None:
                    # Behind the correlation id: four bytes of a quota's time, then the error's code.
                    held.error = int.from_bytes(frame[12:14], signed=True)
                    held.answered.set()
                await self._relay.response(api)
                await _write(self._client[1], frame)

    def _reset(self) -> None:
        for _, writer in (self._client, self._broker):
            sock: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Requests or responses, each with its length before it, until there are no more."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            length = await reader.readexactly(4)
            yield length + await reader.readexactly(int.from_bytes(length))


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    """To whoever is still there."""
    if not writer.transport.is_closing():
        writer.write(frame)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
