"""Models in processes of their own: where they run, what comes back, what becomes of a worker that ends."""

import asyncio
import os
import signal
import sys
import tarfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserver.engine.custom import CustomRequest
from mlserver.engine.runner import Runner
from mlserver.errors import (
    ConfigurationError,
    DeadlineExceeded,
    EnvironmentNotFound,
    Kind,
    MLServerError,
    ModelError,
    ModelNotReady,
    Overloaded,
    WorkerDied,
)
from mlserver.events import BatchRun, RequestsDropped, WorkerEnded
from mlserver.settings import ModelSettings
from mlserver.types.tensors import Tensor, TensorRequest
from tests.engine.kitchen import Echo
from tests.engine.tensors import assert_same_tensor
from tests.engine.workers import Heard, model, pools, request, running, values

SOON = 20.0  # seconds: tells answered from hung


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON):
        while not true():  # noqa: ASYNC110 - other processes tell nobody
            await asyncio.sleep(0.01)


async def pid_of(runner: Runner) -> int:
    return int(values(await runner.infer(request([0])))[0])


@pytest.mark.parametrize(("name", "main"), [("Where", 0), ("PlainWhere", 1)])
async def test_a_model_runs_in_a_worker_on_its_thread(name: str, main: int) -> None:
    async with running(model(name)) as runner:
        pid, on_main, _ = values(await runner.infer(request([0])))
    assert pid != os.getpid()
    assert on_main == main


async def test_without_workers_it_runs_here() -> None:
    async with running(model("Where"), parallel_workers=0) as runner:
        assert await pid_of(runner) == os.getpid()


async def test_a_model_may_opt_out_of_workers() -> None:
    async with running(model("Where", parallel_workers=0)) as runner:
        assert await pid_of(runner) == os.getpid()


async def test_what_a_model_gets_is_what_was_asked() -> None:
    inputs = [
        Tensor("a", "FP16", [2, 0], np.zeros((2, 0), "f2")),
        Tensor("b", "INT64", [], np.array(7)),
        Tensor("c", "BYTES", [2], ["text", b"\xff\x00"]),
        Tensor("d", "BOOL", [1, 2], np.array([[True, False]])),
    ]
    asked = TensorRequest("m", None, inputs, "7", {"n": 1, "text": "x", "list": [1, None]})
    async with running(model("Echo")) as runner:
        found = await runner.infer(asked)
    for one, other in zip(inputs, found.outputs, strict=True):
        assert_same_tensor(one, other)
    assert found.parameters == {"n": 1, "text": "x", "list": [1, None]}


async def test_headers_go_there_and_come_back() -> None:
    asked = request([1.0], headers=lambda: {"x-one": "1"})
    async with running(model("Greets")) as runner:
        found = await runner.infer(asked)
    assert found.headers == {"x-two": "1"}


async def test_a_worker_is_given_to_each_call_that_one_is_free_for() -> None:
    async with running(model("Sleeps"), parallel_workers=2) as runner:
        begun = time.monotonic()
        await asyncio.gather(*(runner.infer(request([0.5])) for _ in range(2)))
        assert time.monotonic() - begun < 0.95


async def test_calls_that_await_run_side_by_side() -> None:
    """The first tells that they do; a bound holds."""
    async with running(model("Awaits", max_concurrency=8)) as runner:
        await runner.infer(request([0.0]))
        begun = time.monotonic()
        await asyncio.gather(*(runner.infer(request([0.2])) for _ in range(16)))
        seconds = time.monotonic() - begun
    assert 0.4 <= seconds < 1.6


async def test_an_awaiting_model_is_found_out_while_its_first_call_runs() -> None:
    async with running(model("Awaits")) as runner:
        begun = time.monotonic()
        await asyncio.gather(*(runner.infer(request([0.4])) for _ in range(32)))
        assert time.monotonic() - begun < 1.2


async def test_a_model_that_holds_the_loop_gets_one_call_at_a_time_and_others_their_worker() -> None:
    async with running(model("Blocks"), parallel_workers=2) as runner:
        heard = await asyncio.gather(*(runner.infer(request([0.05])) for _ in range(8)))
    assert len(heard) == 8


