"""Content-Encoding, of requests and of answers."""

import gzip
import json
import zlib
from typing import Any

import pytest

from mlserver.rest.body import accepted
from tests.rest.raw import Raw, get, inference, post
from tests.rest.test_answers import infer
from tests.seed.serving import Served

ECHO = "/v2/models/echo/infer"
LONG = inference(*range(300))


def raw_deflate(body: bytes) -> bytes:
    """Deflate without zlib's header, as some send it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("pack", [zlib.compress, raw_deflate, lambda body: zlib.compress(body, 0)])
def test_deflate(served: Served, pack: Any) -> None:
    answer = infer(served, pack(json.dumps(inference(1, 2)).encode()), content_encoding="deflate")
    assert (answer.status_code, answer.json()["outputs"][0]["data"]) == (200, [3.0])


@pytest.mark.parametrize("packed", [b"", b"x", zlib.compress(b"{}")[:-1], zlib.compress(b"{}") + b"x", b"\x78\x9cx"])
def test_deflate_that_is_none(served: Served, packed: bytes) -> None:
    answer = infer(served, packed, content_encoding="deflate")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body is not valid deflate: ")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb(hasty: Served, coding: str) -> None:
    """1 MiB that would be 1 GiB; what others ask meanwhile is answered."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    beginning = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = beginning + mebibyte * 1024  # each piece stands for itself after a full flush
    assert len(bomb) < 1.1 * (1 << 20)
    with Raw(hasty.port) as raw, Raw(hasty.port) as other:
        raw.send(post(ECHO, bomb, f"Content-Encoding: {coding}"))
        assert other.ask(get("/v2/health/live")).status == 200
        assert raw.answer().status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("count", [300, 15_000])
def test_answers_are_compressed_for_those_who_accept_it(served: Served, coding: str, count: int) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(post(ECHO, _json(inference(*range(count))), f"Accept-Encoding: {coding}"))
    assert (answer.status, answer.headers["content-encoding"]) == (200, coding)
    assert answer.headers["vary"] == "accept-encoding"
    unpacked = gzip.decompress(answer.body) if coding == "gzip" else zlib.decompress(answer.body)
    assert json.loads(unpacked)["outputs"][0]["data"] == list(range(count))
    assert len(answer.body) < len(unpacked) / 2


def _json(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode().replace(b".0", b"")


@pytest.mark.parametrize(
    "asked",
    [
        post(ECHO, LONG),
        post(ECHO, LONG, "Accept-Encoding: br, gzip;q=0"),
        post(ECHO, inference(1), "Accept-Encoding: gzip"),
        post("/v2/models/none/infer" + "x" * 600, LONG, "Accept-Encoding: gzip"),
        post(ECHO, b"{" * 600, "Accept-Encoding: gzip"),
        get("/v2", "Accept-Encoding: gzip"),
    ],
    ids=["not asked", "refused", "small", "404", "400", "another route"],
)
def test_nothing_else_is_compressed(served: Served, asked: bytes) -> None:
    with Raw(served.port) as raw:
        answer = raw.ask(asked)
    assert "content-encoding" not in answer.headers
    json.loads(answer.body)


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"deflate, gzip", b"gzip"),
        (b"gzip;q=0.5, deflate;q=0.8", b"deflate"),
        (b"gzip;q=0", b""),
        (b"identity, br", b""),
        (b"*", b"gzip"),
        (b"*;q=0.1, gzip;q=0", b"deflate"),
        (b"gzip;q=many", b""),
        (b"gzip; q=0.1 ;x=y, ,;", b""),
        (b"gzip ; q=0.1", b"gzip"),
    ],
)
def test_which_coding(accepts: bytes, coding: bytes) -> None:
    assert accepted(accepts) == coding


def test_compression_can_be_switched_off(ailing: Served) -> None:
    body = {"inputs": [{"name": "x", "shape": [300, 1], "datatype": "FP64", "data": list(range(300))}]}
    with Raw(ailing.port) as raw:
        answer = raw.ask(post("/v2/models/sum/infer", body, "Accept-Encoding: gzip"))
    assert len(answer.body) > 500
    assert "content-encoding" not in answer.headers
