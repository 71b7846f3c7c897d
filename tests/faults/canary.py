"""A good request every so often while something bad goes on: whoever does nothing wrong must not notice."""

import json
import threading
import time
from collections import Counter
from typing import Any, Self

import requests


class Canary:
    """Asks `url` in a thread, one request at a time, and collects what becomes of each.

    Without a `body` it is a GET, else a POST of JSON. `statuses` counts HTTP statuses, and the names of exceptions
    where there was no answer; `seconds` are the times of all requests, in order.
    """

    def __init__(self, url: str, body: Any = None, *, every_seconds: float = 0.05, timeout_seconds: float = 30) -> None:
        self.statuses: Counter[int | str] = Counter()
        self.seconds: list[float] = []
        self._url = url
        self._body = None if body is None else json.dumps(body)
        self._every_seconds = every_seconds
        self._timeout_seconds = timeout_seconds
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
        """Every request got its 200, 99 of 100 within `p99_seconds`, and there were `at_least` so many."""
        assert len(self.seconds) >= at_least, self
        assert set(self.statuses) == {200}, self
        if p99_seconds is not None:
            assert self.percentile(0.99) <= p99_seconds, self

    def percentile(self, share: float) -> float:
        """The time, in seconds, within which this share of the requests was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def __repr__(self) -> str:
        times = f", p99 {self.percentile(0.99):.3f} s, max {max(self.seconds):.3f} s" if self.seconds else ""
        return f"Canary({self._url}: {dict(self.statuses)}{times})"

    def _run(self) -> None:
        with requests.Session() as session:
            due = time.monotonic()
            while not self._stop.wait(max(0, due - time.monotonic())):
                due = max(due + self._every_seconds, time.monotonic())
                begun = time.monotonic()
                status = self._ask(session)
                with self._asked:
                    self.statuses[status] += 1
                    self.seconds.append(time.monotonic() - begun)
                    self._asked.notify_all()

    def _ask(self, session: requests.Session) -> int | str:
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
