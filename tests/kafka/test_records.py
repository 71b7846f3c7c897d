"""The binding, on records that nobody sent."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.errors import InferenceError, MLServerError, ModelNotFound
from mlserver.kafka.answers import Signature, answer_headers, dead_letter_headers, error_answer, too_large
from mlserver.kafka.letters import DEAD, ERROR, RESULT, Letter, Reports
from mlserver.kafka.records import Headers, Record, head_of, request_of
from mlserver.kafka.tracker import Lane
from mlserver.settings import Settings
from mlserver.wire.json import JsonReader
from tests.kafka.client import model, request

READER = JsonReader()
SIGNATURE = Signature(Settings())
NAMES = st.text(max_size=8) | st.sampled_from(
    ["mlserver-model", "MLServer-Model", "mlserver-version", "mlserver-method", "traceparent", "Correlation-ID"]
)
HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=20) | st.sampled_from([b"sum", b"infer"])))
VALUES = st.none() | st.binary(max_size=50) | st.just(request(1.0)) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["inputs", "id", "name"]), inner),
).map(lambda value: json.dumps(value).encode())  # fmt: skip


def record(value: bytes | None = b"{}", headers: Headers | None = None, key: bytes | None = None) -> Record:
    return Record(Lane("in", 3), 7, key, value, headers, 1_700_000_000_000)


def sum_record(value: bytes, key: bytes | None = None) -> Record:
    return record(value, list(model("sum")), key)


@given(HEADERS, VALUES, st.none() | st.binary(max_size=10))
def test_nothing_that_a_record_holds_is_worse_than_a_refusal(
    headers: Headers, value: bytes | None, key: bytes | None
) -> None:
    one = record(value, headers, key)
    try:
        request_of(one, head_of(one, READER), READER)
    except MLServerError as error:
        one.error = error
    if one.error is None:
        found = answer_headers(one, SIGNATURE)
    else:
        body, found = error_answer(one, one.error, SIGNATURE)
        assert json.loads(body) == {"error": str(one.error)}
        letter = dead_letter_headers(one, one.error, "me")
        assert letter[: len(headers)] == headers
        assert [name for name, _ in letter[len(headers) :]][3] == "mlserver-dead-letter-source"
    assert dict(found)["mlserver-source"] == b"in/3/7"
    ours = {name for name, _ in found if name.startswith("mlserver-")}
    assert ours <= {f"mlserver-{name}" for name in ("model", "version", "status", "source", "request-id")}


@given(HEADERS, st.sampled_from(["mlserver-model", "mlserver-version", "traceparent"]))
def test_names_match_without_case_and_the_last_counts(headers: list[tuple[str, bytes | None]], name: str) -> None:
    mine = [value for found, value in headers if found.lower() == name]
    one = record(headers=list(headers))
    last = mine[-1] if mine else b""
    if last is None or not is_text(last):
        with pytest.raises(InferenceError, match="is null" if last is None else "is not UTF-8"):
            one.text(name)
    else:
        assert one.text(name) == (last.decode() if mine else None)


def is_text(value: bytes) -> bool:
    """Whether this is UTF-8."""
    return value.decode(errors="replace").encode() == value


@pytest.mark.parametrize(
    ("body_id", "key", "expected"),
    [("b", b"k", "b"), (None, b"k", "k"), ("", b"k", "k"), (None, "ü".encode(), "ü")],
)
def test_whose_id(body_id: str | None, key: bytes, expected: str) -> None:
    one = sum_record(request(1.0, id=body_id), key)
    assert request_of(one, head_of(one, READER), READER).id == expected


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_a_new_id_where_there_is_none(key: bytes | None) -> None:
    one = sum_record(request(1.0), key)
    head_of(one, READER)
    assert uuid.UUID(one.request_id)


def test_a_model_may_look_at_the_headers() -> None:
    one = record(request(1.0), [*model("sum"), ("X", b"\xff"), ("Y", None), ("x", b"1")])
    found = request_of(one, head_of(one, READER), READER).headers
    assert found is not None
    assert found() == {"mlserver-model": "sum", "x": "1", "y": ""}


def test_a_message_is_cut_at_a_whole_character() -> None:
    found = dict(dead_letter_headers(record(), InferenceError("ü" * 1_000), "me"))
    assert found["mlserver-dead-letter-message"] == "ü".encode() * 512
    assert (
        dict(dead_letter_headers(record(), InferenceError("x" + "ü" * 1_000), "me"))["mlserver-dead-letter-message"]
        == b"x" + "ü".encode() * 511
    )


def test_a_dead_letter_says_what_happened() -> None:
    error = ModelNotFound("sum")
    one = record(headers=[("a", None)])
    one.attempts = 3
    assert dead_letter_headers(one, error, "me") == [
        ("a", None),
        ("mlserver-dead-letter-error", b"not_found"),
        ("mlserver-dead-letter-message", b"model 'sum' not found"),
        ("mlserver-dead-letter-attempts", b"3"),
        ("mlserver-dead-letter-source", b"in/3/7"),
        ("mlserver-dead-letter-timestamp", b"1700000000000"),
        ("mlserver-dead-letter-model", b""),
        ("mlserver-dead-letter-server", b"me"),
    ]


def test_what_a_letter_can_spare() -> None:
    one = record(b"value", [("a", b"1")], b"k")
    one.error = too_large(9)
    dead = Letter(Reports(), DEAD, one, "dead", one.value, dead_letter_headers(one, one.error, "me"))
    steps = []
    while dead.shrink():
        steps.append((dead.key, dead.value, ("a", b"1") in dead.headers, dead.headers[-1]))
    assert [step[:3] for step in steps] == [(b"k", None, True), (b"k", None, False), (None, None, False)]
    assert [step[3] for step in steps[1:]] == [
        ("mlserver-dead-letter-dropped", b"headers"),
        ("mlserver-dead-letter-dropped", b"headers, key"),
    ]
    reply = Letter(Reports(), ERROR, one, "out", *error_answer(one, one.error, SIGNATURE))
    assert [reply.shrink(), reply.shrink(), reply.shrink()] == [True, True, False]
    assert reply.headers == [("mlserver-status", b"error"), ("mlserver-source", b"in/3/7")]
    assert not Letter(Reports(), RESULT, one, "out", b"body", []).shrink()


def test_a_tombstone_has_no_value_to_spare() -> None:
    one = record(None, None, None)
    one.error = too_large(9)
    dead = Letter(Reports(), DEAD, one, "dead", None, dead_letter_headers(one, one.error, "me"))
    assert [dead.shrink(), dead.shrink()] == [True, False]
    assert ("mlserver-dead-letter-truncated", b"true") not in dead.headers
