"""The Kafka door seen from the server: its process is started, answered, seen to die, and drained."""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import cast

from mlserver.dataplane import DataPlane
from mlserver.engine.frames import (
    Assembler,
    Call,
    Configure,
    Drain,
    Frame,
    Models,
    Parsed,
    ProtocolError,
    Started,
    Word,
)
from mlserver.engine.isolate import Outcome
from mlserver.errors import ConfigurationError
from mlserver.registry import Registry
from mlserver.settings import Settings
from mlserver.types.tensors import TensorRequest

logger = logging.getLogger("mlserver.kafka")

# A process that dies is started anew at once, then after a pause that doubles, and is short again after a calm minute.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _CALM_SECONDS = 0.1, 10.0, 60.0
# Answers are sent when a frame's calls are done, or this long after the first of them: a slow model's door must not
# look dead.
_FLUSH_SECONDS = 0.05
# Calls of one frame that run side by side, where `predict` is async.
_MAX_CONCURRENT_CALLS = 64
# What is kept of the grace for the process to end in.
_EXIT_SECONDS = 1.0


class KafkaProcess:
    """Keeps one door process alive for as long as the server runs."""

    def __init__(self, settings: Settings, dataplane: DataPlane, registry: Registry) -> None:
        self._settings = settings
        self._dataplane = dataplane
        self._registry = registry
        self._task: asyncio.Task[None] | None = None
        self._link: _Link | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._started: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to keep the process alive."""
        self._started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_alive())

    async def configured(self) -> None:
        """Wait until the process is at work. Raises ConfigurationError with librdkafka's words where it refuses."""
        if self._started is not None:
            await self._started

    def models_changed(self) -> None:
        """Tell the door what is served: it reads when there is something, and stacks what is row-wise."""
        if self._link is not None:
            self._link.send_word(Models(self._served()))

    async def stop(self, grace_seconds: float) -> None:
        """Let it finish what is in flight, commit, leave the group and end; kill it when the grace is over."""
        self._stopping = True
        grace = max(0.0, grace_seconds - _EXIT_SECONDS)
        if self._link is not None:
            self._link.send_word(Drain(grace))
        elif self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), grace + _EXIT_SECONDS / 2)
            except TimeoutError:
                logger.error(
                    "the Kafka door did not end within its grace: killed; what it had not committed is read again"
                )
                self._process.kill()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _served(self) -> list[tuple[str, str | None, bool]]:
        served: list[tuple[str, str | None, bool]] = []
        for model in self._registry:
            if model.ready:
                row_wise = model.answering().card.max_rows > 1
                served.append((model.name, model.version, row_wise))
                if self._registry.is_default(model):
                    served.append((model.name, None, row_wise))
        return served

    async def _keep_alive(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            begun = time.monotonic()
            code = await self._run_once()
            if self._stopping:
                return
            self._settle(f"the Kafka door ended with code {code} before it had started")
            if time.monotonic() - begun > _CALM_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            logger.error("the Kafka door ended with code %s; started anew in %.1f s", code, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mlserver.kafka", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
            )
        self._process = process
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: _Link(self._dataplane, self._on_started), sock=ours)
        link.send_word(Configure(self._settings.model_dump_json()))
        try:
            return await process.wait()
        finally:
            self._link = None
            link.close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def _on_started(self, link: "_Link", word: Started) -> None:
        """The door's first word; only then does it listen to others than its configuration."""
        if word.refusal is None:
            self._link = link
            self.models_changed()
        self._settle(word.refusal)

    def _settle(self, refusal: str | None) -> None:
        """Let `configured` return, or raise; later starts change nothing."""
        if self._started is None or self._started.done():
            return
        if refusal is None:
            self._started.set_result(None)
        else:
            self._stopping = True
            self._started.set_exception(ConfigurationError(refusal))


class _Link(asyncio.Protocol):
    """Frames from the door, answered by the data plane."""

    def __init__(self, dataplane: DataPlane, on_started: Callable[["_Link", Started], None]) -> None:
        self._dataplane = dataplane
        self._on_started = on_started
        self._assembler = Assembler()
        self._transport: asyncio.Transport | None = None
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_CALLS)
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._assembler.feed(data):
                self._frame(Parsed(payload))
        except ProtocolError as error:
            logger.error("the Kafka door broke the protocol: %s", error)
            self.close()

    def send_word(self, word: Word) -> None:
        """One word without tensors."""
        frame = Frame()
        frame.add(word)
        self._send(frame)

    def close(self) -> None:
        """Close the socket: the door then ends."""
        if self._transport is not None:
            self._transport.close()

    def _frame(self, parsed: Parsed) -> None:
        calls = []
        for word in parsed.words:
            if isinstance(word, Call):
                calls.append((word, parsed.request(word)))
            elif isinstance(word, Started):
                self._on_started(self, word)
            else:
                raise ProtocolError(f"unexpected word {type(word).__name__}")
        answers = _Answers(len(calls), self._send)
        for call, request in calls:
            task = asyncio.create_task(self._answer(call, request, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, request: TensorRequest, answers: "_Answers") -> None:
        async with self._slots:
            # Between two predicts that block the loop, the other doors have their turn.
            await asyncio.sleep(0)
            outcomes = await self._dataplane.infer_members(request, call.members)
        answers.add(call.number, outcomes)

    def _send(self, frame: Frame) -> None:
        if self._transport is not None:
            self._transport.writelines(frame.parts())


class _Answers:
    """Gathers the outcomes of one frame's calls into as few frames back as their timing allows."""

    def __init__(self, calls: int, send: Callable[[Frame], None]) -> None:
        self._missing = calls
        self._send = send
        self._frame = Frame()
        self._begun = time.monotonic()

    def add(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Take one call's outcomes in; send when it was the last, or the first has waited long enough."""
        for outcome in outcomes:
            if outcome.response is not None:
                self._frame.result(number, outcome.members, outcome.response)
            elif outcome.error is not None:
                self._frame.failure(number, outcome.members, outcome.error)
        self._missing -= 1
        now = time.monotonic()
        if not self._missing or now - self._begun > _FLUSH_SECONDS:
            self._send(self._frame)
            self._frame = Frame()
            self._begun = now
