"""From records to the calls of a frame: decoded, grouped by batch key, cut at their model's bound. Pure."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from mlserver.engine.rows import batch_key, merge, row_count
from mlserver.errors import InferenceError, MLServerError, PayloadTooLarge
from mlserver.kafka.forms import binary_request, is_protobuf, json_request, message_request
from mlserver.kafka.records import JSON_LENGTH, Record, addressed, names_model_only, request_of
from mlserver.kafka.routes import Routes
from mlserver.kafka.spans import Carried
from mlserver.types.tensors import TensorRequest
from mlserver.wire.json import JsonReader, RequestHead, output_requests

logger = logging.getLogger("mlserver.kafka")

Bounds = Mapping[tuple[str, str | None], int]
"""Rows that one predict of a model may get, by name and version (None: the default); a model that is missing: 1."""
Asked = tuple[Sequence[Record], TensorRequest]
_Stack = list[tuple[Record, RequestHead | TensorRequest]]


class Stacker:
    """Decodes records and stacks those that may be predicted together. Belongs to one thread.

    `traced`: somebody keeps traces, who is told of the records' own.
    """

    def __init__(
        self,
        routes: Routes,
        reader: JsonReader | None = None,
        max_body_bytes: int | None = None,
        *,
        traced: bool = False,
    ) -> None:
        self.bounds: Bounds = {}
        self._traced = traced
        self.routes = routes
        self._reader = reader or JsonReader()
        self._max_body_bytes = max_body_bytes

    def calls(self, records: Sequence[Record]) -> list[Asked]:
        """What to ask for `records`; one that cannot be asked has its `error`, and is in none of the calls."""
        stacks: dict[object, _Stack] = {}
        for record in records:
            try:
                head = self._decoded(record)
                key = None
                if self._bound(record) > 1:
                    head = self._whole_text(record, head)
                    key = batch_key(record.model, record.version, head)
            except Exception as error:
                record.error = _as_told(record, error)
                continue
            if key is None:
                record.rows = 1
                stacks[record] = [(record, head)]
            else:
                record.rows = row_count(head)
                stacks.setdefault(key, []).append((record, head))
        asked = (self._call(piece) for stack in stacks.values() for piece in _pieces(stack, self._bound(stack[0][0])))
        calls = [call for call in asked if call is not None]
        if self._traced:
            for good, request in calls:
                request.trace = Carried(good)
        return calls

    def _decoded(self, record: Record) -> "RequestHead | TensorRequest":
        """The request in a record: whole, or of JSON the head. Raises MLServerError."""
        if self._max_body_bytes is not None and len(record.value or b"") > self._max_body_bytes:
            addressed(record, self.routes)
            raise PayloadTooLarge(self._max_body_bytes)
        if not names_model_only(record):
            if is_protobuf(record):
                return message_request(record, self.routes)
            if JSON_LENGTH in record.seen():
                return binary_request(record, self._reader, self.routes)
        return json_request(record, self._reader, self.routes)

    def _whole_text(self, record: Record, head: "RequestHead | TensorRequest") -> "RequestHead | TensorRequest":
        """A request with text, whose rows may be others than its shapes say until it is read; others as they are."""
        if isinstance(head, TensorRequest):
            return head
        for value in head.inputs:
            if value.datatype == "BYTES":
                return request_of(record, head, self._reader)
        return head

    def _bound(self, record: Record) -> int:
        """Rows of one stack for the record's model, which need not be served here."""
        return self.bounds.get((record.model, record.version), 1)

    def _call(self, piece: _Stack) -> Asked | None:
        """The records of a piece as one request; those whose data do not fit have their errors."""
        if len(piece) > 1 and (stack := self._stack(piece)) is not None:
            return [record for record, _ in piece], stack
        good: list[Record] = []
        requests: list[TensorRequest] = []
        for record, head in piece:
            try:
                whole = head if isinstance(head, TensorRequest) else request_of(record, head, self._reader)
                requests.append(whole)
                good.append(record)
            except Exception as error:
                record.error = _as_told(record, error)
        return (good, merge(requests)) if good else None

    def _stack(self, piece: _Stack) -> TensorRequest | None:
        """Many heads' data decoded in one go; None where some have to be looked at alone."""
        heads = [head for _, head in piece if not isinstance(head, TensorRequest)]
        inputs = self._reader.stack(heads) if len(heads) == len(piece) else None
        if inputs is None:
            return None
        first = piece[0][0]
        return TensorRequest(first.model, first.version, inputs, None, heads[0].parameters, output_requests(heads[0]))


def _as_told(record: Record, error: Exception) -> MLServerError:
    """What the sender is told. Whatever a record holds, it must not take the door along, which would read it again."""
    if isinstance(error, MLServerError):
        return error
    logger.exception("record %s: decoding failed", record.source)
    return InferenceError(f"the record cannot be decoded: {type(error).__name__}: {error}")


def _pieces(stack: _Stack, max_rows: int) -> Iterator[_Stack]:
    """Cut a stack so that no piece has more rows than one predict should; a record is never cut."""
    piece: _Stack = []
    rows = 0
    for entry in stack:
        if piece and rows + entry[0].rows > max_rows:
            yield piece
            piece, rows = [], 0
        piece.append(entry)
        rows += entry[0].rows
    yield piece
