"""The infer route: found before any framework, answered from the data plane."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import parse_qs

from mlserver.dataplane import DataPlane
from mlserver.errors import Kind, MLServerError, ModelError
from mlserver.events import HttpDone, HttpStarted, Listener, tell
from mlserver.rest.body import decoded_body
from mlserver.rest.errors import INTERNAL_ERROR, STATUS, status_of
from mlserver.rest.heads import header_line
from mlserver.rest.requests import Refusal, Request, decoded, path_and_query
from mlserver.types.tensors import TensorRequest
from mlserver.wire.json import JsonReader, error_bytes, response_bytes

logger = logging.getLogger("mlserver.rest")

Target: TypeAlias = tuple[str, str | None]
"""A model's name and version, as a caller asked for them."""
Answer: TypeAlias = tuple[int, bytes, bytes]
"""Status, JSON body, and header lines besides those every answer has."""

# As nearly every caller spells it; `_asked` knows the other ways.
_PLAIN = re.compile(rb"/v2/models/([\w.~-]+)/infer").fullmatch
_TEMPLATES = ("/v2/models/{model_name}/infer", "/v2/models/{model_name}/versions/{model_version}/infer")
_STARTED = tuple(HttpStarted("POST", template) for template in _TEMPLATES)

# What the door says itself. A model that sends its request's headers back would break the answer with these.
_OWN = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip

# No answer was made: the server stopped before the model had one. Nobody receives this number; nginx's logs have it
# for a caller who went away.
_NO_ANSWER = 499


class InferRoute:
    """`POST /v2/models/{name}/infer` and `POST /v2/models/{name}/versions/{version}/infer`."""

    def __init__(self, dataplane: DataPlane, max_body_bytes: int, listeners: Sequence[Listener] = ()) -> None:
        self._dataplane = dataplane
        self._limit = max_body_bytes
        self._listeners = listeners
        self._reader = JsonReader()

    def find(self, method: bytes, target: bytes) -> Target | None:
        """The model that is asked, or None where this is another route."""
        if method != b"POST":
            return None
        plain = _PLAIN(target)
        if plain is not None:
            return plain[1].decode("ascii"), None
        return _asked(target) if b"/infer" in target else None

    async def answer(self, request: Request, target: Target) -> Answer:
        """The answer, whatever happens; raises CancelledError only."""
        versioned = target[1] is not None
        tell(self._listeners, _STARTED[versioned])
        begun = time.perf_counter()
        status = _NO_ANSWER
        extra = b""
        asked: TensorRequest | None = None
        try:
            body = decoded_body(request.body, request.encoding, self._limit) if request.encoding else request.body
            asked = self._reader.request(body, *target, headers=request.text_headers)
            response = await self._dataplane.infer(asked)
            answer = response_bytes(response)
            if response.headers:
                extra = _header_lines(response.headers)
            status = 200
        except MLServerError as error:
            status, answer = status_of(error), error_bytes(_told(error, asked))
        except Exception:
            logger.exception("unexpected failure while answering for model %r", target[0])
            status, answer = STATUS[Kind.MODEL], error_bytes(INTERNAL_ERROR)
        finally:
            tell(self._listeners, HttpDone("POST", _TEMPLATES[versioned], status, time.perf_counter() - begun))
        return status, answer, extra

    def refused(self, refusal: Refusal) -> None:
        """Count a request of this route that was refused before it was complete."""
        target = self.find(refusal.method, refusal.target)
        if target is not None:
            versioned = target[1] is not None
            tell(self._listeners, _STARTED[versioned])
            tell(self._listeners, HttpDone("POST", _TEMPLATES[versioned], refusal.status, 0.0))


def _told(error: MLServerError, asked: TensorRequest | None) -> str:
    """The message; where the model failed, with the request's id, under which the log tells more."""
    if error.kind is not Kind.MODEL or asked is None:
        return str(error)
    return f"{error} (request {asked.id})"


def _asked(target: bytes) -> Target | None:
    """The model, where the target is the route's in any spelling that HTTP allows."""
    path, query = path_and_query(target)
    parts = path.removesuffix(b"/").split(b"/")
    if parts[:3] != [b"", b"v2", b"models"] or parts[-1] != b"infer" or b"" in parts[3:]:
        return None
    if len(parts) == 5:
        versions = parse_qs(query.decode("latin-1")).get("model_version", [None])
        return decoded(parts[3]), versions[-1]
    if len(parts) == 7 and parts[4] == b"versions":
        return decoded(parts[3]), decoded(parts[5])
    return None


def _header_lines(headers: Mapping[str, str]) -> bytes:
    """Headers that a model set, but for the door's own. Raises ModelError for what HTTP cannot carry."""
    try:
        lines = [
            header_line(name.encode("latin-1"), str(value).encode("latin-1"))
            for name, value in headers.items()
            if name.lower() not in _OWN
        ]
    except ValueError as error:
        raise ModelError(f"the model set a header that cannot be sent: {error}") from None
    return b"".join(lines)
