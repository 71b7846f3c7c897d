"""Threads of a worker: from trees that look like /proc and /sys, and in a process that numpy counts its threads in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlserver.engine.threads import available_cpus, cgroup_quotas, thread_environment, thread_share, worker_threads

ALL = {
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
}
# The threads of a process that has multiplied matrices.
COUNT = """
import os, numpy
numpy.ones((600, 600)) @ numpy.ones((600, 600))
print(len(os.listdir("/proc/self/task")))
"""
V1 = "12:pids:/a\n4:cpu,cpuacct:/kubepods/pod1\n3:cpuset:/elsewhere\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "quotas"),
    [
        pytest.param({}, [], id="no cgroups"),
        pytest.param({"proc/self/cgroup": "0::/\n"}, [], id="the root cgroup has no cpu.max"),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5], id="v2 in a container"
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, [], id="v2 without a quota"
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/app.slice/a.service\n",
                "sys/fs/cgroup/app.slice/a.service/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/app.slice/cpu.max": "100000 50000\n",
                "sys/fs/cgroup/other.slice/cpu.max": "1000 100000\n",
            },
            [4, 2],
            id="v2 nested, not its neighbours",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/../../docker/abc\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"},
            [3],
            id="v2 with the host's path in a container",
        ),
        pytest.param(
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/kubepods/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/kubepods/cpu.cfs_period_us": "100000\n",
            },
            [2.5],
            id="v1, and no quota above",
        ),
        pytest.param(
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            [0.5],
            id="v1 mounted under both names",
        ),
        pytest.param(
            {
                "proc/self/cgroup": V1 + "0::/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/unified/x/cpu.max": "200000 100000",
            },
            [1, 2],
            id="both at once",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\nnonsense\n", "sys/fs/cgroup/cpu.max": "many 0\n"}, [], id="not as documented"
        ),
        pytest.param({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100 0\n"}, [], id="a period of nothing"),
    ],
)
def test_quotas(files: dict[str, str], quotas: list[float], tmp_path: Path) -> None:
    assert list(cgroup_quotas(tree(tmp_path, files))) == quotas


def test_the_smallest_of_all_counts(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000"}
    assert available_cpus(tree(tmp_path, files)) == 0.5
    assert available_cpus(tree(tmp_path, {"sys/fs/cgroup/a/cpu.max": "99900000 100000"})) == len(
        os.sched_getaffinity(0)
    )


@pytest.mark.parametrize(
    ("cpus", "workers", "threads"),
    [(4, 4, 1), (4, 1, 4), (4, 3, 1), (8, 3, 2), (0.5, 1, 1), (2, 64, 1), (3.9, 1, 3), (6, 2, 3), (4, 0, 4)],
)
def test_share(cpus: float, workers: int, threads: int) -> None:
    assert thread_share(cpus, workers) == threads


def test_the_setting_wins(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000"}
    assert worker_threads(2, 7, root=tree(tmp_path, files)) == 7
    assert worker_threads(2, root=tmp_path) == 1


def test_every_library_is_told() -> None:
    assert thread_environment(3, {"PATH": "/bin"}) == dict.fromkeys(ALL, "3")


def test_what_the_user_set_stays() -> None:
    assert "MKL_NUM_THREADS" not in thread_environment(1, {"MKL_NUM_THREADS": "8"})
    # The others would follow it.
    assert thread_environment(1, {"OMP_NUM_THREADS": "8"}) == {"VECLIB_MAXIMUM_THREADS": "1"}
    assert thread_environment(1, {"OMP_NUM_THREADS": ""}) == dict.fromkeys(ALL, "1")


def test_a_real_process_runs_as_many_threads() -> None:
    bare = {name: value for name, value in os.environ.items() if name not in ALL}
    # OpenBLAS starts no more threads than there are CPUs.
    for threads in {1, min(2, len(os.sched_getaffinity(0)))}:
        environ = {**bare, **thread_environment(threads, bare)}
        found = subprocess.run([sys.executable, "-c", COUNT], env=environ, capture_output=True, text=True, check=True)
        assert int(found.stdout) == threads
