"""A good request every so often while something bad goes on: whoever does nothing wrong must not notice."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

import grpc
import requests

from mlserver.grpc.dataplane_pb2 import ModelInferRequest
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

Status = int | str
Ask = Callable[[], Status]


class _Asking:
    """Asks in a thread, one request at a time, and collects what becomes of each.

    `connect` opens a connection that stays; it yields what asks once and tells the status, `good` where all is well.
    `seconds` are the times of all requests, in order.
    """

    def __init__(self, where: str, good: Status, connect: Callable[[], AbstractContextManager[Ask]]) -> None:
        self.statuses: Counter[Status] = Counter()
        self.seconds: list[float] = []
        self.every_seconds = 0.05
        self._where = where
        self._good = good
        self._connect = connect
        self._asked = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, count: int, timeout_seconds: float = 60) -> None:
        """Go on when there have been so many requests in all. Fails where they do not come."""
        with self._asked:
            assert self._asked.wait_for(lambda: len(self.seconds) >= count, timeout_seconds), self

    def assert_healthy(self, *, p99_seconds: float | None = None, at_least: int = 1) -> None:
        """Every request was answered well, 99 of 100 within `p99_seconds`, and there were `at_least` so many."""
        assert len(self.seconds) >= at_least, self
        assert set(self.statuses) == {self._good}, self
        if p99_seconds is not None:
            assert self.percentile(0.99) <= p99_seconds, self

    def percentile(self, share: float) -> float:
        """The time, in seconds, within which this share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def __repr__(self) -> str:
        times = f", p99 {self.percentile(0.99):.3f} s, max {max(self.seconds):.3f} s" if self.seconds else ""
        return f"{type(self).__name__}({self._where}: {dict(self.statuses)}{times})"

    def _run(self) -> None:
        with self._connect() as ask:
            due = time.monotonic()
            while not self._stop.wait(max(0, due - time.monotonic())):
                due = max(due + self.every_seconds, time.monotonic())
                begun = time.monotonic()
                status = ask()
                with self._asked:
                    self.statuses[status] += 1
                    self.seconds.append(time.monotonic() - begun)
                    self._asked.notify_all()


class Canary(_Asking):
    """Over HTTP: without a `body` a GET, else a POST of JSON.

    `statuses` counts HTTP statuses, and the names of exceptions where there was no answer.
    """

    def __init__(self, url: str, body: Any = None, *, every_seconds: float = 0.05, timeout_seconds: float = 30) -> None:
        super().__init__(url, 200, self._open)
        self.every_seconds = every_seconds
        self._url = url
        self._body = None if body is None else json.dumps(body)
        self._timeout_seconds = timeout_seconds

    @contextlib.contextmanager
    def _open(self) -> Iterator[Ask]:
        with requests.Session() as session:
            yield lambda: self._ask(session)

    def _ask(self, session: requests.Session) -> Status:
        method = "GET" if self._body is None else "POST"
        try:
            answer = session.request(
                method,
                self._url,
                data=self._body,
                headers={"Content-Type": "application/json"},
                timeout=self._timeout_seconds,
            )
        except requests.RequestException as error:
            return type(error).__name__
        return answer.status_code


class GrpcCanary(_Asking):
    """ModelInfer over gRPC, to `host:port`. `statuses` counts the names of gRPC's codes.

    On a connection of its own: by default all channels of a process to one target share one, with its limits.
    """

    def __init__(
        self, target: str, request: ModelInferRequest, *, every_seconds: float = 0.05, timeout_seconds: float = 30
    ) -> None:
        super().__init__(target, "OK", self._open)
        self.every_seconds = every_seconds
        self._target = target
        self._request = request
        self._timeout_seconds = timeout_seconds

    @contextlib.contextmanager
    def _open(self) -> Iterator[Ask]:
        with grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub: Any = GRPCInferenceServiceStub(channel)
            yield lambda: self._ask(stub)

    def _ask(self, stub: Any) -> Status:
        try:
            stub.ModelInfer(self._request, timeout=self._timeout_seconds)
        except grpc.RpcError as error:
            call: Any = error
            return str(call.code().name)
        return "OK"
