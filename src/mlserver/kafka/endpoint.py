"""The scheduler's end of a door's socket: calls come in, the data plane answers them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

from mlserver.dataplane import DataPlane
from mlserver.engine.answers import answer_parts
from mlserver.engine.frames import Assembler, Buffer, Frame, Parsed, ProtocolError
from mlserver.engine.isolate import Outcome
from mlserver.engine.words import Call, Report, Started, Word
from mlserver.errors import ModelError
from mlserver.kafka.spans import begin, end
from mlserver.types.tensors import TensorRequest

logger = logging.getLogger("mlserver.kafka")

# Answers are sent when a frame's calls are done, or this long after the first of them: one that is slow must hold up
# only the records of its own lane of order.
_FLUSH_SECONDS = 0.05
# Calls to one model that run side by side, where `predict` is async.
_MAX_CONCURRENT_CALLS = 64


class Endpoint(asyncio.Protocol):
    """Frames from the door, answered by the data plane."""

    def __init__(
        self,
        dataplane: DataPlane,
        on_started: Callable[["Endpoint", Started], None],
        on_report: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._dataplane = dataplane
        self._on_started = on_started
        self._on_report = on_report
        self._assembler = Assembler()
        self._transport: asyncio.Transport | None = None
        self._slots: dict[str, asyncio.Semaphore] = {}
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
        self._send(frame.parts())

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
            elif isinstance(word, Report):
                self._on_report(word)
            else:
                raise ProtocolError(f"unexpected word {type(word).__name__}")
        answers = _Answers(len(calls), self._send)
        for call, request in calls:
            task = asyncio.create_task(self._answer(call, request, answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, request: TensorRequest, answers: "_Answers") -> None:
        slots = self._slots.get(call.model)
        if slots is None:
            slots = self._slots[call.model] = asyncio.Semaphore(_MAX_CONCURRENT_CALLS)
        async with slots:
            # Between two predicts that block the loop, the other doors have their turn.
            await asyncio.sleep(0)
            tracer = self._dataplane.tracer
            traces = None if tracer is None or call.trace is None else begin(tracer, call.trace)
            try:
                outcomes = await self._dataplane.infer_members(request, call.members)
            except Exception as error:
                # Records without an answer would stand in the way of all behind them, for ever.
                logger.exception("unexpected failure of model %r", call.model)
                outcomes = [Outcome(len(call.members), None, ModelError.of(error))]
            if traces is not None:
                end(traces, outcomes)
        answers.add(call.number, outcomes)

    def _send(self, parts: Sequence[Buffer]) -> None:
        if self._transport is not None:
            self._transport.writelines(parts)


class _Answers:
    """Gathers the outcomes of one frame's calls into as few frames back as their timing allows."""

    def __init__(self, calls: int, send: Callable[[Sequence[Buffer]], None]) -> None:
        self._missing = calls
        self._send = send
        self._waiting: list[tuple[int, Outcome]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, outcomes: Sequence[Outcome]) -> None:
        """Take one call's outcomes in; send when it was the last, or the first has waited long enough."""
        self._waiting += [(number, outcome) for outcome in outcomes]
        self._missing -= 1
        if not self._missing:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for parts in answer_parts(waiting):
            self._send(parts)