async def test_a_plain_predict_that_sleeps_does_not_keep_an_async_model_waiting() -> None:
    async with pools() as made:
        slow, quick = await made.load(model("Sleeps")), await made.load(model("Where"))
        sleeping = asyncio.create_task(slow.infer(request([1.0])))
        await asyncio.sleep(0)
        begun = time.monotonic()
        await quick.infer(request([0]))
        assert time.monotonic() - begun < 0.9
        await sleeping
        await asyncio.gather(slow.close(), quick.close())


async def test_a_slow_model_is_capped_so_that_a_fast_one_always_has_a_worker() -> None:
    async with pools(parallel_workers=2) as made:
        slow = await made.load(model("Sleeps", max_workers=1))
        quick = await made.load(model("PlainWhere"))
        sleeping = [asyncio.create_task(slow.infer(request([0.5]))) for _ in range(4)]
        await asyncio.sleep(0)
        begun = time.monotonic()
        await quick.infer(request([0]))
        assert time.monotonic() - begun < 0.4
        for task in sleeping:
            task.cancel()
        await asyncio.gather(*sleeping, return_exceptions=True)
        await asyncio.gather(slow.close(), quick.close())


# What ends a worker.


@pytest.mark.parametrize("how", ["segfault", "_exit"])
async def test_a_worker_that_dies_answers_and_is_replaced(how: str) -> None:
    heard = Heard()
    async with running(model("Dies"), heard) as runner:
        begun = time.monotonic()
        with pytest.raises(WorkerDied):
            await runner.infer(request([how]))
        assert time.monotonic() - begun < 5
        await until(lambda: runner.ready)
        assert values(await runner.infer(request(["no"]))) == [1]
    assert [event.number for event in heard.of(WorkerEnded)] == [0]


@pytest.mark.parametrize(
    ("how", "expected"),
    [("exit", "SystemExit: 4"), ("recursion", "RecursionError"), ("memory", "MemoryError")],
)
async def test_what_can_be_caught_ends_no_worker(how: str, expected: str) -> None:
    async with running(model("Dies")) as runner:
        with pytest.raises(MLServerError, match=expected) as caught:
            await runner.infer(request([how]))
        assert caught.value.kind is Kind.MODEL
        assert values(await runner.infer(request(["no"]))) == [1]


async def test_a_status_that_a_model_asks_for_comes_through() -> None:
    async with running(model("Dies")) as runner:
        with pytest.raises(MLServerError, match="short and stout") as caught:
            await runner.infer(request(["status"]))
    assert caught.value.status_code == 418


async def test_with_no_worker_left_who_waits_and_who_comes_is_told() -> None:
    async with running(model("Sleeps")) as runner, asyncio.timeout(SOON):
        tasks = [asyncio.create_task(runner.infer(request([5.0]))) for _ in range(3)]
        await until(lambda: runner._queue.under_way)  # type: ignore[attr-defined]
        _kill(runner)
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, WorkerDied)
        assert not runner.ready
        with pytest.raises(ModelNotReady):
            await runner.infer(request([0.0]))
        await until(lambda: runner.ready)


async def test_an_idempotent_request_is_sent_again_once() -> None:
    async with running(model("Sleeps", idempotent=True), parallel_workers=2) as runner, asyncio.timeout(SOON):
        tasks = [asyncio.create_task(runner.infer(request([0.5]))) for _ in range(2)]
        await until(lambda: runner._queue.under_way == 2)  # type: ignore[attr-defined]
        _kill(runner)
        assert [values(answer) for answer in await asyncio.gather(*tasks)] == [[0.5], [0.5]]


async def test_a_poisonous_idempotent_request_takes_two_workers_and_no_more() -> None:
    heard = Heard()
    async with running(model("Dies", idempotent=True), heard, parallel_workers=2) as runner:
        with pytest.raises(WorkerDied):
            await runner.infer(request(["_exit"]))
        await until(lambda: len(heard.of(WorkerEnded)) == 2 and runner.ready)


def _kill(runner: Any) -> None:
    """Kill the first worker of a runner's pool."""
    os.kill(runner._pool._workers[0].pid, signal.SIGKILL)


async def test_a_silent_idle_worker_is_replaced() -> None:
    heard = Heard()
    async with running(model("Where"), heard, worker_heartbeat_seconds=0.3) as runner:
        pid = await pid_of(runner)
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: heard.of(WorkerEnded) and runner.ready)
        assert await pid_of(runner) != pid


