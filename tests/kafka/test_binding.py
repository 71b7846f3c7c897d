"""The vectors in docs/kafka-binding.md, sent to a server."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.client import Got, Sent, Topics, Watch, send

PAGE = Path(__file__).parents[2] / "docs" / "kafka-binding.md"
(BLOCK,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
VECTORS: list[dict[str, Any]] = json.loads(BLOCK)


def in_bytes(text: Any) -> bytes | None:
    """As it stands in a record."""
    if isinstance(text, dict):
        return base64.b64decode(text["base64"])
    return None if text is None else str(text).encode()


def check(got: Got, expected: dict[str, Any], source: str) -> None:
    """Every byte, but for what no vector can know."""
    known = {"$source": source.encode()}
    assert (got.key, got.value) == (in_bytes(expected["key"]), in_bytes(expected["value"]))
    assert [name for name, _ in got.headers] == [name for name, _ in expected["headers"]]
    for (name, value), (_, wanted) in zip(got.headers, expected["headers"], strict=True):
        if wanted in ("$timestamp", "$server"):
            assert value, name
        else:
            assert value == known.get(wanted, in_bytes(wanted)), name


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_vector(vector: dict[str, Any], topics: Topics, answers: Watch, letters: Watch) -> None:
    asked = vector["request"]
    headers = [(name, in_bytes(value)) for name, value in asked["headers"]]
    (source,) = send(topics, [Sent(in_bytes(asked["value"]), headers, in_bytes(asked["key"]))])
    check(answers.of([source])[0], vector["answer"], source)
    if vector["dead_letter"] is not None:
        check(letters.of([source])[0], vector["dead_letter"], source)
    else:
        letters.poll(0)
        assert source not in {letter.source for letter in letters.records}
