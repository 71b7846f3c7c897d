"""The only door inside: what REST, gRPC and Kafka call.

It fills in what the protocol leaves to the server - the id, the model's name and version - and tells listeners what
happened. It knows no web, RPC, Kafka or metrics package.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from mlserver.engine.isolate import Outcome, infer_members
from mlserver.engine.runner import Runner
from mlserver.errors import Kind, MLServerError, ModelNotReady
from mlserver.events import Listener, RequestDone, tell
from mlserver.registry import Registry, Served
from mlserver.settings import Settings
from mlserver.types import MetadataModelResponse, MetadataServerResponse
from mlserver.types.tensors import TensorRequest, TensorResponse
from mlserver.utils import generate_uuid

logger = logging.getLogger("mlserver")


class DataPlane:
    """Inference, health and metadata over the models of one registry."""

    started: bool
    """Whether every model that should be there has had its turn to load, and the server is not stopping."""
    complete: bool
    """Whether none of them failed."""
    doors_ready: bool
    """Whether the doors that count for readiness can do their work."""

    def __init__(self, settings: Settings, registry: Registry, listeners: Sequence[Listener] = ()) -> None:
        self._settings = settings
        self._registry = registry
        self._listeners = listeners
        self.started = False
        self.complete = True
        self.doors_ready = True

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Answer one request. Raises MLServerError, and nothing else."""
        served = self._registry.find(request.model, request.version)
        begun = time.perf_counter()
        if request.id is None:
            request.id = generate_uuid()
        try:
            response = await served.answering().infer(request)
        except MLServerError as error:
            self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, error.kind))
            _log_failure(served, request.id, error)
            raise
        self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, None))
        return _completed(response, served, request.id)

    def stream(
        self, model: str, version: str | None, requests: AsyncIterator[TensorRequest]
    ) -> AsyncIterator[TensorResponse]:
        """Answer a stream of requests to one model, each response as the model makes it.

        Raises ModelNotFound or ModelNotReady at once, before anything is sent, and MLServerError, and nothing else,
        from the iterator. Whoever stops before its end closes it (`aclose`).
        """
        served = self._registry.find(model, version)
        return self._streamed(served, served.answering(), requests)

    async def _streamed(
        self, served: Served, runner: Runner, requests: AsyncIterator[TensorRequest]
    ) -> AsyncIterator[TensorResponse]:
        begun = time.perf_counter()
        request_id: str | None = None

        async def named() -> AsyncIterator[TensorRequest]:
            nonlocal request_id
            async for request in requests:
                request_id = request.id = request.id or request_id or generate_uuid()
                yield request

        responses = runner.stream(named())
        try:
            async for response in responses:
                yield _completed(response, served, request_id)
        except MLServerError as error:
            self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, error.kind))
            _log_failure(served, request_id, error)
            raise
        finally:
            await _closed(responses)
        self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, None))

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        """Answer the members of a stack, each as if it had come alone; ids are the caller's to give.

        Never raises MLServerError: it is in the outcomes.
        """
        begun = time.perf_counter()
        try:
            served = self._registry.find(request.model, request.version)
            outcomes = await infer_members(served.answering().infer, request, rows)
        except MLServerError as error:
            return [Outcome(len(rows), None, error)]
        # Every member waited for the whole: that is the time its caller saw.
        seconds = time.perf_counter() - begun
        for outcome in outcomes:
            if outcome.response is not None:
                _completed(outcome.response, served, outcome.response.id)
            failure = None
            if outcome.error is not None:
                failure = outcome.error.kind
                _log_failure(served, None, outcome.error)
            self._tell(RequestDone(served.name, served.version, seconds, failure, outcome.members))
        return outcomes

    def live(self) -> bool:
        """Whether the server can answer at all."""
        return True

    def ready(self) -> bool:
        """Every model that should be there is loaded and ready, and the server is not stopping.

        With no model at all: only where none is loaded at startup.
        """
        if not (self.started and self.complete and self.doors_ready):
            return False
        models = list(self._registry)
        if not models:
            return not self._settings.load_models_at_startup
        return all(served.ready for served in models)

    def model_ready(self, name: str, version: str | None = None) -> bool:
        """Raises ModelNotFound."""
        return self._registry.find(name, version).ready

    def metadata(self) -> MetadataServerResponse:
        """The server's name, version and protocol extensions."""
        settings = self._settings
        return MetadataServerResponse(
            name=settings.server_name, version=settings.server_version, extensions=settings.extensions
        )

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """Raises ModelNotFound, or ModelNotReady while nothing is known of the model."""
        served = self._registry.find(name, version)
        if served.runner is None:
            raise ModelNotReady(name, version)
        metadata = served.runner.card.metadata
        return metadata.model_copy(update={"versions": self._registry.versions(name)})

    def _tell(self, event: RequestDone) -> None:
        tell(self._listeners, event)


def _log_failure(served: Served, request_id: str | None, error: MLServerError) -> None:
    """A model's own exception is logged with its traceback, which callers never see; other errors are callers'."""
    if error.kind is Kind.MODEL:
        logger.error("model %r failed on request %s: %s", served.name, request_id or "(stacked)", error, exc_info=error)


async def _closed(responses: AsyncIterator[TensorResponse]) -> None:
    """End a generator now: whoever left the loop over it leaves it to the garbage collector else."""
    if isinstance(responses, AsyncGenerator):
        await responses.aclose()


def _completed(response: TensorResponse, served: Served, request_id: str | None) -> TensorResponse:
    """The model may name itself, its version and the id; what it leaves open is filled in."""
    response.model = response.model or served.name
    response.version = response.version or served.version
    if not response.id:
        response.id = request_id
    return response
