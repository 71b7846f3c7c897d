"""A wall clock that jumps by an hour, as NTP and virtual machines make it: deadlines and heartbeats do not care."""

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.faults.canary import Canary
from tests.faults.serving import ROOT, body, folder_of, infer, workers
from tests.seed.serving import Served, environment

# In place of the C library's clock: the wall clock plus the seconds in a file that is mapped into memory.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile long *offset(void) {
    static volatile long *mapped;
    if (!mapped) {
        int file = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
        mapped = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    }
    return mapped;
}

int clock_gettime(clockid_t id, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, found);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) found->tv_sec += *offset();
    return result;
}

int gettimeofday(struct timeval *found, void *zone) {
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    found->tv_sec = now.tv_sec;
    found->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *found) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (found) *found = now.tv_sec;
    return now.tv_sec;
}
"""
HOUR = 3600


class Clock:
    """How far the server's wall clock is off, in seconds."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._mapped = mmap.mmap(opened.fileno(), 8)

    def jump(self, seconds: int) -> None:
        self._mapped[:] = struct.pack("@q", seconds)


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Clock]]:
    """A server and its clock, which the next test finds at any time."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build a clock with")
    tmp_path = tmp_path_factory.mktemp("clocked")
    (tmp_path / "clock.c").write_text(SHIM)
    library = tmp_path / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    clock = Clock(tmp_path / "offset")
    folder = folder_of(tmp_path / "models", "Sleeps", "Where", default_timeout_seconds=20, worker_heartbeat_seconds=1)
    variables = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(tmp_path / "offset"), "PYTHONPATH": str(ROOT)}
    with Served(".", cwd=folder, env=environment() | variables) as server:
        yield server, clock
        clock.jump(HOUR)
        server.stop()
        assert "deadline" not in server.log


def test_a_jump_of_an_hour_either_way(clocked: tuple[Served, Clock]) -> None:
    server, clock = clocked
    before = [worker.pid for worker in workers(server)]
    with ThreadPoolExecutor() as pool, Canary(f"{server.url}/v2/models/where/infer", body([0])) as canary:
        for offset in (HOUR, -HOUR, 0):
            canary.wait_for(len(canary.seconds) + 5)
            asked = pool.submit(infer, server, "sleeps", [1.1])  # longer than a heartbeat
            clock.jump(offset)
            assert asked.result().status_code == 200
            canary.wait_for(len(canary.seconds) + 5)
    canary.assert_healthy()
    assert [worker.pid for worker in workers(server)] == before
    assert "deadline" not in server.log


def test_the_clock_of_the_server_did_jump(clocked: tuple[Served, Clock]) -> None:
    """Or the test above would show nothing: the Date of an answer is the wall clock's."""
    server, clock = clocked
    clock.jump(400 * 24 * HOUR)
    told = parsedate_to_datetime(infer(server, "where", [0]).headers["date"])
    assert told - datetime.now(UTC) > timedelta(days=399)