async def test_a_worker_that_predicts_in_silence_is_left_alone() -> None:
    heard = Heard()
    async with running(model("Blocks"), heard, worker_heartbeat_seconds=0.2) as runner:
        assert values(await runner.infer(request([1.0]))) == [1.0]
    assert not heard.of(WorkerEnded)


@pytest.mark.parametrize(("name", "asked"), [("Sleeps", [30.0]), ("Dies", ["hold"])])
async def test_a_predict_that_takes_too_long_costs_its_worker(name: str, asked: list[Any]) -> None:
    async with running(model(name, predict_timeout_seconds=0.3)) as runner:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"predict_timeout_seconds = 0\.3"):
            await runner.infer(request(asked))
        assert time.monotonic() - begun < 3
        await until(lambda: runner.ready)


@pytest.mark.parametrize("kind", ["pickle", "length", "words"])
async def test_a_worker_that_sends_garbage_is_ended_and_replaced(kind: str) -> None:
    heard = Heard()
    async with running(model("Garbage"), heard) as runner, asyncio.timeout(SOON):
        with pytest.raises(WorkerDied):
            await runner.infer(request([kind]))
        await until(lambda: runner.ready)
    (ended,) = heard.of(WorkerEnded)
    assert ended.reason.startswith("it broke the protocol: ")


# Loading.


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("raise", Kind.MODEL, "OSError: no weights"),
        ("segfault", Kind.MODEL, "its worker ended: killed by SIGSEGV"),
    ],
)
async def test_a_model_that_does_not_load(how: str, kind: Kind, text: str) -> None:
    async with pools() as made:
        good = await made.load(model("Where"))
        with pytest.raises(MLServerError, match=text) as caught:
            await made.load(model("FailsToLoad", extra={"how": how}))
        assert caught.value.kind is kind
        await until(lambda: good.ready)
        await good.infer(request([0]))
        await good.close()


async def test_a_load_that_says_no() -> None:
    async with running(model("FailsToLoad", extra={"how": "false"})) as runner:
        assert not runner.ready


async def test_an_import_path_that_leads_nowhere() -> None:
    async with pools() as made:
        with pytest.raises(ConfigurationError, match="no attribute 'Nobody'"):
            await made.load(model("Nobody"))


async def test_a_class_that_only_this_process_has() -> None:
    class Mine(Echo):
        pass

    async with pools() as made:
        with pytest.raises(ConfigurationError, match="parallel_workers to 0"):
            await made.load(ModelSettings(name="m", implementation=Mine))


async def test_a_warm_up_request_is_answered_before_anybody_else_s() -> None:
    async with pools() as made:
        runner = await made.load(model("Where"), request([0], id="warm-up"))
        assert values(await runner.infer(request([0])))[2] == 2
        await runner.close()


async def test_a_warm_up_that_fails_is_a_load_that_fails() -> None:
    async with pools() as made:
        with pytest.raises(ModelError, match="its warm-up request failed: ValueError: bad row"):
            await made.load(model("RowSum"), request([-1.0], 1))


async def test_models_with_a_group_have_workers_of_their_own() -> None:
    async with pools() as made:
        runners = [await made.load(model("Where", parameters={"inference_pool_gid": gid})) for gid in (None, "a", "a")]
        pids = [await pid_of(runner) for runner in runners]
        assert pids[1] == pids[2] != pids[0]
        for runner in runners:
            await runner.close()
        assert _ended(pids[1])
        assert not _ended(pids[0])


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_the_end_of_the_server_is_the_end_of_its_workers() -> None:
    async with running(model("Where"), parallel_workers=2) as runner:
        pid = await pid_of(runner)
    assert _ended(pid)


