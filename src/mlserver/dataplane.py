"""The only door inside: what REST, gRPC and Kafka call.

It fills in what the protocol leaves to the server - the id, the model's name and version - and tells listeners what
happened. It knows no web, RPC, Kafka or metrics package.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

from mlserver.engine.clock import StreamClock
from mlserver.engine.isolate import Outcome
from mlserver.engine.runner import Runner
from mlserver.errors import ConfigurationError, Kind, MLServerError, ModelNotFound, ModelNotReady
from mlserver.events import ModelLoaded, RequestDone, Tell, nobody
from mlserver.extensions import extensions, model_config
from mlserver.registry import Registry, Served
from mlserver.repository import ModelRepository
from mlserver.settings import ModelSettings, Settings
from mlserver.tracing import Tracer, current_trace
from mlserver.types import (
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexResponse,
    RepositoryIndexResponseItem,
    State,
)
from mlserver.types.tensors import OutputRequest, TensorRequest, TensorResponse
from mlserver.utils import generate_uuid

logger = logging.getLogger("mlserver")


class DataPlane:
    """Inference, health and metadata over the models of one registry."""

    started: bool
    """Whether every model that should be there has had its turn to load, and the server is not stopping."""
    complete: bool
    """Whether the settings of all of them could be read."""
    doors_ready: bool
    """Whether the doors that count for readiness can do their work."""

    tracer: Tracer | None
    """Where the doors begin traces, to which their requests then belong; None where nobody keeps any."""

    missing: set[tuple[str, str | None]]
    """Models, as (name, version), that should be there and failed to load."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        repository: ModelRepository | None = None,
        tell: Tell = nobody,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._repository = repository
        self._tell = tell
        self._failures: dict[tuple[str, str | None], str] = {}
        self._changes: set[asyncio.Task[None]] = set()
        self.started = False
        self.complete = True
        self.doors_ready = True
        self.tracer = None
        self.missing = set()

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Answer one request. Raises MLServerError, and nothing else."""
        served = self._registry.find(request.model, request.version)
        begun = time.perf_counter()
        if request.id is None:
            request.id = generate_uuid()
        self._bound(request)
        request.served = served.key
        if self.tracer is not None:
            _traced(request, served)
        served.in_flight += 1
        try:
            response = await served.answering().infer(request)
        except MLServerError as error:
            self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, error.kind))
            _log_failure(served, request.id, error)
            raise
        finally:
            served.in_flight -= 1
        self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, None))
        response.keep(request.outputs)
        return _completed(response, served, request.id)

    def stream(
        self, model: str, version: str | None, requests: AsyncIterator[TensorRequest], *, conversation: bool = False
    ) -> AsyncIterator[TensorResponse]:
        """Answer a stream of requests to one model, each response as the model makes it.

        The deadline of a request bounds all of its answers; in a `conversation`, the first that follows it.
        Raises ModelNotFound or ModelNotReady at once, before anything is sent, and MLServerError, and nothing else,
        from the iterator. Whoever stops before its end closes it (`aclose`).
        """
        served = self._registry.find(model, version)
        clock = StreamClock(served.name, conversation=conversation)
        return self._streamed(served, served.answering(), requests, clock)

    async def _streamed(
        self, served: Served, runner: Runner, requests: AsyncIterator[TensorRequest], clock: StreamClock
    ) -> AsyncIterator[TensorResponse]:
        begun = time.perf_counter()
        request_id: str | None = None
        asked: list[OutputRequest] | None = None

        async def named() -> AsyncIterator[TensorRequest]:
            nonlocal request_id, asked
            async for request in requests:
                asked = request.outputs
                request_id = request.id = request.id or request_id or generate_uuid()
                if self.tracer is not None:
                    _traced(request, served)
                self._bound(request)
                clock.asked(request.deadline)
                yield request

        responses = runner.stream(named())
        served.in_flight += 1
        try:
            while (response := await clock.next(responses)) is not None:
                response.keep(asked)
                yield _completed(response, served, request_id)
        except MLServerError as error:
            self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, error.kind))
            _log_failure(served, request_id, error)
            raise
        finally:
            served.in_flight -= 1
            await _closed(responses)
        self._tell(RequestDone(served.name, served.version, time.perf_counter() - begun, None))

    async def infer_members(self, request: TensorRequest, rows: Sequence[int]) -> list[Outcome]:
        """Answer the members of a stack, each as if it had come alone; ids are the caller's to give.

        Never raises MLServerError: it is in the outcomes.
        """
        begun = time.perf_counter()
        try:
            served = self._registry.find(request.model, request.version)
            if self.tracer is not None:
                _traced(request, served)
            with served.busy(len(rows)):
                outcomes = await served.answering().infer_members(request, rows)
        except MLServerError as error:
            return [Outcome(len(rows), None, error)]
        # Every member waited for the whole: that is the time its caller saw.
        seconds = time.perf_counter() - begun
        for outcome in outcomes:
            if outcome.response is not None:
                outcome.response.keep(request.outputs)
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
        if not (self.started and self.complete and self.doors_ready) or self.missing:
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
            name=settings.server_name, version=settings.server_version, extensions=extensions(settings.extensions)
        )

    def model_metadata(self, name: str, version: str | None = None) -> MetadataModelResponse:
        """What a model says of itself; its versions are those that are served, unless it says others.

        Raises ModelNotFound, or ModelNotReady while nothing is known of the model.
        """
        served = self._registry.find(name, version)
        if served.runner is None:
            raise ModelNotReady(name, version)
        metadata = served.runner.card.metadata
        if metadata.versions and metadata.versions != [served.version]:
            return metadata
        return metadata.model_copy(update={"versions": self._registry.versions(name)})

    def model_config(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Triton's ModelConfig. Raises ModelNotFound, or ModelNotReady while nothing is known of the model."""
        served = self._registry.find(name, version)
        if served.runner is None:
            raise ModelNotReady(name, version)
        card = served.runner.card
        return model_config(card.metadata, card.max_rows)

    def models(self, name: str | None = None, version: str | None = None) -> list[tuple[str, str | None]]:
        """Names and versions of the models that should be here, or of those of one name. Raises ModelNotFound."""
        if name is None:
            return [(served.name, served.version) for served in self._registry]
        found = self._registry.find(name, version)
        if version:
            return [(found.name, found.version)]
        return [(served.name, served.version) for served in self._registry if served.name == name]

    def in_flight(self) -> Iterator[tuple[str, str, int]]:
        """Name, version ("" for none) and requests under way of each model that should be here."""
        return ((*served.key, served.in_flight) for served in self._registry)

    def custom_routes(self) -> Iterator[tuple[Runner, str, str]]:
        """The routes that models bring themselves: who answers, method and path; first loaded first."""
        for served in self._registry:
            runner = served.runner
            if runner is not None and runner.card.ready:
                yield from ((runner, method, path) for method, path in runner.card.custom)

    async def repository_index(self, ready: bool | None = None) -> RepositoryIndexResponse:
        """Every model of the repository, and what is served besides; with `ready` only those that are ready."""
        served = {(one.name, one.version): one for one in self._registry}
        known = await self._scanned()
        items = [
            RepositoryIndexResponseItem(
                name=name,
                version=version,
                state=_state(served.get((name, version))),
                reason=self._reason(name, version),
            )
            for name, version in [*served, *(key for key in known if key not in served)]
        ]
        return RepositoryIndexResponse(
            root=[item for item in items if not ready or item.state == State.READY],
        )

    async def load(self, name: str) -> None:
        """Load, or load again, every version of a model that the repository has, and unload those that it has not.

        A version that is served answers until its successor is ready. A caller who goes away stops nothing that has
        begun. Raises ModelNotFound, and MLServerError that says why a version could not be loaded; the others are
        loaded all the same.
        """
        change = asyncio.create_task(self._load_all(name))
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        change.add_done_callback(_look_at)
        await asyncio.shield(change)

    async def _load_all(self, name: str) -> None:
        found = await self._found(name)
        failed: MLServerError | None = None
        for settings in found:
            try:
                await self.load_settings(settings)
            except MLServerError as error:
                failed = failed or error
        kept = {settings.version or None for settings in found}
        for served in self._registry.of(name):
            if served.version not in kept:
                await self._registry.unload(name, served.version)
        if failed is not None:
            raise failed

    async def load_settings(self, settings: ModelSettings) -> None:
        """Load one model. Raises MLServerError, in one line that names it, and nothing else."""
        key = (settings.name, settings.version or None)
        begun = time.perf_counter()
        try:
            served = await self._registry.load(settings)
        except Exception as error:
            failure = _load_failure(settings, error)
            self._failures[key] = str(failure)
            raise failure from error
        self._failures.pop(key, None)
        self.missing.discard(key)
        seconds = time.perf_counter() - begun
        logger.info("loaded model %r in %.2f s", served.name, seconds)
        self._tell(ModelLoaded(served.name, served.version, seconds))

    async def unload(self, name: str) -> None:
        """Unload every version of a model; returns when they have answered what was under way. Raises ModelNotFound."""
        await self._registry.unload(name, every=True)
        self.missing = {key for key in self.missing if key[0] != name}
        logger.info("unloaded model %r", name)

    async def _found(self, name: str) -> list[ModelSettings]:
        if self._repository is None:
            raise ModelNotFound(name)
        try:
            return await self._repository.find(name)
        except ConfigurationError as error:
            raise MLServerError(str(error)) from error

    async def _scanned(self) -> list[tuple[str, str | None]]:
        if self._repository is None:
            return []
        try:
            scan = await self._repository.scan()
        except ConfigurationError as error:
            raise MLServerError(str(error)) from error
        return [(settings.name, settings.version or None) for settings in scan.found]

    def _reason(self, name: str, version: str | None) -> str:
        return self._failures.get((name, version), "")

    def _bound(self, request: TensorRequest) -> None:
        """Give a request the deadline of those that bring none."""
        seconds = self._settings.default_timeout_seconds
        if request.deadline is None and seconds is not None:
            request.deadline = time.monotonic() + seconds


