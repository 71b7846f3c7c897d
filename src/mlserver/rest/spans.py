"""Spans of HTTP requests, in the words of OpenTelemetry's conventions."""

from collections.abc import Iterable

from mlserver.tracing import DoorTrace, Tracer


def begin(tracer: Tracer, method: str, template: str, headers: Iterable[tuple[bytes, bytes]]) -> DoorTrace:
    """A request has come; `template` is its route's path as it was written."""
    return tracer.begin(f"{method} {template}", headers, http__request__method=method, http__route=template)


def end(trace: DoorTrace, status: int) -> None:
    """It was answered with `status`."""
    trace.end(failed=status >= 500, http__response__status_code=status)
