"""What becomes of callers when the process that predicts for them is killed, stopped, hung or mad."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.canary import Canary
from tests.faults.serving import begun, body, folder_of, infer, put_gate, put_model, ready, serve, workers
from tests.seed.serving import PATIENCE_SECONDS, Served
from tests.waiting import wait_until


def test_kill_a_worker_with_a_hundred_requests_in_flight(tmp_path: Path) -> None:
    """Its own get 503 within a second, the others' theirs; the canary notices nothing; it is replaced."""
    folder = folder_of(tmp_path, parallel_workers=2)
    trace, opened = put_gate(folder)
    put_model(folder, "Where", idempotent=True)
    with serve(folder) as server, ThreadPoolExecutor(100) as pool:
        before = workers(server)
        with Canary(f"{server.url}/v2/models/where/infer", body([0])) as canary:
            asked = [pool.submit(infer, server, "gated", [0]) for _ in range(100)]
            wait_until(lambda: begun(trace) == 100)
            killed = time.monotonic()
            before[0].kill()
            # Those of the other one wait for the gate.
            wait_until(lambda: any(future.done() for future in asked))
            wait_until(lambda: len(workers(server)) == 2 and ready(server))
            opened.touch()
            refused = [future.result() for future in asked if future.result().status_code != 200]
            canary.wait_for(len(canary.seconds) + 5)
        canary.assert_healthy(at_least=10)
        assert {answer.status_code for answer in refused} == {503}
        assert 0 < len(refused) < 100
        for answer in refused:
            assert answer.json()["error"] == "the worker of model 'gated' ended before it answered"
        assert time.monotonic() - killed < PATIENCE_SECONDS
        assert before[0].pid not in [worker.pid for worker in workers(server)]
        server.stop()


