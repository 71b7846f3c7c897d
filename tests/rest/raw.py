"""HTTP as bytes on a socket, for what no client library would send."""

import json
import socket
from typing import Any, NamedTuple, Self

PATIENCE_SECONDS = 20.0


class Answer(NamedTuple):
    """One response; header names are lower-cased."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The text of the protocol's error body, which has nothing else in it."""
        assert self.headers["content-type"] == "application/json"
        (name, text), *more = json.loads(self.body).items()
        assert name == "error"
        assert not more
        assert isinstance(text, str)
        return text


class Raw:
    """A connection to 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both directions."""
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)

    def ask(self, data: bytes) -> Answer:
        """Send, and the next answer."""
        self.send(data)
        return self.answer()

    def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer, interim ones as well; `bodiless` for those to HEAD."""
        line = self._file.readline().decode()
        assert line.startswith("HTTP/1.1 "), f"no answer, but {line!r}"
        status = int(line.split(" ", 2)[1])
        headers = {}
        while (line := self._file.readline().decode()) not in ("\r\n", ""):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = b"" if bodiless or status == 100 else self._body(headers)
        return Answer(status, headers, body)

    def closed(self) -> bool:
        """Whether the other side has closed, with nothing more to read. Waits for either."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self._file.read(int(headers["content-length"])) if "content-length" in headers else self._file.read()
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            assert self._file.readline() == b"\r\n"
        assert self._file.readline() == b"\r\n"
        return body


def inference(*data: float, **fields: Any) -> dict[str, Any]:
    """A request for one row."""
    tensor = {"name": "x", "shape": [1, len(data)], "datatype": "FP64", "data": list(data)}
    return {"inputs": [tensor], **fields}


def post(path: str, body: Any, *headers: str) -> bytes:
    """The bytes of a POST: `body` as it is where it is bytes, else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def chunked(path: str, *chunks: bytes) -> bytes:
    """The bytes of a POST in chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
