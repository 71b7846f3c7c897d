"""Heads of responses, as bytes."""

import re
import time
from email.utils import formatdate
from http import HTTPStatus

# A header name is a token (RFC 9110, 5.6.2); a value holds no control character but the tab (5.5).
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Heads:
    """Beginnings of responses, put together once a second, which is as long as a Date holds."""

    __slots__ = ("_binary", "_json", "_second", "_starts")

    def __init__(self) -> None:
        self._second = 0
        self._starts: dict[int, bytes] = {}
        self._json: dict[int, bytes] = {}
        self._binary: dict[int, bytes] = {}

    def start(self, status: int) -> bytes:
        """The status line and the Date."""
        self._tick()
        start = self._starts.get(status)
        if start is None:
            line = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\ndate: {formatdate(self._second, usegmt=True)}\r\n"
            start = self._starts[status] = line.encode("ascii")
        return start

    def json(self, status: int) -> bytes:
        """The same with the Content-Type of JSON, exactly: clients compare the whole value."""
        self._tick()
        head = self._json.get(status)
        if head is None:
            head = self._json[status] = self.start(status) + b"content-type: application/json\r\n"
        return head

    def binary(self, status: int) -> bytes:
        """The same for JSON with binary data behind it."""
        self._tick()
        head = self._binary.get(status)
        if head is None:
            head = self._binary[status] = self.start(status) + b"content-type: application/octet-stream\r\n"
        return head

    def _tick(self) -> None:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._starts.clear()
            self._json.clear()
            self._binary.clear()


def header_line(name: bytes, value: bytes) -> bytes:
    """`name: value` with its line end, the name lower-cased. Raises ValueError for what would break the head."""
    if not _NAME(name) or not _VALUE(value):
        raise ValueError(f"{name[:64]!r}: {value[:64]!r} cannot be sent as an HTTP header")
    return b"%b: %b\r\n" % (name.lower(), value)
