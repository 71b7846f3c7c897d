"""One worker process, seen from the server: started, loaded, given calls, and watched until it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from mlserver.engine.custom import CustomRequest, CustomResponse
from mlserver.engine.custom_calls import CustomCalls
from mlserver.engine.flights import Desk, Flight
from mlserver.engine.frames import UNSENDABLE, Frame, Parsed, ProtocolError, error_of
from mlserver.engine.isolate import Outcome
from mlserver.engine.link import CLOSED, Link
from mlserver.engine.queue import ModelQueue
from mlserver.engine.recorded import Models, merge_recorded, no_models
from mlserver.engine.remote_streams import RemoteStreams
from mlserver.engine.runner import ModelCard
from mlserver.engine.scheduler import Scheduler
from mlserver.engine.words import (
    Awaits,
    Beat,
    Cancel,
    Credit,
    CustomAnswer,
    Done,
    Drain,
    Failure,
    Host,
    Load,
    Loaded,
    NotLoaded,
    Recorded,
    Result,
    Started,
    Unload,
    Word,
)
from mlserver.errors import ConfigurationError, InferenceError, Kind, MLServerError, ModelError
from mlserver.types import MetadataModelResponse
from mlserver.types.tensors import TensorRequest, TensorResponse

# Between the end of a socket and that of its process.
_END_SECONDS = 0.5


class Launch(NamedTuple):
    """How a worker is started: the command but for its last arguments, its environment, and its first word."""

    command: Sequence[str]
    environ: dict[str, str]
    host: Host


class Spec(NamedTuple):
    """A model as a worker is told of it."""

    handle: int
    settings: str
    source: str | None
    warmup: TensorRequest | None


class _Under:
    """A flight under way, or a warm-up, with what has come of it so far."""

    __slots__ = ("flight", "left", "outcomes", "warmed")

    def __init__(self, members: int, flight: Flight | None, warmed: asyncio.Future[None] | None = None) -> None:
        self.left = members
        self.flight = flight
        self.warmed = warmed
        self.outcomes: list[Outcome] = []


class WorkerProcess:
    """`gone` has the reason when the process has ended, or is as good as that: its calls are answered by then.

    `models` yields the names and versions of the models that it may tell of.
    """

    def __init__(self, scheduler: Scheduler, models: Models = no_models) -> None:
        self.desk = Desk()
        self.pid = 0
        self.heard = time.monotonic()
        """When it last said something."""
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._scheduler = scheduler
        self._models = models
        self._link = Link(self._take, self._ended)
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = 0
        self._calls: dict[int, _Under] = {}
        self._flights: dict[Flight, int] = {}
        self._streams = RemoteStreams(self._link)
        self._custom = CustomCalls(self._link.say)
        self._served: dict[int, ModelQueue] = {}
        self._loads: dict[int, asyncio.Future[ModelCard]] = {}
        self._unloads: dict[int, asyncio.Future[None]] = {}

    # Its life.

    async def launch(self, launch: Launch) -> None:
        """Start the process, and wait until it is at work. Raises OSError, MLServerError."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, theirs:
            undo.callback(ours.close)
            command = (*launch.command, str(theirs.fileno()), str(os.getpid()))
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=(theirs.fileno(),), env=launch.environ, stdin=asyncio.subprocess.DEVNULL
            )
            undo.pop_all()
        self.pid = self._process.pid
        await self._loop.create_unix_connection(lambda: self._link, sock=ours)
        self._link.say(launch.host)
        await asyncio.wait((self._started, self.gone), return_when=asyncio.FIRST_COMPLETED)
        if self.gone.done():
            raise MLServerError(f"a worker could not be started: {await self.exited()}")

    async def exited(self) -> str:
        """Wait for the end of the process; how it ended, in words. One that outlives its socket is killed."""
        if self._process is None:
            return "it was not started"
        waiter = asyncio.ensure_future(self._process.wait())
        await asyncio.wait((waiter, self.gone), return_when=asyncio.FIRST_COMPLETED)
        if waiter.done():
            # Something that it started may hold the socket open.
            self._link.close(CLOSED)
        elif await self.gone == CLOSED:
            await asyncio.wait((waiter,), timeout=_END_SECONDS)
        self.kill()
        how = _how_ended(await waiter)
        reason = await self.gone
        return how if reason == CLOSED else f"{reason}; {how}"

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def drain(self, grace_seconds: float) -> None:
        """Ask it to unload everything and end; nothing may be under way."""
        self._link.say(Drain(grace_seconds))

    def ask(self) -> None:
        """Have it say something."""
        self._link.say(Beat())

    @property
    def expected_silent(self) -> bool:
        """Whether it does something for somebody, and may not be able to talk meanwhile."""
        return bool(self._loads or self._unloads or self._custom.wanted or self._streams.wanted) or any(
            not flight.abandoned for flight in self._flights
        )

    def _ended(self, reason: str) -> None:
        """The link has ended: nobody may be left waiting."""
        self.gone.set_result(reason)
        self._scheduler.leave(self)
        self._flights.clear()
        self._streams.end()
        self._custom.end()
        warming = [under.warmed for under in self._calls.values() if under.warmed is not None]
        asked: list[asyncio.Future[Any]] = [*self._loads.values(), *self._unloads.values(), *warming]
        for future in asked:
            if not future.done():
                future.set_exception(_Ended())

    # Models.

    async def load(self, spec: Spec) -> ModelCard:
        """Load a model and send it its warm-up request. Raises MLServerError or ConfigurationError, in one line."""
        if self.gone.done():
            raise _Ended
        loaded: asyncio.Future[ModelCard] = self._loop.create_future()
        self._loads[spec.handle] = loaded
        self._link.say(Load(spec.handle, spec.settings, spec.source))
        try:
            card = await loaded
            if spec.warmup is not None:
                await self._warm_up(spec.handle, spec.warmup)
        except _Ended:
            raise ModelError(f"its worker ended: {await self.exited()}") from None
        finally:
            del self._loads[spec.handle]
        return card

    async def _warm_up(self, handle: int, request: TensorRequest) -> None:
        warmed = self._loop.create_future()
        number = self._number()
        self._calls[number] = _Under(1, None, warmed)
        frame = Frame()
        frame.call(number, request, [1], handle)
        self._link.send(frame)
        await warmed

    def serve(self, queue: ModelQueue) -> None:
        """From now on calls of this model, which has been loaded, may come."""
        self._served[queue.handle] = queue

    async def unload(self, handle: int) -> None:
        """Unload a model that nothing is under way for; a process that has ended has done so."""
        self._served.pop(handle, None)
        if self.gone.done():
            return
        unloaded = self._unloads[handle] = self._loop.create_future()
        self._link.say(Unload(handle))
        try:
            with contextlib.suppress(_Ended):
                await unloaded
        finally:
            del self._unloads[handle]

    # Calls: what the scheduler sees.

    @property
    def flights(self) -> Iterable[Flight]:
        """The calls under way."""
        return self._flights.keys()

    def serves(self, queue: ModelQueue) -> bool:
        """Whether it has loaded the model, and lives."""
        return queue.handle in self._served and not self.gone.done()

    def start(self, flight: Flight) -> None:
        """Send the call; what cannot be sent is answered in the next turn."""
        number = self._number()
        self._calls[number] = _Under(flight.members, flight)
        self._flights[flight] = number
        frame = Frame()
        try:
            frame.call(number, flight.request, flight.rows, flight.queue.handle)
            self._link.send(frame)
        except UNSENDABLE as error:
            refusal = InferenceError(f"the request cannot be passed on to the model: {error}")
            self._loop.call_soon(self._unsent, number, Outcome(flight.members, None, refusal))

    def cancel(self, flight: Flight) -> None:
        """Nobody waits for the call any more: what awaits is stopped."""
        self._link.say(Cancel(self._flights[flight]))

    def overdue(self, flight: Flight) -> None:
        """Nothing but its end stops what a process is doing."""
        self.kill()
        self._link.close("a predict took too long")

    async def stream(self, queue: ModelQueue, requests: AsyncIterator[TensorRequest]) -> AsyncGenerator[TensorResponse]:
        """Run the model's `predict_stream`. Raises MLServerError."""
        self.desk.total += 1
        try:
            async with contextlib.aclosing(self._streams.run(self._number(), queue, requests)) as responses:
                async for response in responses:
                    yield response
        finally:
            self.desk.total -= 1

    async def call(self, queue: ModelQueue, request: CustomRequest) -> CustomResponse:
        """Answer one of the model's own routes. Raises MLServerError."""
        self.desk.total += 1
        try:
            return await self._custom.call(self._number(), queue, request)
        finally:
            self.desk.total -= 1

    # What it says.

    def _take(self, word: Word, parsed: Parsed) -> None:
        """Raises ProtocolError for what a worker has no business to say."""
        self.heard = time.monotonic()
        if isinstance(word, Result):
            response = parsed.response(word)
            if word.number in self._streams:
                self._streams.feed(word.number, response)
            else:
                self._answered(word.number, Outcome(word.members, response))
        elif isinstance(word, Failure):
            if word.number in self._streams:
                self._streams.feed(word.number, error_of(word))
            elif word.number in self._custom:
                self._custom.take(word)
            else:
                self._answered(word.number, Outcome(word.members, None, error_of(word)))
        elif isinstance(word, Credit | Done):
            self._streams.hear(word)
        elif isinstance(word, Awaits):
            queue = self._served.get(word.handle)
            if queue is not None:
                self._scheduler.awaiting(queue)
        else:
            self._take_other(word)

    def _take_other(self, word: Word) -> None:
        if isinstance(word, Beat):
            return
        if isinstance(word, CustomAnswer):
            self._custom.take(word)
            return
        if isinstance(word, Started):
            if not self._started.done():
                self._started.set_result(None)
        elif isinstance(word, Loaded):
            metadata = MetadataModelResponse.model_validate_json(word.metadata)
            card = ModelCard(metadata, max_rows=word.max_rows, ready=word.ready, plain=word.plain, custom=word.custom)
            _settle(_expected(self._loads.get(word.handle), word), card)
        elif isinstance(word, NotLoaded):
            _expected(self._loads.get(word.handle), word).set_exception(_load_error(word))
        elif isinstance(word, Unload):
            _settle(_expected(self._unloads.get(word.handle), word), None)
        elif isinstance(word, Recorded):
            merge_recorded(word, self._models())
        else:
            raise ProtocolError(f"unexpected word {type(word).__name__}")

    def _answered(self, number: int, outcome: Outcome) -> None:
        under = self._calls.get(number)
        if under is None or not 0 < outcome.members <= under.left:
            raise ProtocolError("an answer to a call that was not made")
        under.outcomes.append(outcome)
        under.left -= outcome.members
        if under.left:
            return
        del self._calls[number]
        if under.flight is not None:
            self._flights.pop(under.flight, None)
            self._scheduler.finish(under.flight, under.outcomes)
        elif under.warmed is not None and not under.warmed.done():
            _settle_warm_up(under.warmed, outcome)

    def _unsent(self, number: int, outcome: Outcome) -> None:
        if number in self._calls and not self.gone.done():
            self._answered(number, outcome)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def __repr__(self) -> str:
        return f"WorkerProcess({self.pid}, {len(self._flights)} calls, {'gone' if self.gone.done() else 'alive'})"


class _Ended(Exception):
    """The worker ended before it had answered."""


T = TypeVar("T")


def _expected(found: T | None, word: Word) -> T:
    if found is None:
        raise ProtocolError(f"unexpected word {type(word).__name__}")
    return found


def _settle(asked: asyncio.Future[T], answer: T) -> None:
    if not asked.done():
        asked.set_result(answer)


def _load_error(word: NotLoaded) -> Exception:
    if word.kind is None:
        return ConfigurationError(word.message)
    error = MLServerError(word.message)
    error.kind = Kind(word.kind)
    return error


def _settle_warm_up(warmed: asyncio.Future[None], outcome: Outcome) -> None:
    if outcome.error is None:
        warmed.set_result(None)
    else:
        warmed.set_exception(ModelError(f"its warm-up request failed: {outcome.error}"))


def _how_ended(code: int) -> str:
    """An exit code as people know it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
