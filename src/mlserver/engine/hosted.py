"""A model at work, in whichever process: the runtime's class is imported here, and nowhere else."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from typing import Any

from mlserver.context import model_context
from mlserver.engine.custom import CustomApp, CustomRequest, CustomResponse
from mlserver.engine.runner import ModelCard
from mlserver.errors import ConfigurationError, MLServerError, ModelError
from mlserver.model import MLModel
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest
from mlserver.types.convert import from_public, to_public
from mlserver.types.tensors import TensorRequest, TensorResponse

# Rows of one predict where the settings name no bound: there a row-wise model's cost per row has long stopped
# falling (the digits SVC: 172 us for one row, 46 a row at 8, 32 at 64, 31 at 256), and 256 rows of it take 8 ms.
DEFAULT_MAX_ROWS = 256


def max_rows_of(settings: ModelSettings, *, row_wise: bool) -> int:
    """How many rows one predict of a model may get; 1 where requests must not be stacked.

    Asking for batches by `max_batch_size` and `max_batch_time` declares a model row-wise.
    """
    asked = settings.max_batch_size
    if asked == 0:
        return DEFAULT_MAX_ROWS if row_wise else 1
    return asked if row_wise or settings.max_batch_time > 0 else 1


class HostedModel:
    """An instance of a runtime's class that was loaded.

    `plain`: its `predict` is a plain `def`, whose call blocks the thread that makes it. `on_wait` is called when an
    `async def predict` is seen to wait for something, until it is set to None.
    """

    on_wait: Callable[[], None] | None

    def __init__(self, model: MLModel, card: ModelCard, custom: CustomApp) -> None:
        self._model = model
        self._custom = custom
        self.card = card
        self.on_wait = None

    @classmethod
    async def load(cls, settings: ModelSettings) -> "HostedModel":
        """Import the runtime, make the model and load it. Raises what the runtime raises."""
        runtime = settings.implementation
        if not (isinstance(runtime, type) and issubclass(runtime, MLModel)):
            named = f"model {settings.name!r}: implementation {settings.implementation_!r}"
            raise ConfigurationError(f"{named} is no subclass of mlserver.MLModel")
        with model_context(settings):
            model = runtime(settings)
            model.ready = await model.load()
            max_rows = max_rows_of(settings, row_wise=model.is_row_wise)
            plain = not any(map(inspect.iscoroutinefunction, (model.predict, inspect.unwrap(model.predict))))
            custom = CustomApp(model)
            metadata, routes = await model.metadata(), custom.routes()
            card = ModelCard(metadata, max_rows=max_rows, ready=model.ready, plain=plain, custom=routes)
        return cls(model, card, custom)

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict, on the running event loop. Raises MLServerError, and nothing else."""
        model = self._model
        try:
            with model_context(model.settings, request.id):
                answer: Any = model.predict(to_public(request))
                if inspect.isawaitable(answer):
                    answer = await (answer if self.on_wait is None else _Watched(answer, self._waits))
            return from_public(answer, model=model.name, version=model.version)
        except MLServerError:
            raise
        except (Exception, SystemExit) as error:
            # A runtime that calls sys.exit must not take the server along.
            raise ModelError.of(error) from error

    def infer_plainly(self, request: TensorRequest, loop: asyncio.AbstractEventLoop) -> TensorResponse:
        """Predict with a plain `predict`, in this thread. Raises MLServerError, and nothing else.

        Should it return something to await, that is awaited on `loop`, which runs in another thread.
        """
        model = self._model
        try:
            with model_context(model.settings, request.id):
                answer: Any = model.predict(to_public(request))
                if inspect.isawaitable(answer):
                    answer = asyncio.run_coroutine_threadsafe(_awaited(answer), loop).result()
            return from_public(answer, model=model.name, version=model.version)
        except MLServerError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError.of(error) from error

    async def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncGenerator[TensorResponse]:
        """Run `predict_stream`. Raises MLServerError, and nothing else; closing it closes the model's generator."""
        model = self._model
        answers: Any = None
        try:
            answers = model.predict_stream(_public(requests))
            while True:
                # The model's own context, set for each step: between two of them other code runs here.
                with model_context(model.settings):
                    answer = await anext(answers, None)
                if answer is None:
                    return
                yield from_public(answer, model=model.name, version=model.version)
        except MLServerError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError.of(error) from error
        finally:
            if answers is not None and hasattr(answers, "aclose"):
                await answers.aclose()

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Answer a request to one of the model's own routes. Raises MLServerError, and nothing else."""
        return await self._custom.call(request)

    async def unload(self) -> None:
        """Let the model give back what it holds."""
        with model_context(self._model.settings):
            await self._model.unload()

    def _waits(self) -> None:
        if self.on_wait is not None:
            self.on_wait()
            self.on_wait = None


class _Watched:
    """Awaits `answer`, and tells when it first does not end at once."""

    __slots__ = ("_answer", "_tell")

    def __init__(self, answer: Awaitable[Any], tell: Callable[[], None]) -> None:
        self._answer = answer
        self._tell = tell

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._answer.__await__()
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        self._tell()
        while True:
            try:
                sent = yield step
            except BaseException as error:
                try:
                    step = steps.throw(error)
                except StopIteration as end:
                    return end.value
            else:
                try:
                    step = steps.send(sent)
                except StopIteration as end:
                    return end.value


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


async def _public(requests: AsyncIterator[TensorRequest]) -> AsyncIterator[InferenceRequest]:
    async for request in requests:
        yield to_public(request)
