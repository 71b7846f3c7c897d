"""Inflation holds no more than it may, whatever is sent."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.errors import InferenceError, MLServerError, PayloadTooLarge
from mlserver.rest.body import inflated

LIMIT = 1 << 20


@given(st.lists(st.binary(max_size=200_000), min_size=1, max_size=3))
def test_members_follow_each_other(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert inflated(b"".join(gzip.compress(part) for part in parts), LIMIT) == whole


@pytest.mark.parametrize(("size", "fits"), [(LIMIT, True), (LIMIT + 1, False)])
def test_the_limit_is_on_the_result(size: int, fits: bool) -> None:
    body = gzip.compress(bytes(size))
    if fits:
        assert len(inflated(body, LIMIT)) == size
    else:
        with pytest.raises(PayloadTooLarge):
            inflated(body, LIMIT)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "ends too early"),
        (gzip.compress(b"x")[:-1], "ends too early"),
        (gzip.compress(b"x") + b"rest", "not valid gzip"),
        (b"not gzip", "not valid gzip"),
        (zlib.compress(b"x"), "not valid gzip"),
        (gzip.compress(b"") * 1_025, "more than 1024 gzip members"),
    ],
)
def test_what_is_no_gzip(body: bytes, error: str) -> None:
    with pytest.raises(InferenceError, match=error):
        inflated(body, LIMIT)


@given(st.binary(max_size=300))
def test_garbage_is_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(MLServerError):
        inflated(body, LIMIT)
