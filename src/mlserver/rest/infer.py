"""The infer route: found before any framework, answered from the data plane."""

import logging
import re
import time
from typing import TypeAlias
from urllib.parse import parse_qs

from mlserver.errors import Kind, MLServerError
from mlserver.events import HttpDone, HttpStarted, tell
from mlserver.rest.backing import Backing
from mlserver.rest.body import decoded_body
from mlserver.rest.cors import Cors
from mlserver.rest.errors import INTERNAL_ERROR, NO_ANSWER, STATUS, status_of, told
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


class InferRoute:
    """`POST /v2/models/{name}/infer` and `POST /v2/models/{name}/versions/{version}/infer`."""

    def __init__(self, backing: Backing, cors: Cors | None) -> None:
        self._dataplane = backing.dataplane
        self._limit = backing.settings.max_body_bytes
        self._listeners = backing.listeners
        self._headers = backing.headers
        self._root = backing.root_path.encode()
        self._cors = cors
        self._reader = JsonReader()

    def find(self, method: bytes, target: bytes) -> Target | None:
        """The model that is asked, or None where this is another route."""
        if method != b"POST":
            return None
        plain = _PLAIN(target)
        if plain is not None:
            return plain[1].decode("ascii"), None
        return _asked(target, self._root) if b"/infer" in target else None

    async def answer(self, request: Request, target: Target) -> Answer:
        """The answer, whatever happens; raises CancelledError only."""
        versioned = target[1] is not None
        tell(self._listeners, _STARTED[versioned])
        begun = time.perf_counter()
        status = NO_ANSWER
        extra = b""
        asked: TensorRequest | None = None
        try:
            body = decoded_body(request.body, request.encoding, self._limit) if request.encoding else request.body
            asked = self._reader.request(body, *target)
            self._headers.put(asked, request.text_headers)
            response = await self._dataplane.infer(asked)
            answer = response_bytes(response)
            extra = self._headers.lines(response)
            status = 200
        except MLServerError as error:
            status, answer = status_of(error), error_bytes(told(error, asked.id if asked else None))
        except Exception:
            logger.exception("unexpected failure while answering for model %r", target[0])
            status, answer = STATUS[Kind.MODEL], error_bytes(INTERNAL_ERROR)
        finally:
            tell(self._listeners, HttpDone("POST", _TEMPLATES[versioned], status, time.perf_counter() - begun))
        return status, answer, extra if self._cors is None else extra + self._cors.lines(request.headers)

    def refused(self, refusal: Refusal) -> None:
        """Count a request of this route that was refused before it was complete."""
        target = self.find(refusal.method, refusal.target)
        if target is not None:
            versioned = target[1] is not None
            tell(self._listeners, _STARTED[versioned])
            tell(self._listeners, HttpDone("POST", _TEMPLATES[versioned], refusal.status, 0.0))


def _asked(target: bytes, root: bytes) -> Target | None:
    """The model, where the target is the route's in any spelling that HTTP allows, perhaps below `root`."""
    path, query = path_and_query(target)
    parts = path.removeprefix(root).removesuffix(b"/").split(b"/")
    if parts[:3] != [b"", b"v2", b"models"] or parts[-1] != b"infer" or b"" in parts[3:]:
        return None
    if len(parts) == 5:
        versions = parse_qs(query.decode("latin-1")).get("model_version", [None])
        return decoded(parts[3]), versions[-1]
    if len(parts) == 7 and parts[4] == b"versions":
        return decoded(parts[3]), decoded(parts[5])
    return None
