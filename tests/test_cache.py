"""mlserver.cache: the store of responses that runtimes and tools may use."""

import pytest

from mlserver.cache import LocalCache, ResponseCache


@pytest.mark.parametrize(
    ("size", "inserted", "kept"),
    [
        (100, [], {}),
        (2, [("a", "1"), ("b", "2")], {"a": "1", "b": "2"}),
        (2, [("a", "1"), ("b", "2"), ("c", "3")], {"b": "2", "c": "3"}),
        (2, [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")], {"a": "3", "c": "4"}),
        (0, [("a", "1")], {}),
    ],
)
async def test_the_oldest_goes_first(size: int, inserted: list[tuple[str, str]], kept: dict[str, str]) -> None:
    cache: ResponseCache = LocalCache(cache_size=size)
    for key, value in inserted:
        await cache.insert(key, value)
    found = {key: await cache.lookup(key) for key in ("a", "b", "c")}
    assert {key: value for key, value in found.items() if value} == kept
    assert await cache.size() == len(kept)
    assert await cache.lookup("nothing") == ""


def test_an_interface_for_other_stores() -> None:
    with pytest.raises(TypeError, match="abstract"):
        ResponseCache()  # type: ignore[abstract]
