"""W3C's trace context of stacked records: out of their headers, through a frame, into spans of the scheduler's."""

import re
from collections.abc import Sequence

from mlserver.engine.isolate import Outcome
from mlserver.errors import Kind
from mlserver.kafka.records import Record
from mlserver.tracing import MemberTraces, Tracer

_CONTEXT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_SEPARATOR = ","
_THEIRS = frozenset({
    Kind.INVALID, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.UNSUPPORTED, Kind.FORBIDDEN, Kind.OVERLOADED,
})  # fmt: skip


class Carried:
    """The contexts of the records of one call, on their way to whoever keeps traces."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def asked(self, model: tuple[str, str], request_id: str | None) -> None:
        """Nobody here writes it down."""

    def departed(self) -> str:
        """One context per record, empty where it has none."""
        return _SEPARATOR.join(map(_context, self._records))

    def predicted(self, queued: float, begun: float, ended: float) -> None:
        """Nobody here writes it down."""


def begin(tracer: Tracer, contexts: str) -> MemberTraces:
    """Spans for records with these contexts."""
    return tracer.begin_each("kafka infer", contexts.split(_SEPARATOR), messaging__system="kafka")


def end(traces: MemberTraces, outcomes: Sequence[Outcome]) -> None:
    """They have come to this."""
    traces.end([_failed(outcome) for outcome in outcomes for _ in range(outcome.members)])


def _failed(outcome: Outcome) -> bool:
    return outcome.error is not None and outcome.error.kind not in _THEIRS


def _context(record: Record) -> str:
    found = record.seen().get("traceparent")
    value = found[1] if found is not None else None
    text = value.decode("latin-1") if isinstance(value, bytes) else value or ""
    return text if _CONTEXT(text) else ""
