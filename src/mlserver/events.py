"""What happened, told to whoever listens: metrics, logs, traces.

Events are facts, made after the work is done; a listener can neither change nor fail it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from mlserver.errors import Kind


class RequestDone:
    """Inference ended for `count` requests that were predicted together (1 unless a door stacked them).

    `seconds` is the time from the door's call to the answer; `failure` is None where there is a result.
    """

    __slots__ = ("count", "failure", "model", "seconds", "version")

    def __init__(self, model: str, version: str | None, seconds: float, failure: Kind | None, count: int = 1) -> None:
        self.model = model
        self.version = version
        self.seconds = seconds
        self.failure = failure
        self.count = count


class BatchRun:
    """One `predict` ended: `rows` rows of `requests` requests, whatever came of it.

    `queue_seconds` is what those requests had waited in sum before it, `predict_seconds` what it took, with the way
    to the worker and back. `batch_wait_seconds` is the part of `queue_seconds` in which requests that share the predict
    had yet to come. `under_way` counts the calls at all workers of the pool when this one was given out, itself too.
    """

    __slots__ = (
        "batch_wait_seconds", "model", "predict_seconds", "queue_seconds", "requests", "rows", "under_way", "version",
    )  # fmt: skip

    def __init__(
        self,
        model: str,
        version: str | None,
        rows: int,
        requests: int,
        queue_seconds: float,
        predict_seconds: float,
        batch_wait_seconds: float = 0.0,
        under_way: int = 1,
    ) -> None:
        self.model = model
        self.version = version
        self.rows = rows
        self.requests = requests
        self.queue_seconds = queue_seconds
        self.predict_seconds = predict_seconds
        self.batch_wait_seconds = batch_wait_seconds
        self.under_way = under_way


class Translated:
    """A door has answered a request for `model`, a name and a version ("" for none), with a result.

    `decode_seconds` went by from its first byte in our hands to the data plane, `encode_seconds` from the data plane's
    answer to its bytes.
    """

    __slots__ = ("decode_seconds", "encode_seconds", "model")

    def __init__(self, model: tuple[str, str], decode_seconds: float, encode_seconds: float) -> None:
        self.model = model
        self.decode_seconds = decode_seconds
        self.encode_seconds = encode_seconds


class RequestsDropped:
    """`count` requests were never predicted: their deadline had passed, or their callers had gone."""

    __slots__ = ("count", "model", "version")

    def __init__(self, model: str, version: str | None, count: int) -> None:
        self.model = model
        self.version = version
        self.count = count


class WorkerEnded:
    """A worker process ended unasked. `number` is its place in the pool, `reason` one line."""

    __slots__ = ("number", "reason")

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        self.reason = reason


class ModelLoaded:
    """A model became ready after `seconds` of loading."""

    __slots__ = ("model", "seconds", "version")

    def __init__(self, model: str, version: str | None, seconds: float) -> None:
        self.model = model
        self.version = version
        self.seconds = seconds


class HttpStarted:
    """A REST request began. `path` is the route's template, never what the caller wrote."""

    __slots__ = ("method", "path")

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path


class HttpDone:
    """A REST request ended with `status` after `seconds`."""

    __slots__ = ("method", "path", "seconds", "status")

    def __init__(self, method: str, path: str, status: int, seconds: float) -> None:
        self.method = method
        self.path = path
        self.status = status
        self.seconds = seconds


class KafkaFigures:
    """What the Kafka door counted so far in its present life, by group; with `alive` False, what it counted last.

    Each of `groups` has `group`, `away` (the broker is not there), `held` (a topic does not take what must be written),
    `paused`, `in_flight` (records), `outcomes` (name to records), `commits` and `transactions` (count, seconds),
    `aborted`, `rebalances`, `refused`, and `partitions`: topic, partition, lag in records (None: unknown), seconds
    since the oldest unfinished record was read.
    """

    __slots__ = ("alive", "batch_records", "batches", "groups", "retried")

    def __init__(
        self, groups: Sequence[dict[str, Any]], *, batches: int, batch_records: int, retried: int, alive: bool = True
    ) -> None:
        self.groups = groups
        self.batches = batches
        self.batch_records = batch_records
        self.retried = retried
        self.alive = alive


class GrpcMethod(NamedTuple):
    """A method of a gRPC service, in the words of its metrics: `type` is `UNARY`, `SERVER_STREAMING`..."""

    type: str
    service: str
    name: str


class GrpcStarted:
    """A gRPC call began."""

    __slots__ = ("method",)

    def __init__(self, method: GrpcMethod) -> None:
        self.method = method


class GrpcMessage:
    """A message of a stream was received, or sent."""

    __slots__ = ("method", "sent")

    def __init__(self, method: GrpcMethod, *, sent: bool) -> None:
        self.method = method
        self.sent = sent


class GrpcDone:
    """A gRPC call ended with `code`, such as `OK`, after `seconds`; a call that was given up ended too."""

    __slots__ = ("code", "method", "seconds")

    def __init__(self, method: GrpcMethod, code: str, seconds: float) -> None:
        self.method = method
        self.code = code
        self.seconds = seconds


Event = (
    RequestDone
    | BatchRun
    | RequestsDropped
    | Translated
    | WorkerEnded
    | ModelLoaded
    | HttpStarted
    | HttpDone
    | GrpcStarted
    | GrpcMessage
    | GrpcDone
    | KafkaFigures
)


Tell = Callable[[Event], None]
"""Takes an event in, on the event loop, so it must return at once."""


def nobody(event: Event) -> None:
    """Where nobody wants to know."""


class Listener(Protocol):
    """Somebody who wants to know."""

    @property
    def takers(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """What takes the events of each kind that is wanted."""
        ...


class Hub:
    """Tells each event to everyone who takes its kind, in order. Every request comes by here four times."""

    def __init__(self, *listeners: Listener) -> None:
        self._takers: dict[type[Event], list[Callable[[Any], None]]] = {}
        for listener in listeners:
            self.add(listener)

    def add(self, listener: Listener) -> None:
        """Tell `listener` too, from now on."""
        for kind, take in listener.takers.items():
            self._takers.setdefault(kind, []).append(take)

    def tell(self, event: Event) -> None:
        """Tell one event."""
        for take in self._takers.get(type(event), ()):
            take(event)
