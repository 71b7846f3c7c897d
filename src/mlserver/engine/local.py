"""A Runner around a model in this process (`parallel_workers: 0`)."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

from mlserver.context import model_context
from mlserver.engine.batcher import max_rows_of
from mlserver.engine.custom import CustomApp, CustomRequest, CustomResponse
from mlserver.engine.runner import ModelCard
from mlserver.errors import ConfigurationError, MLServerError, ModelError
from mlserver.model import MLModel
from mlserver.settings import ModelSettings
from mlserver.types import InferenceRequest
from mlserver.types.convert import from_public, to_public
from mlserver.types.tensors import TensorRequest, TensorResponse


class LocalRunner:
    """Runs `predict` on the event loop: an `async def` runs concurrently, a plain `def` blocks the loop meanwhile."""

    def __init__(self, model: MLModel, card: ModelCard, custom: CustomApp) -> None:
        self._model = model
        self._card = card
        self._custom = custom
        self._under_way = 0
        self._idle: asyncio.Event | None = None

    @classmethod
    async def start(cls, settings: ModelSettings) -> "LocalRunner":
        """Import the runtime, make the model and load it. Raises what the runtime raises."""
        runtime = settings.implementation
        if not (isinstance(runtime, type) and issubclass(runtime, MLModel)):
            named = f"model {settings.name!r}: implementation {settings.implementation_!r}"
            raise ConfigurationError(f"{named} is no subclass of mlserver.MLModel")
        model = runtime(settings)
        with model_context(settings):
            model.ready = await model.load()
            max_rows = max_rows_of(settings, row_wise=model.is_row_wise)
            custom = CustomApp(model)
            card = ModelCard(await model.metadata(), max_rows=max_rows, ready=model.ready, custom=custom.routes())
        return cls(model, card, custom)

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self._card

    async def infer(self, request: TensorRequest) -> TensorResponse:
        """Predict in this process."""
        model = self._model
        self._under_way += 1
        try:
            with model_context(model.settings):
                answer: Any = model.predict(to_public(request))
                if inspect.isawaitable(answer):
                    answer = await answer
            return from_public(answer, model=model.name, version=model.version)
        except MLServerError:
            raise
        except (Exception, SystemExit) as error:
            # A runtime that calls sys.exit must not take the server along.
            raise ModelError.of(error) from error
        finally:
            self._ended()

    async def stream(self, requests: AsyncIterator[TensorRequest]) -> AsyncIterator[TensorResponse]:
        """Run `predict_stream` in this process."""
        model = self._model
        self._under_way += 1
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
            if answers is not None:
                await answers.aclose()
            self._ended()

    async def call(self, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes in this process."""
        self._under_way += 1
        try:
            return await self._custom.call(request)
        finally:
            self._ended()

    def _ended(self) -> None:
        self._under_way -= 1
        if self._idle is not None and not self._under_way:
            self._idle.set()

    async def close(self) -> None:
        """Wait for the calls under way, then unload the model."""
        self._idle = asyncio.Event()
        if self._under_way:
            await self._idle.wait()
        with model_context(self._model.settings):
            await self._model.unload()


async def _public(requests: AsyncIterator[TensorRequest]) -> AsyncIterator[InferenceRequest]:
    async for request in requests:
        yield to_public(request)
