"""gRPC and processes that are started beside it. Imports no gRPC: what is said here is said before that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"


@contextmanager
def without_fork_handlers() -> Iterator[None]:
    """Import gRPC within, and it stays without its handlers of forks, unless the environment asks for them.

    They stop its threads each time a worker is started, or say on standard error that they could not; and a worker
    executes a program of its own at once and shares nothing with them. gRPC reads the variable when it is imported; the
    workers, whose models may well fork, do not get it.
    """
    ours = _FORK_SUPPORT not in os.environ
    os.environ.setdefault(_FORK_SUPPORT, "0")
    try:
        yield
    finally:
        if ours:
            del os.environ[_FORK_SUPPORT]
