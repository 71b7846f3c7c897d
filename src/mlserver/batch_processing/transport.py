"""What the batch client needs of a way to the server, and how a request fails on it."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from mlserver.batch_processing.lines import Message


class RequestFailed(Exception):
    """A request without an answer.

    `again` says whether the same request may succeed later, not before `after_seconds`; `reached` whether the server
    had a look at it, so that what is wrong may be one of its lines.
    """

    def __init__(self, message: str, *, again: bool, reached: bool = True, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.again = again
        self.reached = reached
        self.after_seconds = after_seconds


class Transport(Protocol):
    """A way to one model of one server. Used by many tasks at once."""

    async def infer(self, request: Message) -> Message:
        """The response to `request`. Raises RequestFailed."""

    async def close(self) -> None:
        """Give back the connections."""


def headers_of(request: Message, given: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request: those `given`, and those that carry its id, percent-encoded where that is not plain
    ASCII. Who gives one of these gets their own.
    """
    text = quote(str(request["id"]), safe=" !#$&'()*+,/:;=?@[]_-.~%<>|^`{}\"\\")
    theirs = {name.lower() for name in given}
    return {**given, **{name: text for name in ("seldon-puid", "x-request-id") if name not in theirs}}
