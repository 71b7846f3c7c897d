"""The Kafka door seen from the server: its process is started, answered, seen to die, and drained."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
import uuid

from mlserver.dataplane import DataPlane
from mlserver.engine.words import Configure, Drain, Models, ModelTopics, Report, Started
from mlserver.errors import ConfigurationError
from mlserver.events import KafkaFigures, Tell, nobody
from mlserver.kafka import failpoints
from mlserver.kafka.endpoint import Endpoint
from mlserver.registry import Registry
from mlserver.settings import Settings

logger = logging.getLogger("mlserver.kafka")

# A process that dies is started anew at once, then after a pause that doubles, and is short again after a calm minute.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS, _CALM_SECONDS = 0.1, 10.0, 60.0
# Ended by a signal before it ever was at work, so often in a row: it is not going to be.
_MAX_EARLY_ENDS = 3
# What is kept of the grace for the process to end in.
_EXIT_SECONDS = 1.0


class KafkaProcess:
    """Keeps one door process alive for as long as the server runs."""

    def __init__(self, settings: Settings, dataplane: DataPlane, registry: Registry, tell: Tell = nobody) -> None:
        self._tell = tell
        self._last = Report([], 0, 0, 0)
        self._settings = settings
        self._dataplane = dataplane
        self._registry = registry
        self._dataplane.doors_ready = not settings.kafka_counts_for_ready
        # What transactions are named by, where their consumer has no name: the next life of the door ends the open one.
        self._identity = uuid.uuid4().hex
        self._fail_points = os.environ.get(failpoints.VARIABLE, "")
        self._task: asyncio.Task[None] | None = None
        self._link: Endpoint | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._started: asyncio.Future[str | None] | None = None
        self._reading = False

    def start(self) -> None:
        """Begin to keep the process alive."""
        self._started = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep_alive())

    async def configured(self) -> None:
        """Wait until the process is at work, and let it read: every model has had its turn to load by now.

        Raises ConfigurationError with librdkafka's words where it refuses its configuration.
        """
        refusal = await self._started if self._started is not None else None
        if refusal is not None:
            raise ConfigurationError(refusal)
        self._reading = True
        self.models_changed()

    def models_changed(self) -> None:
        """Tell the door what is served: it reads when there is something, and stacks what is row-wise.

        Not before all are loaded: a record for a model whose turn is still to come would be one for an unknown model.
        """
        if self._link is not None and self._reading:
            self._link.send_word(Models(self._served(), self._topics()))

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

    def _served(self) -> list[tuple[str, str | None, int]]:
        served: list[tuple[str, str | None, int]] = []
        for model in self._registry:
            if model.ready:
                max_rows = model.answering().card.max_rows
                served.append((model.name, model.version, max_rows))
                if self._registry.is_default(model):
                    served.append((model.name, None, max_rows))
        return served

    def _topics(self) -> list[ModelTopics]:
        """Of models that are known, whether or not they are ready: their records can wait for them."""
        found = []
        for model in self._registry:
            own = model.settings
            if own.kafka_input_topics or own.kafka_output_topic:
                versions = [model.version, None] if self._registry.is_default(model) else [model.version]
                inputs, group = own.kafka_input_topics, own.kafka_group_id
                found += [ModelTopics(model.name, each, inputs, own.kafka_output_topic, group) for each in versions]
        return found

    async def _keep_alive(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        early = 0
        while True:
            begun = time.monotonic()
            code = await self._run_once()
            if self._stopping:
                return
            early += 1
            if code > 0 or early >= _MAX_EARLY_ENDS:
                self._settle(f"the Kafka door ended with code {code} before it had started")
            if time.monotonic() - begun > _CALM_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            logger.error("the Kafka door ended with code %s; started anew in %.1f s", code, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self) -> int:
        """The exit code of a process that ran, or could not be started."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, theirs:
            undo.callback(ours.close)
            # -P: a file `queue.py` in the working directory must not stand in for Python's own.
            command = (sys.executable, "-P", "-m", "mlserver.kafka", str(theirs.fileno()), self._identity)
            environment = {**os.environ, failpoints.VARIABLE: self._fail_points}
            self._fail_points = failpoints.next_life(self._fail_points)
            try:
                process = await asyncio.create_subprocess_exec(*command, pass_fds=(theirs.fileno(),), env=environment)
            except OSError as error:
                logger.error("the Kafka door could not be started: %s", error)
                return -1
            undo.pop_all()
        self._process = process
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(
            lambda: Endpoint(self._dataplane, self._on_started, self._reported), sock=ours
        )
        link.send_word(Configure(self._settings.model_dump_json()))
        try:
            return await process.wait()
        finally:
            self._link = None
            self._report(alive=False)
            link.close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def _on_started(self, link: Endpoint, word: Started) -> None:
        """The door's first word; only then does it listen to others than its configuration."""
        if word.refusal is None:
            self._link = link
            self.models_changed()
        self._settle(word.refusal)

    def _reported(self, word: Report) -> None:
        self._last = word
        self._report(alive=True)

    def _report(self, *, alive: bool) -> None:
        """What the door counted, to whoever listens; and to readiness, where that is asked for."""
        last = self._last
        counts = {"batches": last.batches, "batch_records": last.batch_records, "retried": last.retried}
        self._tell(KafkaFigures(last.groups, **counts, alive=alive))
        if self._settings.kafka_counts_for_ready:
            self._dataplane.doors_ready = alive and not any(group["away"] or group["held"] for group in last.groups)

    def _settle(self, refusal: str | None) -> None:
        """Let `configured` return, or raise; later starts change nothing."""
        if self._started is None or self._started.done():
            return
        self._started.set_result(refusal)
        if refusal is not None:
            self._stopping = True
