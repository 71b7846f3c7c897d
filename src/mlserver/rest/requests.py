"""Requests out of the bytes of one connection: parsed by httptools, bounded here, known to no transport."""

import logging
from collections import deque
from urllib.parse import unquote_to_bytes

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

logger = logging.getLogger("mlserver.rest")

# Chunks of one body: 64 MiB in pieces of a KiB. Each costs a call, however small it is.
_MAX_CHUNKS = 65_536

# Headers that are kept by name; what came several times is joined by commas.
_KEPT = {
    b"accept-encoding": "accepts",
    b"content-encoding": "encoding",
    b"inference-header-content-length": "json_length",
    b"x-request-timeout-ms": "timeout_ms",
}
# These, and headers that say how the request itself is to be read.
_NOTED = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", *_KEPT})
# What asks to leave HTTP/1.1, which is never done.
_UPGRADE = frozenset({b"connection", b"http2-settings", b"upgrade"})


def path_and_query(target: bytes) -> tuple[bytes, bytes]:
    """The two parts of a target, still percent-encoded; from the absolute form, which proxies use, as well."""
    if not target.startswith(b"/"):
        _, slash, rest = target.partition(b"://")[2].partition(b"/")
        target = slash + rest
    path, _, query = target.partition(b"#")[0].partition(b"?")
    return path, query


def decoded(part: bytes) -> str:
    """Text of a percent-encoded part of a path; what is not UTF-8 is replaced, and so matches no name."""
    return unquote_to_bytes(part).decode("utf-8", "replace")


