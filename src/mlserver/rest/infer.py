"""The infer route: found before any framework, answered from the data plane."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import parse_qs

from mlserver.errors import Kind, MLServerError
from mlserver.events import HttpDone, HttpStarted, Translated
from mlserver.rest.asked import Asked, read, written
from mlserver.rest.backing import Backing
from mlserver.rest.body import MIN_COMPRESSED_BYTES, accepted, compressed, decoded_body
from mlserver.rest.cors import Cors
from mlserver.rest.errors import INTERNAL_ERROR, NO_ANSWER, STATUS, status_of, told
from mlserver.rest.requests import Refusal, Request, decoded, path_and_query
from mlserver.rest.spans import begin, end
from mlserver.types.tensors import TensorResponse
from mlserver.wire.json import JsonReader, error_bytes

logger = logging.getLogger("mlserver.rest")

Target: TypeAlias = tuple[str, str | None]
"""A model's name and version, as a caller asked for them."""

# As nearly every caller spells it; `_asked` knows the other ways.
_PLAIN = re.compile(rb"/v2/models/([\w.~-]+)/infer").fullmatch
_TEMPLATES = ("/v2/models/{model_name}/infer", "/v2/models/{model_name}/versions/{model_version}/infer")
_STARTED = tuple(HttpStarted("POST", template) for template in _TEMPLATES)

# Bodies above this are packed and unpacked beside the loop: it takes a millisecond and more, and zlib lets others run.
_BESIDE_BYTES = 64 * 1024

_RETRY_AFTER = b"retry-after: 1\r\n"
_BINARY_LENGTH = b"inference-header-content-length: %d\r\n"
_CONTENT_ENCODING = b"content-encoding: %b\r\nvary: accept-encoding\r\n"


class Answer:
    """Status and body, header lines besides those every answer has, and whether binary data follow the body's JSON."""

    __slots__ = ("binary", "body", "lines", "status")

    def __init__(self, status: int, body: bytes, lines: bytes = b"", *, binary: bool = False) -> None:
        self.status = status
        self.body = body
        self.lines = lines
        self.binary = binary


class InferRoute:
    """`POST /v2/models/{name}/infer` and `POST /v2/models/{name}/versions/{version}/infer`."""

    def __init__(self, backing: Backing, cors: Cors | None) -> None:
        self._dataplane = backing.dataplane
        self._limits = backing.limits
        self._tell = backing.tell
        self._headers = backing.headers
        self._tracer = backing.tracer
        self._root = backing.root_path.encode()
        self._cors = cors
        self._reader = JsonReader(self._limits.max_json_depth)

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
        self._tell(_STARTED[versioned])
        begun = time.perf_counter()
        trace = None if self._tracer is None else begin(self._tracer, "POST", _TEMPLATES[versioned], request.headers)
        status = NO_ANSWER
        asked: Asked | None = None
        try:
            body = await self._decoded(request) if request.encoding else request.body
            asked = read(request, body, target, self._reader, self._dataplane)
            self._headers.put(asked.request, request.text_headers)
            decoded_at = time.perf_counter()
            response = await self._dataplane.infer(asked.request)
            answered_at = time.perf_counter()
            answer = self._written(response, asked)
            if request.accepts and len(answer.body) >= MIN_COMPRESSED_BYTES and self._limits.gzip_enabled:
                await _compress(answer, accepted(request.accepts))
            status = answer.status
            if asked.request.served is not None:
                encoded = time.perf_counter() - answered_at
                self._tell(Translated(asked.request.served, decoded_at - begun, encoded))
        except MLServerError as error:
            answer = _refusal(error, asked)
            status = answer.status
        except Exception:
            known = {"request_id": asked.request.id if asked else None}
            logger.exception("unexpected failure while answering for model %r", target[0], extra=known)
            status = STATUS[Kind.MODEL]
            answer = Answer(status, error_bytes(INTERNAL_ERROR))
        finally:
            self._tell(HttpDone("POST", _TEMPLATES[versioned], status, time.perf_counter() - begun))
            if trace is not None:
                end(trace, status)
        if self._cors is not None:
            answer.lines += self._cors.lines(request.headers)
        return answer

    def _written(self, response: TensorResponse, asked: Asked) -> Answer:
        """The model's answer as the caller wants it. Raises MLServerError."""
        body, json_bytes = written(response, asked, self._dataplane)
        lines = self._headers.lines(response)
        if json_bytes is None:
            return Answer(200, body, lines)
        return Answer(200, body, lines + _BINARY_LENGTH % json_bytes, binary=True)

    async def _decoded(self, request: Request) -> bytes:
        body, limit = request.body, self._limits.max_body_bytes
        return await _beside(len(body), decoded_body, body, request.encoding, limit)

    def refused(self, refusal: Refusal) -> None:
        """Count a request of this route that was refused before it was complete."""
        target = self.find(refusal.method, refusal.target)
        if target is not None:
            versioned = target[1] is not None
            self._tell(_STARTED[versioned])
            self._tell(HttpDone("POST", _TEMPLATES[versioned], refusal.status, 0.0))


async def _compress(answer: Answer, coding: bytes) -> None:
    if coding:
        answer.body = await _beside(len(answer.body), compressed, answer.body, coding)
        answer.lines += _CONTENT_ENCODING % coding


async def _beside(size: int, work: Callable[..., bytes], *args: object) -> bytes:
    """What `work` makes of `args`; beside the loop where their `size`, in bytes, is large."""
    return work(*args) if size <= _BESIDE_BYTES else await asyncio.to_thread(work, *args)


def _refusal(error: MLServerError, asked: Asked | None) -> Answer:
    lines = _RETRY_AFTER if error.kind is Kind.OVERLOADED else b""
    return Answer(status_of(error), error_bytes(told(error, asked.request.id if asked else None)), lines)


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
