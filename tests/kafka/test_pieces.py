"""Stacks are cut where their model's bound is, and between records only."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mlserver.kafka.records import Record
from mlserver.kafka.routes import Routes
from mlserver.kafka.stacks import Stacker, _pieces
from mlserver.kafka.tracker import Lane
from mlserver.types.tensors import TensorRequest
from mlserver.wire.json import RequestHead


@given(st.lists(st.integers(1, 9), min_size=1), st.integers(1, 12))
def test_no_piece_has_more_rows_than_its_model_may_get(rows: list[int], max_rows: int) -> None:
    lane = Lane("input", 0)
    stack: list[tuple[Record, RequestHead | TensorRequest]] = []
    for offset, count in enumerate(rows):
        record = Record(lane, offset, None, b"")
        record.rows = count
        stack.append((record, RequestHead(inputs=[])))
    pieces = list(_pieces(stack, max_rows))
    assert [entry for piece in pieces for entry in piece] == stack
    for piece in pieces:
        assert len(piece) == 1 or sum(record.rows for record, _ in piece) <= max_rows


def test_texts_are_stacked_as_the_elements_that_they_are() -> None:
    """A shape may count the bytes of the only text there is."""
    lane = Lane("input", 0)
    shapes = {"hello": [5], "hey": [3], "you": [1]}
    records = []
    for offset, (text, shape) in enumerate(shapes.items()):
        value = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": shape, "data": [text]}]}
        records.append(Record(lane, offset, None, json.dumps(value).encode(), [("mlserver-model", b"m")]))
    stacker = Stacker(Routes())
    stacker.bounds = {("m", None): 64}
    ((stacked, request),) = stacker.calls(records)
    assert (stacked, [record.rows for record in records]) == (records, [1, 1, 1])
    assert (request.inputs[0].shape, request.inputs[0].data) == ([3], ["hello", "hey", "you"])