def test_the_answers_of_a_killed_worker_do_not_wait(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    trace, _ = put_gate(folder)
    with serve(folder) as server, ThreadPoolExecutor() as pool:
        asked = pool.submit(infer, server, "gated", [0])
        wait_until(lambda: begun(trace) == 1)
        workers(server)[0].kill()
        killed = time.monotonic()
        assert asked.result().status_code == 503
        assert time.monotonic() - killed < 5


def test_kills_in_a_row(tmp_path: Path) -> None:
    """Not ready while none lives, more patient each time, back in the end; no zombie, nothing in /dev/shm."""
    shared = set(os.listdir("/dev/shm"))
    with serve(folder_of(tmp_path, "Where")) as server:
        for _ in range(3):
            wait_until(lambda: ready(server))
            workers(server)[0].kill()
            wait_until(lambda: not ready(server))
            assert infer(server, "where", [0]).status_code == 503
        wait_until(lambda: ready(server))
        assert infer(server, "where", [0]).status_code == 200
        pauses = [float(line.rpartition("started anew in ")[2][:-2]) for line in server.lines if "started anew" in line]
        assert pauses == [0.1, 0.2, 0.4]
        children = psutil.Process(server.pid).children(recursive=True)
        assert not [child for child in children if child.status() == psutil.STATUS_ZOMBIE]
        assert set(os.listdir("/dev/shm")) <= shared
        server.stop()


def test_a_stopped_worker_costs_a_deadline_and_is_replaced(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "Where", default_timeout_seconds=0.5, worker_heartbeat_seconds=2)
    with serve(folder) as server:
        (worker,) = workers(server)
        worker.suspend()
        asked = time.monotonic()
        answer = infer(server, "where", [0])
        assert (answer.status_code, "deadline" in answer.json()["error"]) == (504, True)
        assert time.monotonic() - asked < 5
        # Its successor is started when the server knows of its end, and only then is a server that is ready a new one.
        wait_until(lambda: [one.pid for one in workers(server)] not in ([], [worker.pid]) and ready(server))
        assert infer(server, "where", [0]).status_code == 200


@pytest.mark.parametrize(
    ("how", "status"), [("segfault", 503), ("_exit", 503), ("exit", 500), ("recursion", 500), ("memory", 500)]
)
def test_a_model_that_ends_badly(dying: Any, how: str, status: int) -> None:
    wait_until(lambda: ready(dying))
    answer = infer(dying, "dies", [how])
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    assert answer.json().keys() == {"error"}
    wait_until(lambda: ready(dying))
    assert infer(dying, "dies", ["no"]).status_code == 200


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serve(folder_of(tmp_path_factory.mktemp("dying"), "Dies")) as server:
        yield server


@pytest.mark.parametrize(("name", "asked"), [("Sleeps", [60.0]), ("Dies", ["hold"])])
def test_a_model_that_hangs(tmp_path: Path, name: str, asked: list[Any]) -> None:
    """In a sleep, or in C with the interpreter locked: 504 in time, and nobody else notices."""
    folder = folder_of(tmp_path, "Where", parallel_workers=2)
    put_model(folder, name, predict_timeout_seconds=0.5)
    with serve(folder) as server:
        with Canary(f"{server.url}/v2/models/where/infer", body([0])) as canary:
            canary.wait_for(5)
            sent = time.monotonic()
            answer = infer(server, name.lower(), asked)
            seconds = time.monotonic() - sent
            canary.wait_for(len(canary.seconds) + 5)
        assert answer.status_code == 504
        assert "predict_timeout_seconds = 0.5" in answer.json()["error"]
        assert 0.5 <= seconds < 5
        assert canary.statuses[200] >= len(canary.seconds) - 1  # one may have been with the worker that had to end
        wait_until(lambda: len(workers(server)) == 2 and ready(server))


def test_kill_the_server(tmp_path: Path) -> None:
    """Its workers do not outlive it, not even those that predict, and its port is free at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    folder = folder_of(tmp_path, "Sleeps", "Dies", "Where", http_port=port, parallel_workers=2)
    with serve(folder) as server, ThreadPoolExecutor() as pool:
        hung = [pool.submit(infer, server, "sleeps", [60.0]), pool.submit(infer, server, "dies", ["hold"])]
        wait_until(lambda: all(future.running() for future in hung))
        infer(server, "where", [0])
        orphans = workers(server)
        assert len(orphans) == 2
        os.kill(server.pid, signal.SIGKILL)
        with serve(folder) as again:
            assert infer(again, "where", [0]).status_code == 200
        _, alive = psutil.wait_procs(orphans, timeout=10)
        assert alive == []
        assert all(future.exception() for future in hung)


@pytest.mark.parametrize("kind", ["pickle", "length", "words"])
def test_a_worker_that_writes_what_it_likes(garbling: Any, kind: str) -> None:
    wait_until(lambda: ready(garbling))
    answer = infer(garbling, "garbage", [kind])
    assert answer.status_code == 503
    garbling.wait_for("it broke the protocol")


@pytest.fixture(scope="module")
def garbling(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serve(folder_of(tmp_path_factory.mktemp("garbling"), "Garbage")) as server:
        yield server


@pytest.fixture(scope="module")
def sleepy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker, and a short queue."""
    with serve(folder_of(tmp_path_factory.mktemp("sleepy"), "Sleeps", max_queue_requests=4)) as server:
        yield server


def test_health_answers_while_a_model_sleeps(sleepy: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(infer, sleepy, "sleeps", [0.2]) for _ in range(4)]
        with Canary(f"{sleepy.url}/v2/health/live", every_seconds=0.01) as canary:
            canary.wait_for(50)
        canary.assert_healthy(p99_seconds=0.5)
        assert {future.result().status_code for future in asked} == {200}


def test_a_fast_model_beside_a_slow_one_that_is_capped(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "Where", parallel_workers=2)
    put_model(folder, "Sleeps", max_workers=1)
    with serve(folder) as server, ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(infer, server, "sleeps", [0.5]) for _ in range(3)]
        with Canary(f"{server.url}/v2/models/where/infer", body([0]), every_seconds=0.01) as canary:
            canary.wait_for(100)
        canary.assert_healthy(p99_seconds=0.3)
        assert {future.result().status_code for future in slow} == {200}


def test_overload_is_refused_at_once_and_the_rest_is_served(sleepy: Served) -> None:
    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(lambda _: infer(sleepy, "sleeps", [0.2]).status_code, range(40)))
    assert {*statuses} == {200, 429}
    assert statuses.count(200) >= 5
    assert ready(sleepy)
    assert infer(sleepy, "sleeps", [0.0]).status_code == 200
