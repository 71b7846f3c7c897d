"""What could be read as one request here and as two elsewhere: refused, and nothing after it is answered."""

import pytest

from mlserver.rest.requests import Refusal, RequestReader
from tests.rest.raw import Raw, get, inference, post
from tests.seed.serving import Served

AFTER = get("/v2")
_POST = b"POST /v2/models/sum/infer HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"

CORPUS = {
    "length and chunks": _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "lengths in a list": _POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "length with a sign": _POST + b"Content-Length: +5\r\n\r\nhello",
    "negative length": _POST + b"Content-Length: -5\r\n\r\nhello",
    "hexadecimal length": _POST + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": _POST + b"Content-Length:\r\n\r\nhello",
    "bare line feeds": b"POST /v2 HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
    "a bare line feed in the head": b"POST /v2 HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": b"POST /v2 HTTP/1.1\r\nHost: x\rContent-Length: 5\r\n\r\n",
    "a folded header": _POST + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": _POST + b"Content-Length : 0\r\n\r\n",
    "a tab in a name": _POST + b"Content-\tLength: 0\r\n\r\n",
    "no name": _POST + b": x\r\n\r\n",
    "chunked, then identity": _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity": _POST + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked twice": _POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": _CHUNKED.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    + b"0\r\n\r\n",
    "a coding within chunks": _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding before chunks": _POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": _POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": _POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": _POST + b"X: \x00\r\n\r\n",
    "NUL in a name": _POST + b"X\x00: 1\r\n\r\n",
    "a chunk size with a sign": _CHUNKED + b"+1\r\nx\r\n0\r\n\r\n",
    "a chunk size with a prefix": _CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "an empty chunk size": _CHUNKED + b"\r\nx\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": _CHUNKED + b"1" * 17 + b"\r\nx\r\n0\r\n\r\n",
    "a chunk longer than its size": _CHUNKED + b"1\r\nxx\r\n0\r\n\r\n",
    "a chunk that ends in a line feed": _CHUNKED + b"1\r\nx\n0\r\n\r\n",
    "a chunk size that ends in a line feed": _CHUNKED + b"1\nx\r\n0\r\n\r\n",
    "a chunk extension with a line feed": _CHUNKED + b"1;a=b\nx\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", CORPUS.values(), ids=CORPUS)
def test_it_is_the_last_request_of_its_connection(served: Served, data: bytes) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(data + AFTER)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.error.startswith("malformed HTTP request: ")
        assert raw.closed()


@pytest.mark.parametrize("data", CORPUS.values(), ids=CORPUS)
@pytest.mark.parametrize("size", [1, 7])
def test_the_cuts_make_no_difference(data: bytes, size: int) -> None:
    reader = RequestReader(1000, 1000)
    whole = data + AFTER
    for start in range(0, len(whole), size):
        reader.feed(whole[start : start + size])
    (only,) = reader.ready
    assert isinstance(only, Refusal)
    assert only.status == 400


def test_chunk_extensions_are_http_and_ignored(served: Served) -> None:
    with Raw(served.port) as raw:
        raw.send(_CHUNKED + b'2;name="value"\r\n{}\r\n0;last\r\n\r\n' + AFTER)
        assert raw.answer().error.startswith("invalid inference request: ")
        assert raw.answer().status == 200


def test_nothing_is_answered_after_a_refusal(served: Served) -> None:
    ask = post("/v2/models/sum/infer", inference(1))
    with Raw(served.port) as raw:
        raw.send(ask * 50 + b"nonsense\r\n\r\n" + ask * 50)
        assert [raw.answer().status for _ in range(51)] == [200] * 50 + [400]
        assert raw.closed()
