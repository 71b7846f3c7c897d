"""Frames: whatever goes in comes out, in whatever pieces the socket brings it; garbage is refused."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserver.engine.frames import MAGIC, MAX_FRAME_BYTES, Assembler, Frame, Parsed, ProtocolError, error_of
from mlserver.engine.words import Call, Drain, Failure, Models, Result
from mlserver.errors import Kind, ModelError, ModelNotFound
from mlserver.types.tensors import Tensor, TensorRequest, TensorResponse
from tests.engine.tensors import REQUESTS, RESPONSES, assert_same_tensor


def sent(frame: Frame) -> bytes:
    return b"".join(frame.parts())


def received(data: bytes) -> Parsed:
    (payload,) = Assembler().feed(data)
    return Parsed(payload)


@given(requests=st.lists(REQUESTS, min_size=1, max_size=3), members=st.lists(st.integers(1, 9), max_size=5))
def test_calls_arrive_as_they_were_sent(requests: list[TensorRequest], members: list[int]) -> None:
    frame = Frame()
    for number, request in enumerate(requests):
        frame.call(number, request, members)
    parsed = received(sent(frame))
    assert len(parsed.words) == len(requests)
    for number, (word, request) in enumerate(zip(parsed.words, requests, strict=True)):
        assert isinstance(word, Call)
        assert (word.number, word.members) == (number, members)
        found = parsed.request(word)
        assert (found.model, found.version, found.id, found.parameters) == (
            request.model,
            request.version,
            request.id,
            request.parameters,
        )
        asked = [(output.name, output.parameters) for output in request.outputs or []]
        assert [(output.name, output.parameters) for output in found.outputs or []] == asked
        for one, other in zip(request.inputs, found.inputs, strict=True):
            assert_same_tensor(one, other)


@given(RESPONSES)
def test_results_arrive_as_they_were_sent(response: TensorResponse) -> None:
    frame = Frame()
    frame.result(7, 3, response)
    parsed = received(sent(frame))
    (word,) = parsed.words
    assert isinstance(word, Result)
    found = parsed.response(word)
    assert (word.number, word.members, found.id, found.headers) == (7, 3, response.id, response.headers)
    for one, other in zip(response.outputs, found.outputs, strict=True):
        assert_same_tensor(one, other)


@given(REQUESTS, st.lists(st.integers(0, 4_000), max_size=8))
def test_pieces_do_not_matter(request: TensorRequest, cuts: list[int]) -> None:
    frames = []
    for number in range(3):
        frame = Frame()
        frame.call(number, request, [1])
        frames.append(sent(frame))
    data = b"".join(frames)
    assembler = Assembler()
    payloads = []
    for start, stop in pairwise(sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})):
        payloads += assembler.feed(data[start:stop])
    assert [bytes(payload) for payload in payloads] == [frame[8:] for frame in frames]


def test_received_arrays_are_writable_aligned_and_not_each_other_s() -> None:
    inputs = [Tensor(str(i), "FP64", [3], np.arange(3.0)) for i in range(2)]
    frame = Frame()
    frame.call(0, TensorRequest("odd-length-name", None, inputs), [1])
    parsed = received(sent(frame))
    word = parsed.words[0]
    assert isinstance(word, Call)
    first, second = (tensor.data for tensor in parsed.request(word).inputs)
    assert isinstance(first, np.ndarray)
    assert isinstance(second, np.ndarray)
    first[:] = 9
    np.testing.assert_array_equal(second, [0, 1, 2])
    assert first.flags.aligned


def test_errors_keep_kind_message_and_status() -> None:
    frame = Frame()
    teapot = ModelError("no coffee", status_code=418)
    frame.failure(1, 2, teapot)
    frame.failure(2, 1, ModelNotFound("m", "v"))
    first, second = received(sent(frame)).words
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert (error_of(first).kind, str(error_of(first)), error_of(first).status_code) == (Kind.MODEL, "no coffee", 418)
    assert (error_of(second).kind, str(error_of(second))) == (Kind.NOT_FOUND, str(ModelNotFound("m", "v")))


def test_words_without_tensors() -> None:
    frame = Frame()
    frame.add(Models([("m", None, 256)]))
    frame.add(Drain(2.5))
    assert received(sent(frame)).words == [Models([("m", None, 256)]), Drain(2.5)]


@pytest.mark.parametrize("length", [0, 4, MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_a_claimed_length_is_judged_before_anything_is_allocated(length: int) -> None:
    with pytest.raises(ProtocolError, match="claims"):
        Assembler().feed(MAGIC + length.to_bytes(4, "little"))


@pytest.mark.parametrize("begins", [b"MLF2\x10\0\0\0", b"\x80\x04\x95\x1a\0\0\0\0", b"HTTP/1.1"])
def test_what_does_not_begin_as_a_frame_is_refused_at_once(begins: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected a frame"):
        Assembler().feed(begins)


@given(st.binary(min_size=5, max_size=200))
def test_garbage_is_refused(garbage: bytes) -> None:
    """A worker that has been taken over can say what it likes: it is never more than a word, or an error."""
    data = MAGIC + len(garbage).to_bytes(4, "little") + garbage
    try:
        words = received(data).words
    except ProtocolError:
        return
    assert not any(isinstance(word, Call | Result) for word in words)


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_bytes", 10_000), ("data_bytes", -1), ("data_bytes", 4), ("source_bytes", 10_000), ("shape", [2**40])],
)
def test_a_header_that_lies_about_its_buffers_is_refused(field: str, value: Any) -> None:
    frame = Frame()
    frame.call(0, TensorRequest("m", None, [Tensor("x", "FP32", [2], np.zeros(2, "f4"))]), [1])
    parsed = received(sent(frame))
    word = parsed.words[0]
    assert isinstance(word, Call)
    setattr(word.tensors[0], field, value)
    with pytest.raises(ProtocolError):
        parsed.request(word)