async def test_a_model_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Its Python, its packages before the server's, its own workers; unpacked for it and gone with it."""
    venv.create(tmp_path / "made", symlinks=False, with_pip=False)
    site = tmp_path / f"made/lib/python3.{sys.version_info[1]}/site-packages"
    (site / "tests_of_theirs.py").write_text("WHERE = 'in the environment'\n")
    with tarfile.open(tmp_path / "env.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "made", ".")
    environments = tmp_path / "envs"
    asked = {"environment_tarball": str(tmp_path / "env.tar.gz")}
    async with pools(environments_dir=str(environments)) as made:
        runner = await made.load(model("Prefix", parameters=asked))
        plain = await made.load(model("Where"))
        found = await runner.infer(request([0]))
        (unpacked,) = [entry for entry in environments.iterdir() if entry.is_dir()]
        assert found.outputs[0].data == [str(unpacked), "in the environment"]
        assert len({await pid_of(plain), _pid(runner)}) == 2
        await runner.close()
        assert list(environments.iterdir()) == []
        await plain.close()


async def test_an_environment_without_a_python_is_told() -> None:
    async with pools() as made:
        with pytest.raises(EnvironmentNotFound, match="there is no Python in it"):
            await made.load(model("Where", parameters={"environment_path": "/nowhere"}))


async def test_equal_requests_are_predicted_once_where_both_sides_cache() -> None:
    async with pools(cache_enabled=True) as made:
        cached = await made.load(model("Where", cache_enabled=True))
        plain = await made.load(model("Where"))
        assert [values(await cached.infer(request([0], id=str(n))))[2] for n in range(3)] == [1, 1, 1]
        assert values(await cached.infer(request([1])))[2] == 2
        assert [values(await plain.infer(request([0])))[2] for n in range(3)] == [1, 2, 3]
        await asyncio.gather(cached.close(), plain.close())


def _pid(runner: Any) -> int:
    return int(runner._pool._workers[0].pid)


# Time and room.


async def test_a_deadline_that_passes_in_the_queue_is_never_predicted(tmp_path: Path) -> None:
    heard = Heard()
    async with running(model("Sleeps"), heard) as runner:
        first = asyncio.create_task(runner.infer(request([0.6])))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded, match="before it was predicted"):
            await runner.infer(request([0.0], deadline=time.monotonic() + 0.1))
        await first
    assert [event.count for event in heard.of(RequestsDropped)] == [1]
    assert len(heard.of(BatchRun)) == 1


async def test_a_deadline_that_has_passed_is_not_even_queued() -> None:
    async with running(model("Where")) as runner:
        with pytest.raises(DeadlineExceeded, match="had passed when it came"):
            await runner.infer(request([0], deadline=time.monotonic() - 1))
        assert values(await runner.infer(request([0])))[2] == 1


