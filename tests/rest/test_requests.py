"""Requests out of bytes, however these are cut; and what one connection can make the server hold."""

import pytest

from mlserver.rest.requests import Refusal, Request, RequestReader, decoded, path_and_query
from tests.rest.raw import chunked, get, post

LIMIT = 1000
HEAD_LIMIT = 64 * 1024
LENGTH = "Inference-Header-Content-Length"
MIX = (
    post("/a", b"first", "Content-Encoding: GZIP")
    + get("/b", "Upgrade: h2c", "Connection: upgrade")
    + chunked("/c", b"in ", b"chunks").replace(b"0\r\n\r\n", b"0\r\nX-Trailer: never\r\n\r\n")
    + post("/d", b"upgraded", "Upgrade: h2c", "Connection: upgrade, close")
)


def read(*pieces: bytes) -> list[Request | Refusal]:
    """What comes out of a connection's bytes."""
    reader = RequestReader(LIMIT, HEAD_LIMIT)
    for piece in pieces:
        reader.feed(piece)
    return list(reader.ready)


def refused(*pieces: bytes) -> tuple[int, bytes]:
    """Status and target of the one thing that comes out."""
    (refusal,) = read(*pieces)
    assert isinstance(refusal, Refusal)
    return refusal.status, refusal.target


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(MIX)])
def test_the_cuts_make_no_difference(size: int) -> None:
    found = read(*(MIX[start : start + size] for start in range(0, len(MIX), size)))
    requests = [request for request in found if isinstance(request, Request)]
    assert [(request.method, request.target, request.body) for request in requests] == [
        (b"POST", b"/a", b"first"),
        (b"GET", b"/b", b""),
        (b"POST", b"/c", b"in chunks"),
        (b"POST", b"/d", b"upgraded"),
    ]
    assert [request.keep_alive for request in requests] == [True, True, True, False]
    assert [request.encoding for request in requests] == [b"gzip", b"", b"", b""]
    assert len(requests) == len(found)
    assert "x-trailer" not in requests[2].text_headers()


def test_nothing_is_read_after_the_last_request() -> None:
    (only,) = read(get("/a", "Connection: close") + get("/b"), get("/c"), b"\x00")
    assert isinstance(only, Request)
    assert only.target == b"/a"


def test_a_reader_knows_what_it_is_in_the_middle_of() -> None:
    reader = RequestReader(LIMIT, HEAD_LIMIT)
    states = []
    data = post("/", b"x", "Expect: 100-continue")
    for piece in (b"", data[:1], data[1:-1], data[-1:]):
        reader.feed(piece)
        states.append((reader.receiving, reader.wants_continue, len(reader.ready)))
    assert states == [(False, False, 0), (True, False, 0), (True, True, 0), (False, False, 1)]
    reader.close()
    reader.feed(get("/"))
    assert len(reader.ready) == 0


def test_a_head_of_the_largest_size() -> None:
    around = len(get("/", "X: ")) - len("GET  HTTP/1.1\r\n") - len("\r\n")
    (request,) = read(get("/", "X: " + "x" * (HEAD_LIMIT - around)))
    assert isinstance(request, Request)
    assert refused(get("/", "X: " + "x" * (HEAD_LIMIT - around + 1))) == (431, b"/")


@pytest.mark.parametrize(
    "endless",
    [b"GET /" + b"x" * 1000, b"GET / HTTP/1.1\r\nX" + b"x" * 1000, b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200],
    ids=["target", "name", "headers"],
)
def test_a_head_that_never_ends(endless: bytes) -> None:
    piece = endless[-1000:] if b"X: 1" not in endless else b"X: 1\r\n" * 200
    assert refused(endless, *[piece] * (HEAD_LIMIT // len(piece) + 2))[0] == 431


@pytest.mark.parametrize("declared", [LIMIT + 1, 2**63])
def test_a_body_that_says_it_is_too_large(declared: int) -> None:
    assert refused(f"POST /a HTTP/1.1\r\nContent-Length: {declared}\r\n\r\n".encode()) == (413, b"/a")


def test_a_body_that_becomes_too_large() -> None:
    (fits,) = read(chunked("/", *[b"x"] * LIMIT))
    assert isinstance(fits, Request)
    assert refused(chunked("/a", *[b"x"] * (LIMIT + 1))) == (413, b"/a")


@pytest.mark.parametrize(
    "around", [b"1;" + b"e" * 1000 + b"\r\nx\r\n", b"0\r\n" + b"T: 1\r\n" * 200], ids=["extension", "trailers"]
)
def test_what_is_around_a_body_is_bounded_too(around: bytes) -> None:
    head = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    more = around if around[:1] == b"1" else around[3:]
    assert refused(head, around, *[more] * ((LIMIT + HEAD_LIMIT) // len(more) + 2)) == (413, b"/a")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%20b?c=d?e#f", b"/a%20b", b"c=d?e"),
        (b"http://host:1/a?b", b"/a", b"b"),
        (b"http://host", b"", b""),
        (b"//host/a", b"//host/a", b""),
        (b"*", b"", b""),
    ],
)
def test_parts_of_a_target(target: bytes, path: bytes, query: bytes) -> None:
    assert path_and_query(target) == (path, query)


def test_percent_encoding() -> None:
    assert [decoded(part) for part in (b"a%2Fb", b"%e4%bd%a0", b"%ff", b"%zz%")] == ["a/b", "你", "\ufffd", "%zz%"]


def test_chunks_are_counted() -> None:
    reader = RequestReader(10**6, HEAD_LIMIT)
    reader.feed(chunked("/a", *[b"x"] * 65_536) + get("/b"))
    first, second = reader.ready
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert len(first.body) == 65_536
    reader.feed(chunked("/c", *[b"x"] * 65_537))
    refusal = reader.ready[-1]
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.message) == (400, "the body has more than 65536 chunks")


def test_headers_that_are_kept_by_name() -> None:
    (request,) = read(
        post("/", b"", "Accept-Encoding: GZIP", "accept-encoding: br", "X-Request-Timeout-Ms: 5", f"{LENGTH}: 7")
    )
    assert isinstance(request, Request)
    assert (request.accepts, request.timeout_ms, request.json_length) == (b"gzip, br", b"5", b"7")
    (request,) = read(post("/", b"", f"{LENGTH}: 7", f"{LENGTH}: 8"))
    assert isinstance(request, Request)
    assert request.json_length == b"7, 8"
