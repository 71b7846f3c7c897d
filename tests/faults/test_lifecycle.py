"""Models that are loaded, replaced and unloaded while they are asked: each answer is a whole one, of one model."""

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.canary import Canary
from tests.faults.sampler import sample
from tests.faults.serving import begun, body, folder_of, infer, put_gate, put_model, ready, serve, workers
from tests.seed.serving import Served
from tests.waiting import wait_until


def change(server: Served, model: str, what: str) -> requests.Response:
    return requests.post(f"{server.url}/v2/repository/models/{model}/{what}", timeout=60)


def index(server: Served) -> dict[tuple[str, str], tuple[str, str]]:
    answer = requests.post(f"{server.url}/v2/repository/index", timeout=60)
    assert answer.status_code == 200
    return {(one["name"], one.get("version", "")): (one["state"], one["reason"]) for one in answer.json()}


def constant(folder: Path, value: int) -> None:
    """A model that always answers `value`, from a file of its own."""
    if not (folder / "constant").exists():
        put_model(folder, "Constant", parameters={"uri": "./value.json"})
    new = folder / "constant" / "value.json.new"
    new.write_text(json.dumps(value))
    new.rename(folder / "constant" / "value.json")


def test_reloads_under_load_fail_nobody(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    constant(folder, 0)
    with serve(folder) as server:
        with Canary(f"{server.url}/v2/models/constant/infer", body([0]), every_seconds=0.005) as canary:
            for value in range(1, 7):
                constant(folder, value)
                assert change(server, "constant", "load").status_code == 200
                assert infer(server, "constant", [0]).json()["outputs"][0]["data"] == [value]
            canary.wait_for(50)
        canary.assert_healthy(at_least=50)
        assert ready(server)
        server.stop()


def two_more(changes: Sequence[list[int]]) -> None:
    """Wait until each has grown by that many."""
    then = [len(one) for one in changes]
    wait_until(lambda: all(len(one) >= length + 2 for one, length in zip(changes, then, strict=True)))


def test_load_unload_and_infer_from_four_threads(tmp_path: Path) -> None:
    """Every answer is that of one version whole, or says that there is none."""
    folder = folder_of(tmp_path)
    constant(folder, 1)
    stop = threading.Event()
    changes: tuple[list[int], list[int]] = ([], [])
    answers: list[requests.Response] = []
    with serve(folder) as server, ThreadPoolExecutor(4) as pool:

        def changing(statuses: list[int], *whats: str) -> None:
            for what in itertools.cycle(whats):
                if stop.is_set():
                    return
                statuses.append(change(server, "constant", what).status_code)

        def asking() -> None:
            while not stop.is_set():
                answers.append(infer(server, "constant", [0]))

        tasks = [pool.submit(changing, changes[0], "load"), pool.submit(changing, changes[1], "load", "unload")]
        tasks += [pool.submit(asking), pool.submit(asking)]
        try:
            for value in range(20):
                constant(folder, value % 2)
                # Changes that were under way may have read the file before.
                two_more(changes)
            wait_until(lambda: len(answers) >= 100)
        finally:
            stop.set()
        for task in tasks:
            task.result()
        assert {*changes[0], *changes[1]} <= {200, 404}
        assert {answer.status_code for answer in answers} <= {200, 404, 503}
        good = [answer.json()["outputs"][0]["data"] for answer in answers if answer.status_code == 200]
        assert good
        assert {tuple(data) for data in good} <= {(0,), (1,)}
        assert change(server, "constant", "load").status_code == 200
        wait_until(lambda: ready(server))
        server.stop()


def test_unload_waits_for_what_is_under_way(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    trace, opened = put_gate(folder)
    with serve(folder) as server, ThreadPoolExecutor() as pool:
        asked = pool.submit(infer, server, "gated", [0])
        wait_until(lambda: begun(trace) == 1)
        unloaded = pool.submit(change, server, "gated", "unload")
        # From now on it is not there for anybody who comes.
        wait_until(lambda: index(server)["gated", ""][0] != "READY")
        assert infer(server, "gated", [0]).status_code == 404
        assert not unloaded.done()
        opened.touch()
        assert (asked.result().status_code, unloaded.result().status_code) == (200, 200)
        assert index(server) == {("gated", ""): ("UNAVAILABLE", "")}
        assert change(server, "gated", "unload").status_code == 404


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A server with `constant`, and its folder."""
    folder = folder_of(tmp_path_factory.mktemp("lasting"), "Where")
    constant(folder, 7)
    with serve(folder) as server:
        yield server, folder


@pytest.mark.parametrize("spoilt", [b"", b"{", b"\x80\x04", b"null"])
def test_a_file_that_is_spoilt_leaves_the_old_model_serving(lasting: tuple[Served, Path], spoilt: bytes) -> None:
    server, folder = lasting
    for value in (7, 8):
        constant(folder, value)
        assert change(server, "constant", "load").status_code == 200
        assert infer(server, "constant", [0]).json()["outputs"][0]["data"] == [value]
        assert index(server)["constant", ""] == ("READY", "")
        (folder / "constant" / "value.json").write_bytes(spoilt)
        answer = change(server, "constant", "load")
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("model 'constant' failed to load: ")
        assert infer(server, "constant", [0]).json()["outputs"][0]["data"] == [value]
        assert ready(server)
        assert index(server)["constant", ""] == ("READY", answer.json()["error"])


def test_a_model_that_is_missing_at_start_is_there_after_a_load(tmp_path: Path) -> None:
    """`on_load_failure: continue`: never ready without it, ready with it."""
    folder = folder_of(tmp_path, "Where", on_load_failure="continue")
    put_model(folder, "Constant", parameters={"uri": "./value.json"})
    (folder / "constant" / "value.json").write_text("{")
    with started(folder) as server:
        assert not ready(server)
        assert infer(server, "where", [0]).status_code == 200
        assert infer(server, "constant", [0]).status_code == 404
        constant(folder, 1)
        assert change(server, "constant", "load").status_code == 200
        assert ready(server)


def started(folder: Path) -> Any:
    """A server that starts without being ready."""
    server = serve(folder)
    server.wait_for("started, not ready")
    return server


def test_versions_that_come_and_go(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for version in ("1", "2"):
        where = folder / f"v{version}"
        where.mkdir()
        settings = {"name": "echo", "implementation": "tests.engine.kitchen.Echo", "parameters": {"version": version}}
        (where / "model-settings.json").write_text(json.dumps(settings))
    with serve(folder) as server:
        assert infer(server, "echo", [1.0]).json()["model_version"] == "2"
        (folder / "v2" / "model-settings.json").unlink()
        assert change(server, "echo", "load").status_code == 200
        assert infer(server, "echo", [1.0]).json()["model_version"] == "1"
        assert index(server) == {("echo", "1"): ("READY", "")}


def test_many_loads_and_unloads_keep_no_memory(tmp_path: Path) -> None:
    """Below 1 MiB for a hundred of them, in server and worker together."""
    folder = folder_of(tmp_path, "Where")
    constant(folder, 1)
    with serve(folder) as server:

        def cycles(count: int) -> None:
            for _ in range(count):
                assert change(server, "constant", "load").status_code == 200
                assert change(server, "constant", "unload").status_code == 200

        cycles(50)  # caches of their own fill first
        before = sample(server.pid)
        cycles(150)
        after = sample(server.pid)
        assert after.rss_bytes - before.rss_bytes < 1.5 * 2**20
        assert after.descriptors <= before.descriptors
        assert len(workers(server)) == 1


def test_a_stop_while_a_model_loads(tmp_path: Path) -> None:
    """A load that takes for ever does not keep the server."""
    folder = folder_of(tmp_path, "Where")
    put_model(folder, "FailsToLoad", parameters={"extra": {"how": "hang", "trace": str(tmp_path / "trace")}})
    server = serve(folder)
    try:
        wait_until((tmp_path / "trace").exists)
        asked = time.monotonic()
        server.stop()
        assert time.monotonic() - asked < 15
    finally:
        server.__exit__()