def _look_at(change: "asyncio.Task[None]") -> None:
    """What became of a load whose caller has gone is in the log and in the index; unseen, the loop would complain."""
    if not change.cancelled():
        change.exception()


def _state(served: Served | None) -> State:
    if served is None:
        return State.UNAVAILABLE
    if served.runner is None:
        return State.LOADING
    return State.READY if served.ready else State.UNKNOWN


def _load_failure(settings: ModelSettings, error: Exception) -> MLServerError:
    """One line: which model, and why. What is not ours keeps its class."""
    if isinstance(error, ConfigurationError):
        return MLServerError(str(error))
    text = str(error) if isinstance(error, MLServerError) else f"{type(error).__name__}: {error}"
    named = f"model {settings.name!r}"
    failure = MLServerError(text if text.startswith(named) else f"{named} failed to load: {text}")
    failure.kind = error.kind if isinstance(error, MLServerError) else Kind.MODEL
    return failure


def _traced(request: TensorRequest, served: Served) -> None:
    """Make the request a part of the trace that its door has begun."""
    request.trace = trace = current_trace.get()
    if trace is not None:
        trace.asked(served.key, request.id)


def _log_failure(served: Served, request_id: str | None, error: MLServerError) -> None:
    """A model's own exception is logged with its traceback, which callers never see; other errors are callers'."""
    if error.kind is Kind.MODEL:
        logger.error(
            "model %r failed on request %s: %s", served.name, request_id or "(stacked)", error, exc_info=error,
            extra={"request_id": request_id},
        )  # fmt: skip


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
