"""A worker's process: ``python -P -m mlserver.engine.worker FD PARENT``; the server holds the other end of FD.

Two threads. The main thread runs plain `predict`s, one at a time. The other runs the event loop: it reads the socket,
answers heartbeats, and runs everything that is `async` - a model that blocks there is silent meanwhile, and only that.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable

from mlserver.engine.frames import ProtocolError
from mlserver.engine.pipe import Pipe
from mlserver.engine.words import (
    Host,
)
from mlserver.engine.worker_loop import END_SECONDS, WorkerLoop
from mlserver.errors import ConfigurationError
from mlserver.logging import configure_logging
from mlserver.settings import Settings
from mlserver.tracing import Tracer, tracer_of

logger = logging.getLogger("mlserver")

_PR_SET_PDEATHSIG = 1


def _die_with_parent(parent: int) -> None:
    """A server killed by SIGKILL cannot tell its workers, and one that predicts does not see the socket close."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _configured(pipe: Pipe) -> Settings:
    """Take the server's first word in."""
    while not (frames := pipe.receive(wait=True)):
        pass
    word = frames[0].words[0]
    if not isinstance(word, Host):
        raise ProtocolError(f"expected the word Host first, got {type(word).__name__}")
    pipe.put_back(frames[1:])
    sys.path[:] = dict.fromkeys([*word.paths, *sys.path])
    return Settings.model_validate_json(word.settings)


def main(fd: int, parent: int) -> None:
    """Run models for the server at the other end of the inherited socket `fd`; `parent` is its process id."""
    for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        # From a terminal they reach the whole group, from a supervisor perhaps too; the server drains its workers.
        signal.signal(sig, signal.SIG_IGN)
    _die_with_parent(parent)
    pipe = Pipe(socket.socket(fileno=fd))
    try:
        settings = _configured(pipe)
    except (EOFError, OSError):
        return
    configure_logging(settings)
    tracer = _tracer_of(settings)
    plain: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_run_loop, args=(pipe, plain, tracer), name="loop", daemon=True)
    thread.start()
    while (work := plain.get()) is not None:
        work()
        del work
    thread.join(END_SECONDS)
    pipe.close()
    logging.shutdown()


def _tracer_of(settings: Settings) -> Tracer | None:
    """Spans are no reason not to work: a model's own environment may lack the packages."""
    try:
        return tracer_of(settings)
    except ConfigurationError as error:
        logger.warning("no spans from this worker: %s", error)
        return None


def _run_loop(pipe: Pipe, plain: "queue.SimpleQueue[Callable[[], None] | None]", tracer: Tracer | None = None) -> None:
    async def run() -> None:
        await WorkerLoop(pipe, plain, tracer).run()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    except BaseException:
        logger.exception("the worker failed")
        logging.shutdown()
        os._exit(1)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
