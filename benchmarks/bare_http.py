"""The cheapest thing that answers HTTP: what the load generator measures against it is the generator's own ceiling.

`python -m benchmarks.bare_http` prints its port and answers the question of the case `bare` until it is ended.
"""

import asyncio
import json
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.cases import BARE, questions
from benchmarks.http_load import http_request


class ConstantAnswer(asyncio.Protocol):
    """Counts bytes instead of parsing: every request has the same length."""

    def __init__(self, request_bytes: int, response: bytes) -> None:
        self._request_bytes = request_bytes
        self._response = response
        self._waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._waiting += len(data)
        while self._waiting >= self._request_bytes:
            self._waiting -= self._request_bytes
            self._transport.write(self._response)


async def _serve() -> None:
    question = questions(BARE, Path())[0]
    answer = json.dumps({"id": "c0", "outputs": [{"data": list(question.expected)}]}).encode()
    response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
    size = len(http_request(BARE.model.name, question.body("c0")))
    server = await asyncio.get_running_loop().create_server(lambda: ConstantAnswer(size, response), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