async def test_a_deadline_that_passes_while_it_is_predicted_stops_what_awaits(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with running(model("Awaits", extra={"trace": str(trace)})) as runner:
        await runner.infer(request([0.0]))
        with pytest.raises(DeadlineExceeded, match="while it was predicted"):
            await runner.infer(request([30.0], deadline=time.monotonic() + 0.2))
        await until(lambda: trace.read_text() == "begin\nend\nbegin\ncancelled\n")


async def test_a_caller_that_goes_stops_what_awaits(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    async with running(model("Awaits", extra={"trace": str(trace)})) as runner:
        task = asyncio.create_task(runner.infer(request([30.0])))
        await until(trace.exists)
        task.cancel()
        await until(lambda: trace.read_text() == "begin\ncancelled\n")


@pytest.mark.parametrize("workers", [0, 1])
async def test_callers_that_go_at_once_give_their_places_back(workers: int) -> None:
    """A cancellation that overtakes the first step of what it cancels."""
    async with running(model("Awaits", max_concurrency=2), parallel_workers=workers) as runner:
        await runner.infer(request([0.0]))
        for turns in range(4):
            tasks = [asyncio.create_task(runner.infer(request([30.0]))) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(SOON):
            assert values(await runner.infer(request([0.0]))) == [0.0]
            await until(lambda: runner._queue.idle)  # type: ignore[attr-defined]


async def test_above_the_bound_requests_are_refused_at_once() -> None:
    async with running(model("Sleeps"), max_queue_requests=2) as runner:
        tasks = [asyncio.create_task(runner.infer(request([0.3])))]
        await until(lambda: runner._queue.under_way)  # type: ignore[attr-defined]
        tasks += [asyncio.create_task(runner.infer(request([0.0]))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="max_queue_requests"):
            await runner.infer(request([0.0]))
        await asyncio.gather(*tasks)


async def test_bytes_that_wait_are_bounded_too() -> None:
    async with running(model("Sleeps"), max_queue_bytes=20) as runner:
        tasks = [asyncio.create_task(runner.infer(request([0.3])))]
        await until(lambda: runner._queue.under_way)  # type: ignore[attr-defined]
        tasks += [asyncio.create_task(runner.infer(request([0.0]))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="max_queue_bytes"):
            await runner.infer(request([0.0]))
        await asyncio.gather(*tasks)


# Streams.


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_stream_comes_in_order_and_ends(workers: int) -> None:
    async with running(model("Counts"), parallel_workers=workers) as runner:
        found = [values(answer)[0] async for answer in runner.stream(_requests(100))]
    assert found == list(range(100))


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_stream_of_requests_is_a_stream_of_answers(workers: int) -> None:
    async with running(model("Counts"), parallel_workers=workers) as runner:
        found = [values(answer)[0] async for answer in runner.stream(_requests(*[2] * 40))]
    assert found == [0, 1] * 40


@pytest.mark.parametrize("workers", [0, 1])
async def test_an_error_ends_a_stream(workers: int) -> None:
    async with running(model("Counts", extra={"fails_at": 2}), parallel_workers=workers) as runner:
        found: list[Any] = []
        with pytest.raises(MLServerError, match="no more numbers"):
            await _collect(runner.stream(_requests(5)), found)
    assert found == [0, 1]


@pytest.mark.parametrize("workers", [0, 1])
async def test_who_leaves_a_stream_ends_its_generator(tmp_path: Path, workers: int) -> None:
    trace = tmp_path / "trace"
    settings = model("Counts", extra={"trace": str(trace), "pause": 0.001})
    async with running(settings, parallel_workers=workers) as runner:
        stream: Any = runner.stream(_requests(1_000_000))
        async for answer in stream:
            if values(answer)[0] == 3:
                break
        await stream.aclose()
        await until(trace.exists)


async def test_a_slow_reader_holds_a_stream_back() -> None:
    """What nobody reads is not made: a bound on memory, and on work."""
    async with running(model("Counts")) as runner:
        stream: Any = runner.stream(_requests(1_000_000))
        await anext(stream)
        await asyncio.sleep(0.2)
        process = runner._pool._workers[0]  # type: ignore[attr-defined]
        _, inner = next(iter(process._streams._open.values()))
        assert inner._unread.qsize() <= 16
        await stream.aclose()


async def test_a_stream_whose_worker_dies_says_so() -> None:
    async with running(model("Counts", extra={"pause": 0.01})) as runner, asyncio.timeout(SOON):
        found: list[Any] = []
        task = asyncio.create_task(_collect(runner.stream(_requests(1_000_000)), found))
        await until(lambda: len(found) > 3)
        _kill(runner)
        with pytest.raises(WorkerDied):
            await task


async def test_a_stream_that_is_silent_for_long_is_left_alone() -> None:
    heard = Heard()
    async with running(model("BlocksStream"), heard, worker_heartbeat_seconds=0.2) as runner:
        found: list[Any] = []
        await _collect(runner.stream(_requests(1.0)), found)
    assert found == [1.0]
    assert not heard.of(WorkerEnded)


async def test_a_worker_that_a_stream_holds_for_nobody_is_replaced() -> None:
    heard = Heard()
    async with running(model("BlocksStream"), heard, worker_heartbeat_seconds=0.2) as runner, asyncio.timeout(SOON):
        task = asyncio.create_task(_collect(runner.stream(_requests(3600.0)), []))
        await asyncio.sleep(0.5)
        task.cancel()
        await until(lambda: heard.of(WorkerEnded) and runner.ready)


async def test_a_route_that_is_silent_for_long_is_left_alone_until_nobody_waits() -> None:
    heard = Heard()
    async with running(model("BlocksRoute"), heard, worker_heartbeat_seconds=0.2) as runner, asyncio.timeout(SOON):
        answer = await runner.call(CustomRequest("GET", "/hold/1", b"", [], b""))
        assert (answer.status, answer.body) == (200, b'"held"')
        assert not heard.of(WorkerEnded)
        task = asyncio.create_task(runner.call(CustomRequest("GET", "/hold/3600", b"", [], b"")))
        await asyncio.sleep(0.5)
        task.cancel()
        await until(lambda: heard.of(WorkerEnded) and runner.ready)


async def _collect(stream: Any, found: list[Any]) -> None:
    async for answer in stream:
        found += values(answer)


async def _requests(*counts: float) -> Any:
    for count in counts:
        yield request([count])
