"""Headers at the REST door: what a model finds among its request's, and what an answer carries besides the usual.

Both have CloudEvents' headers in them; an answer also has those that the model set.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from mlserver.errors import ModelError
from mlserver.rest.heads import header_line
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid
from mlserver.wire.cloudevents import CloudEvents, of_id

Headers = Callable[[], Mapping[str, str]]
Pairs = list[tuple[bytes, bytes]]

# What the door says itself. A model that sends its request's headers back would break the answer with these.
_OWN = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "date", "inference-header-content-length",
    "keep-alive", "trailer", "transfer-encoding", "upgrade",
    "ce-endpoint", "ce-id", "ce-inferenceservicename", "ce-modelid", "ce-namespace", "ce-requestid", "ce-source",
    "ce-specversion", "ce-type",
})  # fmt: skip
# Models that the lines in common are kept for. A model may name itself in its answers, by whatever name.
_KEPT_MODELS = 1024
# Ids up to here need no care where they are printable: those that the server makes have 36.
_PLAIN_ID = 64


class InferenceHeaders:
    """Makes them. What the answers of a model have in common is put together once."""

    def __init__(self, events: CloudEvents) -> None:
        self._events = events
        self._common = lru_cache(_KEPT_MODELS)(self._common_lines)

    def put(self, asked: TensorRequest, received: Headers) -> None:
        """Let a request's headers, when its model looks at them, be those received and the event's.

        Gives the request an id where it has none: it is in them.
        """
        if asked.id is None:
            asked.id = generate_uuid()
        # Not `asked` itself: it would hold what holds it, and wait for the garbage collector with all its tensors.
        asked.headers = partial(self._seen, asked.model, asked.id, received)

    def lines(self, response: TensorResponse) -> bytes:
        """Header lines of an answer. Raises ModelError where the model set one that HTTP cannot carry."""
        lines = self.event_lines(response)
        return lines + _model_lines(response.headers) if response.headers else lines

    def event_lines(self, response: TensorResponse) -> bytes:
        """The same without those that the model set."""
        common, request_id = self._common(response.model), response.id
        if request_id and len(request_id) <= _PLAIN_ID and request_id.isascii() and request_id.isprintable():
            shown = request_id.encode()
            return b"%bce-id: %b\r\nce-requestid: %b\r\n" % (common, shown, shown)
        return common + _lines(of_id(request_id))

    def _seen(self, model: str, request_id: str, received: Headers) -> Mapping[str, str]:
        return {**received(), **self._events.of_request(model, request_id)}

    def _common_lines(self, model: str) -> bytes:
        return _lines(self._events.of_responses(model))


def pairs(lines: bytes) -> Pairs:
    """Header lines as names and values."""
    split = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, _, value in split]


def _model_lines(headers: Mapping[str, str]) -> bytes:
    try:
        return _lines({name: value for name, value in headers.items() if name.lower() not in _OWN})
    except ValueError as error:
        raise ModelError(f"the model set a header that cannot be sent: {error}") from None


def _lines(headers: Mapping[str, str]) -> bytes:
    named = ((name.encode("latin-1"), str(value).encode("latin-1")) for name, value in headers.items())
    return b"".join(header_line(*pair) for pair in named)
