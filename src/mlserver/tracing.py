"""Spans for an OpenTelemetry collector: one per request at a door, with children in the queue, the predict, the worker.

The packages are an extra, and are imported only where `tracing_server` is set.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mlserver.errors import ConfigurationError
from mlserver.settings import Settings

# What W3C's trace context is written in.
_HEADERS = frozenset({"traceparent", "tracestate"})
# How long the end of a process waits for a collector that does not answer.
_CLOSE_SECONDS = 2.0

current_trace: ContextVar["DoorTrace | MemberTraces | None"] = ContextVar("current_trace", default=None)
"""The trace of the request that a door answers in this context."""


class Tracer:
    """Begins spans. `otel` is OpenTelemetry's tracer, `provider` what it belongs to."""

    def __init__(self, provider: Any, otel: Any, propagator: Any) -> None:
        self._provider = provider
        self._otel = otel
        self._propagator = propagator

    def begin(self, name: str, headers: Iterable[tuple[Any, Any]], **attributes: Any) -> "DoorTrace":
        """A request has come to a door; it continues the trace that its headers name, where they do.

        Names of `headers` are lower-cased; they may be bytes, or repeated. In this context it is `current_trace`.
        """
        from opentelemetry.trace import SpanKind

        parent = self._propagator.extract(_carrier(headers))
        span = self._otel.start_span(name, parent, SpanKind.SERVER, _dotted(attributes))
        trace = DoorTrace(self._otel, span)
        current_trace.set(trace)
        return trace

    def begin_each(self, name: str, contexts: Sequence[str], **attributes: Any) -> "MemberTraces":
        """Records have come, stacked; `contexts` has `traceparent` of each, empty where it has none.

        In this context they are `current_trace`.
        """
        from opentelemetry.trace import SpanKind

        traces = []
        for context in contexts:
            parent = self._propagator.extract({"traceparent": context} if context else {})
            span = self._otel.start_span(name, parent, SpanKind.CONSUMER, _dotted(attributes))
            traces.append(DoorTrace(self._otel, span))
        together = MemberTraces(traces)
        current_trace.set(together)
        return together

    @contextmanager
    def predicting(self, context: str, model: str) -> Iterator[None]:
        """Within: a worker predicts, for a request of the trace context `context`, which a model's own spans join."""
        parent = self._propagator.extract({"traceparent": context})
        attributes = {"mlserver.model.name": model}
        with self._otel.start_as_current_span("predict in worker", parent, attributes=attributes):
            yield

    def close(self) -> None:
        """Send what is left, and end; does not wait long."""
        # A thread, since the provider waits for half a minute where nobody listens.
        closing = threading.Thread(target=self._provider.shutdown, name="tracing", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class DoorTrace:
    """The span of one request at its door, and its children. Times are seconds of the monotonic clock."""

    __slots__ = ("_context", "_otel", "_predict", "_span")

    def __init__(self, otel: Any, span: Any) -> None:
        from opentelemetry.trace import set_span_in_context

        self._otel = otel
        self._span = span
        self._context = set_span_in_context(span)
        self._predict: Any = None

    def asked(self, model: tuple[str, str], request_id: str | None) -> None:
        """It asks for inference."""
        name, version = model
        about = {"mlserver.model.name": name, "mlserver.model.version": version, "mlserver.request.id": request_id}
        self._span.set_attributes({key: value for key, value in about.items() if value})

    def departed(self) -> str:
        """It leaves for a worker; `traceparent` of what happens there."""
        self._end_predict()
        self._predict = self._otel.start_span("predict", self._context)
        found = self._predict.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    def predicted(self, queued: float, begun: float, ended: float) -> None:
        """It waited from `queued` to `begun`, and its predict took from there to `ended`."""
        self._child("queue", queued, begun)
        if self._predict is None:
            self._child("predict", begun, ended)
        self._end_predict()

    def end(self, *, failed: bool, **attributes: Any) -> None:
        """It has been answered; `failed`: with an error that is not the caller's."""
        from opentelemetry.trace import StatusCode

        self._end_predict()
        self._span.set_attributes(_dotted(attributes))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def _child(self, name: str, begun: float, ended: float) -> None:
        shift = time.time() - time.monotonic()
        start, end = (int((moment + shift) * 1e9) for moment in (begun, ended))
        self._otel.start_span(name, self._context, start_time=start).end(end)

    def _end_predict(self) -> None:
        if self._predict is not None:
            self._predict.end()
            self._predict = None


class MemberTraces:
    """The traces of records that were stacked before they came: what happens to one happens to all."""

    def __init__(self, traces: Sequence[DoorTrace]) -> None:
        self._traces = traces

    def asked(self, model: tuple[str, str], request_id: str | None) -> None:
        """They ask for inference."""
        for trace in self._traces:
            trace.asked(model, request_id)

    def departed(self) -> str:
        """They leave for a worker, where what happens belongs to the first."""
        return self._traces[0].departed()

    def predicted(self, queued: float, begun: float, ended: float) -> None:
        """They waited from `queued` to `begun`, and their predict took from there to `ended`."""
        for trace in self._traces:
            trace.predicted(queued, begun, ended)

    def end(self, failed: Sequence[bool]) -> None:
        """Each has been answered, or has failed."""
        for trace, has_failed in zip(self._traces, failed, strict=False):
            trace.end(failed=has_failed)


def tracer_of(settings: Settings) -> Tracer | None:
    """What `tracing_server` asks for. Raises ConfigurationError where the packages are missing."""
    if not settings.tracing_server:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider, set_tracer_provider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        text = f"tracing_server: package {error.name} is not installed; pip install 'mlserver[tracing]'"
        raise ConfigurationError(text) from None
    _log_where_we_do()
    service = {"service.name": settings.server_name, "service.version": settings.server_version}
    provider = TracerProvider(resource=Resource.create(service), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=settings.tracing_server, insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    if isinstance(get_tracer_provider(), ProxyTracerProvider):
        # Nobody else has said where the spans of this process go: those of models go where ours do.
        set_tracer_provider(provider)
    return Tracer(provider, provider.get_tracer("mlserver"), TraceContextTextMapPropagator())


def _log_where_we_do() -> None:
    """A collector that is away is told of in the server's log; without handlers it would be on standard error."""
    theirs = logging.getLogger("opentelemetry")
    for handler in logging.getLogger("mlserver").handlers:
        if handler not in theirs.handlers:
            theirs.addHandler(handler)


def _carrier(headers: Iterable[tuple[Any, Any]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key = _text(name)
        if key in _HEADERS:
            found[key] = f"{found[key]},{_text(value)}" if key in found else _text(value)
    return found


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items()}
