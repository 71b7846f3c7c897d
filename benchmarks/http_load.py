"""HTTP load generator: a closed loop over N keep-alive connections, in a process of its own.

`python -m benchmarks.http_load --case rest-light --folder F --port P --root PID` prints one Figures object as JSON.
Requests are built beforehand and answers are compared as bytes with the connection's first one, which was parsed and
checked; an answer with other bytes is parsed and checked again. So every answer counted is a right one. What is usual,
a 200 of the known length that ends with the known body, takes four comparisons.
"""

import argparse
import asyncio
import dataclasses
import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import uvloop

from benchmarks import process_tree
from benchmarks.cases import Case, Question, case_named, questions
from benchmarks.figures import Figures, percentile

_HEAD_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200"


class BadResponseError(Exception):
    """Not a 200 with a Content-Length, or a connection the server closed."""


def http_request(model: str, body: bytes) -> bytes:
    """The bytes of one inference request."""
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def content_length(head: bytes) -> int:
    """Of a response head; anything but a 200 with a length is an error."""
    if not head.startswith(_OK):
        raise BadResponseError(f"not a 200: {head[:300]!r}")
    name = b"\r\ncontent-length:"
    at = head.lower().find(name)
    if at < 0:
        raise BadResponseError(f"no Content-Length: {head[:300]!r}")
    return int(head[at + len(name) :].split(b"\r\n", 1)[0])


class Timed(Protocol):
    """A connection that keeps the seconds of each round."""

    @property
    def latencies(self) -> list[float]:
        """Seconds from question to answer."""
        ...


class Connection(asyncio.Protocol):
    """Sends its one request again as soon as the answer is in; keeps the seconds each round took."""

    def __init__(self, question: Question, request_id: str, model: str, failed: asyncio.Future[None]) -> None:
        self.latencies: list[float] = []
        self._question = question
        self._id = request_id
        self._request = http_request(model, question.body(request_id))
        self._failed = failed
        self._received = bytearray()
        self._head = 0  # bytes of the head with its empty line, once known
        self._total = 0  # bytes of the whole answer, once known
        self._right = b""  # the last body found right
        self._usual = 0  # bytes of the whole answer it came in
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not inherit from it
        self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._sent = time.perf_counter()
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if len(data) == self._usual and data.startswith(_OK) and data.endswith(self._right) and not self._received:
            self.latencies.append(time.perf_counter() - self._sent)
            self._send()
            return
        self._received += data
        self._look_closer()

    def _look_closer(self) -> None:
        """The first answer, one in several pieces, or one that differs."""
        received = self._received
        try:
            if not self._total:
                at = received.find(_HEAD_END)
                if at < 0:
                    return
                self._head = at + len(_HEAD_END)
                self._total = self._head + content_length(bytes(received[: self._head]))
            if len(received) >= self._total:
                self._answered()
        except Exception as error:
            self._fail(error)

    def _answered(self) -> None:
        self.latencies.append(time.perf_counter() - self._sent)
        body = bytes(self._received[self._head :])
        if body != self._right:
            self._question.check(body, self._id)
            self._right = body
        self._usual = len(self._received)
        self._received.clear()
        self._total = 0
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._fail(BadResponseError(f"connection lost: {exc}"))

    def close(self) -> None:
        """No further request."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)
        self.close()


async def sleep(seconds: float, failed: asyncio.Future[None]) -> None:
    """Sleep, unless a connection fails: then its error."""
    await asyncio.wait([failed], timeout=seconds)
    if failed.done():
        failed.result()


async def run_load(case: Case, folder: Path, port: int, root: int, warmup: float, seconds: float) -> Figures:
    """Load for `warmup` seconds, then measure the tree of `root` for `seconds`."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()
    asked = questions(case, folder)
    connections = [
        Connection(asked[n % len(asked)], f"c{n % len(asked)}", case.model.name, failed)
        for n in range(case.connections)
    ]
    for connection in connections:
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]
    await sleep(warmup, failed)
    figures = await window(connections, root, seconds, failed)
    for connection in connections:
        connection.close()
    return figures


async def window(connections: Sequence[Timed], root: int, seconds: float, failed: asyncio.Future[None]) -> Figures:
    """Measure the tree of `root`, and the rounds of the connections, for `seconds`."""
    before = process_tree.usage(root)
    for connection in connections:
        connection.latencies.clear()
    begin, own_begin = time.perf_counter(), time.process_time()
    await sleep(seconds, failed)
    elapsed, own = time.perf_counter() - begin, time.process_time() - own_begin
    after = process_tree.usage(root)
    latencies = sorted(latency for connection in connections for latency in connection.latencies)
    if not latencies:
        raise BadResponseError(f"no answer in {seconds} s")
    count = len(latencies)
    return Figures(
        count=count,
        seconds=elapsed,
        server_cpu_us=(after.cpu_seconds - before.cpu_seconds) / count * 1e6,
        generator_cpu_us=own / count * 1e6,
        rate=count / elapsed,
        rss_mb=max(before.rss_bytes, after.rss_bytes) / 1e6,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
    )


def parsed_arguments(description: str) -> argparse.Namespace:
    """What a load generator of this form is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--case", required=True, type=case_named)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--root", required=True, type=int, help="pid of the server's session")
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


def main() -> None:
    """Run one window and print its figures."""
    args = parsed_arguments("closed-loop HTTP load on one case")
    gc.disable()  # nothing here makes cycles; a collection would show up as latency
    figures = uvloop.run(run_load(args.case, args.folder, args.port, args.root, args.warmup, args.seconds))
    print(json.dumps(dataclasses.asdict(figures)))


if __name__ == "__main__":
    main()
