"""An OTLP/gRPC collector that keeps what it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.seed.serving import PATIENCE_SECONDS


class Span(NamedTuple):
    """What the tests look at. Ids are hexadecimal, times in ns."""

    name: str
    trace: str
    id: str
    parent: str
    begun: int
    ended: int
    attributes: dict[str, Any]
    failed: bool
    service: dict[str, str]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector on a port of its own."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._changed = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Take spans in."""
        with self._changed:
            for resource in request.resource_spans:
                service = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                self.spans += [_span(span, service) for scope in resource.scope_spans for span in scope.spans]
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def of(self, trace: str, count: int) -> dict[str, Span]:
        """The spans of a trace by name, as soon as there are so many."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._of(trace)) >= count, PATIENCE_SECONDS)
            assert enough, self.spans
            return {span.name: span for span in self._of(trace)}

    def wait_for(self, trace: str, names: set[str]) -> None:
        """Return as soon as the trace has spans of these names; a worker's come on a way of their own."""
        with self._changed:
            there = self._changed.wait_for(lambda: names <= {span.name for span in self._of(trace)}, PATIENCE_SECONDS)
            assert there, self.spans

    def _of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]


def _span(span: Any, service: dict[str, str]) -> Span:
    attributes = {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}
    return Span(
        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.start_time_unix_nano,
        span.end_time_unix_nano, attributes, span.status.code == 2, service,
    )  # fmt: skip