class Request:
    """One request, complete with its body. `target` is as sent: percent-encoded, with its query.

    `headers` are in the order received, their names lower-cased. Some are kept besides, in lower case, empty where
    there is none: `accepts` (Accept-Encoding), `encoding` (Content-Encoding), `timeout_ms` (X-Request-Timeout-Ms) and
    `json_length` (Inference-Header-Content-Length). `http10`: the caller speaks HTTP/1.0, or anything else that is not
    1.1.
    """

    __slots__ = (
        "accepts", "body", "encoding", "headers", "http10", "json_length", "keep_alive", "method", "target",
        "timeout_ms",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.keep_alive = keep_alive
        self.http10 = False
        self.encoding = self.accepts = self.json_length = self.timeout_ms = b""
        self.body = b""

    def text_headers(self) -> dict[str, str]:
        """Headers as text: bytes are Latin-1, as HTTP has them; what came several times is joined by commas."""
        found: dict[str, str] = {}
        for name, value in self.headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        return found


class Refusal:
    """A request that is refused before it is complete: the last of its connection, whose bytes have lost their meaning.

    `method` and `target` are what is known of them, perhaps empty.
    """

    __slots__ = ("message", "method", "status", "target")

    def __init__(self, status: int, message: str, method: bytes, target: bytes) -> None:
        self.status = status
        self.message = message
        self.method = method
        self.target = target


class RequestReader:
    """Takes bytes with `feed` and lays out requests in `ready`, in order.

    Holds at most one request's head and body (`head_limit` and `body_limit` bytes) besides what one read completed.
    `ended`: nothing that follows on this connection is read. `receiving`: a request has begun and is not complete;
    `in_body`: its head is. `wants_continue`: its sender waits for `100 Continue` before it sends the body.
    """

    __slots__ = (
        "_began", "_body", "_chunks", "_fed", "_head_limit", "_headers", "_limit", "_now", "_parser", "_request",
        "_target", "_upgrading", "ended", "ready", "receiving", "wants_continue",
    )  # fmt: skip

    def __init__(self, body_limit: int, head_limit: int) -> None:
        self.ready: deque[Request | Refusal] = deque()
        self.ended = False
        self.receiving = False
        self.wants_continue = False
        self._limit = body_limit
        self._head_limit = head_limit
        self._parser = HttpRequestParser(self)
        # Bytes of this read, and of the reads that the request at hand came in, the one it began in included.
        self._now = self._fed = self._began = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body: bytes | bytearray = b""
        self._upgrading = False
        self._chunks = 0

    @property
    def in_body(self) -> bool:
        """Whether the head of the request that is being received is complete."""
        return self._request is not None

    def give_up(self, message: str) -> None:
        """Refuse the request that is being received: it takes too long."""
        self._refuse(408, message)

    def feed(self, data: bytes) -> None:
        """Take in what was read. Never raises: what cannot be read becomes a Refusal."""
        rest: bytes | memoryview = data
        while rest and not self.ended:
            rest = self._parse(rest)
        if self.receiving:
            self._bound()

    def close(self) -> None:
        """Take no more. The parser and its callbacks hold each other: let go, so that no collection is needed."""
        self.ended = True
        self.ready.clear()
        self._request, self._body, self._headers = None, b"", []
        del self._parser

    def _parse(self, data: bytes | memoryview) -> memoryview | bytes:
        """Parse all of `data`, but for what follows a request that asks for an upgrade: that is returned."""
        self._now = len(data)
        self._fed += self._now
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as stop:
            self._stay()
            return memoryview(data)[stop.args[0] :]
        except HttpParserCallbackError as error:
            logger.error("unexpected failure while reading a request", exc_info=error.__context__)
            self._refuse(500, "internal error; the server's log says more")
        except HttpParserError as error:
            self._refuse(400, f"malformed HTTP request: {error}")
        return b""

    def _stay(self) -> None:
        """Read a request that asks for an upgrade as one that does not.

        The parser takes the body of such a request for another protocol; HTTP has it ignored by servers that know none
        (RFC 9110, 7.8), and some clients ask for HTTP/2 with every POST. So its head is parsed again without the wish.
        """
        if self.ended:
            return
        old, self._upgrading = self._parser, False
        kept = [header for header in self._headers if header[0] not in _UPGRADE]
        if not old.should_keep_alive():
            kept.append((b"connection", b"close"))
        head = b"%b %b HTTP/%b\r\n" % (old.get_method(), self._target, old.get_http_version().encode())
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(head + b"".join(b"%b: %b\r\n" % header for header in kept) + b"\r\n")

    def _bound(self) -> None:
        """Refuse what goes on without end: a head, or chunk headers, extensions and trailers around a small body."""
        surely = self._fed - self._began
        if self._request is None and surely > self._head_limit:
            self._refuse_head()
        elif surely > self._limit + self._head_limit:
            self._refuse_body()

    def _refuse_head(self) -> None:
        self._refuse(431, f"the request's line and headers are larger than max_header_bytes = {self._head_limit}")

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is larger than max_body_bytes = {self._limit}")

    def _refuse(self, status: int, message: str) -> None:
        if self.ended:
            return  # what follows the last request is nobody's
        self.ended, self.receiving, self.wants_continue = True, False, False
        method = self._request.method if self._request else b""
        self.ready.append(Refusal(status, message, method, self._target))

    # What httptools calls. A callback for a connection that has ended does nothing: the parser cannot be stopped
    # within what one read brought.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._fed = self._began = self._now
        self._target = b""
        self._headers = []
        self._request = None
        self._body = b""
        self._chunks = 0
        self.receiving = not self.ended

    def on_url(self, url: bytes) -> None:
        """The target, or the next piece of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Those after the body, trailers, are dropped: nobody here asked for them."""
        if self._request is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Refuse now what will be refused anyway, so that its body is never read."""
        parser = self._parser
        if self.ended:
            return
        if self._fed > self._head_limit and self._head_bytes() > self._head_limit:
            self._refuse_head()
        elif parser.should_upgrade():
            self._upgrading = True
            if parser.get_method() == b"CONNECT":
                self._refuse(405, "Method Not Allowed: CONNECT")
        else:
            request = Request(parser.get_method(), self._target, self._headers, parser.should_keep_alive())
            request.http10 = not request.keep_alive and parser.get_http_version() != "1.1"
            self._request = request
            for name, value in self._headers:
                if name in _NOTED:
                    self._note(request, name, value)

    def on_chunk_header(self) -> None:
        """One more chunk begins."""
        self._chunks += 1
        if self._chunks > _MAX_CHUNKS + 1:  # and the empty one, which is the last
            self._refuse(400, f"the body has more than {_MAX_CHUNKS} chunks")

    def on_body(self, data: bytes) -> None:
        """The body, or the next piece of it."""
        if self.ended:
            return
        body = self._body
        if not body:
            self._body = data
        else:
            if isinstance(body, bytes):
                self._body = body = bytearray(body)
            body += data
        self.wants_continue = False
        if len(self._body) > self._limit:
            self._refuse_body()

    def on_message_complete(self) -> None:
        """The request is complete, unless its body was left out because it asks for an upgrade."""
        request = self._request
        if self.ended or self._upgrading or request is None:
            return
        request.body = bytes(self._body)
        self._body = b""
        self._request = None  # what is kept here stays for as long as the connection
        self.ready.append(request)
        self.receiving = self.wants_continue = False
        self.ended = not request.keep_alive

    def _note(self, request: Request, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if int(value) > self._limit:
                self._refuse_body()
        elif name in _KEPT:
            kept, new = _KEPT[name], value.strip().lower()
            before: bytes = getattr(request, kept)
            setattr(request, kept, b"%b, %b" % (before, new) if before else new)
        elif name == b"expect":
            self.wants_continue = not self.ended and value.lower() == b"100-continue"
        elif name == b"transfer-encoding":
            if value.strip().lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                self._refuse(400, "malformed HTTP request: the only Transfer-Encoding is chunked, of HTTP/1.1")
        else:  # only with this header does a connection of HTTP/1.0 stay open
            request.http10 = self._parser.get_http_version() != "1.1"

    def _head_bytes(self) -> int:
        """The size of the head; spaces that the parser removed are not counted."""
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
