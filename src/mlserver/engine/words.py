"""What scheduler, doors and workers say to each other: one small value per word. `frames.py` says how they travel."""

from typing import Any

import msgspec


class TensorHead(msgspec.Struct, array_like=True, gc=False):
    """A tensor but for its data, whose bytes follow in the frame, and then those of its JSON text, if any."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None
    data_bytes: int
    source_bytes: int


class Call(msgspec.Struct, array_like=True, tag="call", gc=False):
    """Predict for the members whose `rows` the tensors hold; `members` are their counts of rows, in order.

    To a worker, `handle` names the model it has loaded; with the number of an open stream this is its next request.
    `timeout_seconds` is how long the answer is worth anything; None for ever. `trace` is W3C's `traceparent`, where
    somebody keeps traces.
    """

    number: int
    model: str
    version: str | None
    id: str | None
    parameters: dict[str, Any] | None
    outputs: list[tuple[str, dict[str, Any] | None]] | None
    headers: dict[str, str] | None
    members: list[int]
    tensors: list[TensorHead]
    handle: int = 0
    timeout_seconds: float | None = None
    trace: str | None = None


class Result(msgspec.Struct, array_like=True, tag="result", gc=False):
    """A response for the next `members` members of call `number`."""

    number: int
    members: int
    model: str
    version: str | None
    id: str | None
    parameters: dict[str, Any] | None
    headers: dict[str, str] | None
    tensors: list[TensorHead]


class Failure(msgspec.Struct, array_like=True, tag="failure", gc=False):
    """An error for the next `members` members of call `number`; `error` is the name of its class."""

    number: int
    members: int
    kind: str
    message: str
    status_code: int | None
    error: str = ""


class Configure(msgspec.Struct, array_like=True, tag="configure"):
    """First word to a child: its settings, as JSON."""

    settings: str


class ModelTopics(msgspec.Struct, array_like=True):
    """The Kafka topics and group that a model has of its own; `version` None stands for the default."""

    name: str
    version: str | None
    inputs: list[str]
    output: str | None
    group: str | None


class Models(msgspec.Struct, array_like=True, tag="models"):
    """What is served now: (name, version or None for the default, rows that may be stacked; 1 for none)."""

    served: list[tuple[str, str | None, int]]
    topics: list[ModelTopics] = []


class Started(msgspec.Struct, array_like=True, tag="started"):
    """A child's first word: it is configured and at work, or `refusal` says in one line why it cannot be."""

    refusal: str | None = None


class Drain(msgspec.Struct, array_like=True, tag="drain"):
    """Take no more in, finish what is under way within `grace_seconds`, and end."""

    grace_seconds: float


class Report(msgspec.Struct, array_like=True, tag="report"):
    """What the Kafka door has counted, about once a second; see `mlserver.events.KafkaFigures`."""

    groups: list[dict[str, Any]]
    batches: int
    batch_records: int
    retried: int


class Host(msgspec.Struct, array_like=True, tag="host"):
    """First word to a worker: the server's settings as JSON, and where it looks for modules first."""

    settings: str
    paths: list[str]


class Load(msgspec.Struct, array_like=True, tag="load"):
    """Load a model under a number: its settings as JSON, and the file they came from."""

    handle: int
    settings: str
    source: str | None


class Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """A model is loaded: its metadata as JSON, and the rest of its card."""

    handle: int
    metadata: str
    max_rows: int
    ready: bool
    plain: bool
    custom: list[tuple[str, str]]


class NotLoaded(msgspec.Struct, array_like=True, tag="not loaded"):
    """A model could not be loaded, in one line. `kind` is the error's; None where its settings are wrong."""

    handle: int
    message: str
    kind: str | None


class Unload(msgspec.Struct, array_like=True, tag="unload"):
    """Unload a model. The answer is the same word."""

    handle: int


class Awaits(msgspec.Struct, array_like=True, tag="awaits"):
    """An `async def predict` of this model was seen to wait for something."""

    handle: int


class Recorded(msgspec.Struct, array_like=True, tag="recorded"):
    """What models have recorded in metrics of their own since this was said last: see `mlserver.metrics.Delta`."""

    deltas: list[tuple[str, str, str, str, list[float], list[int], float]]


class Open(msgspec.Struct, array_like=True, tag="open"):
    """Begin a stream of a model; its requests follow as calls of this number, its responses as results."""

    number: int
    handle: int


class Credit(msgspec.Struct, array_like=True, tag="credit"):
    """The other side may send so many more messages of a stream: neither ever has more than those unread."""

    number: int
    messages: int


class Done(msgspec.Struct, array_like=True, tag="done"):
    """Nothing more comes from this side of a stream."""

    number: int


class Cancel(msgspec.Struct, array_like=True, tag="cancel"):
    """Nobody waits for a call, or a stream, any more. It is answered all the same, with whatever it has come to."""

    number: int


class CustomCall(msgspec.Struct, array_like=True, tag="custom call", gc=False):
    """A request to one of a model's own routes; the answer is a `CustomAnswer`, or a failure, of this number."""

    number: int
    handle: int
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    client: tuple[str, int] | None


class CustomAnswer(msgspec.Struct, array_like=True, tag="custom answer", gc=False):
    """What a model's own route answers."""

    number: int
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Beat(msgspec.Struct, array_like=True, tag="beat"):
    """Are you there? The answer is the same word."""


Word = (
    Call | Result | Failure | Configure | Models | Started | Drain | Host | Load | Loaded | NotLoaded | Unload
    | Awaits | Recorded | Open | Credit | Done | Cancel | CustomCall | CustomAnswer | Beat | Report
)  # fmt: skip
