"""The event loop of a worker: it reads the server's words, loads models, and runs everything that is `async`.

Plain `predict`s are handed to the main thread, which answers by itself.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from mlserver.engine.answers import answer_parts
from mlserver.engine.custom_calls import request_of
from mlserver.engine.frames import UNSENDABLE, Frame, Parsed, ProtocolError
from mlserver.engine.hosted import HostedModel
from mlserver.engine.isolate import Outcome, infer_members
from mlserver.engine.pipe import Pipe
from mlserver.engine.streams import Stream
from mlserver.engine.tasks import begun
from mlserver.engine.words import (
    Awaits,
    Beat,
    Call,
    Cancel,
    Credit,
    CustomAnswer,
    CustomCall,
    Done,
    Drain,
    Load,
    Loaded,
    NotLoaded,
    Open,
    Recorded,
    Started,
    Unload,
    Word,
)
from mlserver.errors import ConfigurationError, Kind, MLServerError, ModelError
from mlserver.metrics import take_deltas
from mlserver.settings import ModelSettings
from mlserver.tracing import Tracer
from mlserver.types.tensors import TensorRequest, TensorResponse

logger = logging.getLogger("mlserver")

# After the server's word to end: how long a main thread that still predicts may hold the process.
END_SECONDS = 0.5
_NO_SPAN = contextlib.nullcontext()


class WorkerLoop:
    """Everything but plain `predict`s: belongs to the thread of the event loop."""

    def __init__(
        self, pipe: Pipe, plain: "queue.SimpleQueue[Callable[[], None] | None]", tracer: Tracer | None = None
    ) -> None:
        self._pipe = pipe
        self._tracer = tracer
        self._plain = plain
        self._models: dict[int, HostedModel] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, Stream[TensorRequest]] = {}
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until told to end, or the server is gone."""
        self._loop.add_reader(self._pipe.fileno(), self._readable)
        self.say(Started())
        self._readable()
        await self._ended.wait()

    def say(self, word: Word) -> None:
        """Send one word without tensors."""
        frame = Frame()
        frame.add(word)
        self._pipe.send(frame.parts())

    def _say_recorded(self) -> None:
        """Hand on what models have recorded, before the answer in which they did: who has that finds it counted."""
        deltas = take_deltas()
        try:
            if deltas:
                self.say(Recorded([tuple(delta) for delta in deltas]))
        except UNSENDABLE as error:
            logger.warning("metrics of models cannot be passed on: %s", error)

    def _readable(self) -> None:
        try:
            for parsed in self._pipe.receive():
                for word in parsed.words:
                    self._take(word, parsed)
        except (EOFError, OSError):
            # The server is gone, and with it everybody who could want an answer.
            os._exit(0)
        except ProtocolError as error:
            logger.error("the server broke the protocol: %s", error)
            os._exit(1)

    def _take(self, word: Word, parsed: Parsed) -> None:
        if isinstance(word, Call):
            self._called(word, parsed.request(word))
        elif isinstance(word, Load):
            self._later(self._load(word))
        elif isinstance(word, Unload):
            self._later(self._unload(word))
        elif isinstance(word, Open):
            self._open(word)
        elif isinstance(word, CustomCall):
            self._tasks[word.number] = self._loop.create_task(self._custom(word))
        elif isinstance(word, Credit | Done):
            stream = self._streams.get(word.number)
            if stream is not None:
                stream.hear(word)
        elif isinstance(word, Cancel):
            task = self._tasks.get(word.number)
            if task is not None:
                # After its first step: a task that is cancelled before it never answers.
                self._loop.call_soon(task.cancel)
        elif isinstance(word, Beat):
            self._say_recorded()
            self.say(word)
        elif isinstance(word, Drain):
            self._later(self._drain())

    def _later(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Calls.

    def _called(self, call: Call, request: TensorRequest) -> None:
        stream = self._streams.get(call.number)
        if stream is not None:
            stream.feed(request)
            return
        hosted = self._models.get(call.handle)
        if hosted is None:
            # The rest of a stream that has ended here; a call for a model is never sent before it is loaded.
            return
        if hosted.card.plain:
            self._plain.put(lambda: self._answer_plainly(call, request, hosted))
        else:
            answer = self._answer(call, request, hosted)
            task = begun(answer, self._loop, "predict")
            if not task.done():
                self._tasks[call.number] = task

    async def _answer(self, call: Call, request: TensorRequest, hosted: HostedModel) -> None:
        outcomes: list[Outcome]
        try:
            with self._span(call):
                outcomes = await infer_members(hosted.infer, request, call.members)
        except asyncio.CancelledError:
            outcomes = [Outcome(len(call.members), None, ModelError("cancelled: nobody waits for it"))]
        except Exception as error:
            logger.exception("unexpected failure of model %r", call.model, extra={"request_id": call.id})
            outcomes = [Outcome(len(call.members), None, ModelError.of(error))]
        self._tasks.pop(call.number, None)
        self._send_outcomes(call.number, outcomes)

    def _answer_plainly(self, call: Call, request: TensorRequest, hosted: HostedModel) -> None:
        """In the main thread: the same without a loop, since nothing in it ever waits."""

        async def infer(request: TensorRequest) -> TensorResponse:
            return hosted.infer_plainly(request, self._loop)

        outcomes: list[Outcome]
        steps = infer_members(infer, request, call.members)
        try:
            with self._span(call):
                outcomes = _ended(steps)
        except Exception as error:
            logger.exception("unexpected failure of model %r", call.model, extra={"request_id": call.id})
            outcomes = [Outcome(len(call.members), None, ModelError.of(error))]
        self._send_outcomes(call.number, outcomes)

    def _span(self, call: Call) -> contextlib.AbstractContextManager[None]:
        if call.trace is None or self._tracer is None:
            return _NO_SPAN
        return self._tracer.predicting(call.trace, call.model)

    def _send_outcomes(self, number: int, outcomes: list[Outcome]) -> None:
        self._say_recorded()
        for parts in answer_parts([(number, outcome) for outcome in outcomes]):
            self._pipe.send(parts)

    # Streams.

    def _open(self, word: Open) -> None:
        stream = self._streams[word.number] = Stream(word.number, self.say)
        stream.open()
        self._tasks[word.number] = self._loop.create_task(self._stream(word, stream))

    async def _stream(self, word: Open, stream: Stream[TensorRequest]) -> None:
        number = word.number
        try:
            async with contextlib.aclosing(self._models[word.handle].stream(stream.messages())) as responses:
                async for response in responses:
                    await stream.may_send()
                    self._send_outcomes(number, [Outcome(1, response)])
        except MLServerError as error:
            self._send_outcomes(number, [Outcome(0, None, error)])
        except asyncio.CancelledError:
            pass
        finally:
            del self._streams[number], self._tasks[number]
            self.say(Done(number))

    async def _custom(self, word: CustomCall) -> None:
        """One of a model's own routes."""
        try:
            response = await self._models[word.handle].call(request_of(word))
            self._say_recorded()
            self.say(CustomAnswer(word.number, response.status, response.headers, response.body))
        except MLServerError as error:
            self._send_outcomes(word.number, [Outcome(1, None, error)])
        except asyncio.CancelledError:
            self._send_outcomes(word.number, [Outcome(1, None, ModelError("cancelled: nobody waits for it"))])
        except Exception as error:
            self._send_outcomes(word.number, [Outcome(1, None, ModelError.of(error))])
        finally:
            del self._tasks[word.number]

    # Models.

    async def _load(self, word: Load) -> None:
        try:
            settings = ModelSettings.model_validate_json(word.settings)
            settings._source = word.source
            hosted = await HostedModel.load(settings)
        except (Exception, SystemExit) as error:
            self.say(_refusal(word.handle, error))
            return
        handle = word.handle
        hosted.on_wait = lambda: self.say(Awaits(handle))
        self._models[handle] = hosted
        card = hosted.card
        self._say_recorded()
        self.say(
            Loaded(handle, card.metadata.model_dump_json(), card.max_rows, card.ready, card.plain, list(card.custom))
        )

    async def _unload(self, word: Unload) -> None:
        hosted = self._models.pop(word.handle, None)
        if hosted is not None:
            try:
                await hosted.unload()
            except Exception:
                logger.exception("a model failed to unload")
            del hosted
            gc.collect()
            _give_memory_back()
        self._say_recorded()
        self.say(word)

    async def _drain(self) -> None:
        """Unload everything and end; the server sends this when nothing is under way."""
        self._loop.remove_reader(self._pipe.fileno())
        for hosted in self._models.values():
            try:
                await hosted.unload()
            except Exception:
                logger.exception("a model failed to unload")
        self._say_recorded()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)
        self._plain.put(None)
        end = threading.Timer(END_SECONDS, os._exit, (0,))
        end.daemon = True
        end.start()
        self._ended.set()


def _ended(steps: Coroutine[Any, Any, list[Outcome]]) -> list[Outcome]:
    """What a coroutine that never waits returns."""
    try:
        steps.send(None)
    except StopIteration as end:
        found: list[Outcome] = end.value
        return found
    raise RuntimeError("a plain predict waited")


def _refusal(handle: int, error: BaseException) -> NotLoaded:
    """One line for whoever asked; what is not made to be shown is logged with its traceback."""
    if isinstance(error, ConfigurationError):
        return NotLoaded(handle, str(error), None)
    if isinstance(error, MLServerError):
        return NotLoaded(handle, str(error), error.kind.value)
    logger.error("a model failed to load", exc_info=error)
    return NotLoaded(handle, f"{type(error).__name__}: {error}", Kind.MODEL.value)


def _give_memory_back() -> None:
    """The C library keeps freed memory for later; what a model held may be most of a machine's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
