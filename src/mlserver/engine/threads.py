"""How many BLAS and OpenMP threads a worker gets.

Numeric libraries count the machine's cores, and a container seldom owns them all: four workers on 64 cores with a
quota of four CPUs would run 256 threads on those four. So each worker is told its share of the quota, before it
imports anything.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

# Read by a library when it is loaded. All but the last look at OMP_NUM_THREADS where their own is missing.
_OPENMP = "OMP_NUM_THREADS"
_FOLLOW_OPENMP = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_ALONE = ("VECLIB_MAXIMUM_THREADS",)


def worker_threads(workers: int, setting: int | None = None, *, root: Path = Path("/")) -> int:
    """Threads for each of `workers` processes: `setting`, or their share of the CPUs there are, at least 1.

    `root` is where `/proc` and `/sys` are looked for.
    """
    return setting or thread_share(available_cpus(root), workers)


def thread_share(cpus: float, workers: int) -> int:
    """Whole CPUs for each of `workers`: a thread above the quota makes all of them wait out the throttling."""
    return max(1, int(cpus / max(1, workers)))


def thread_environment(count: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to add to `environ` so that a process begun with it runs `count` threads.

    What the user has set stays, and OMP_NUM_THREADS also for the libraries that would follow it.
    """
    names = _ALONE if environ.get(_OPENMP) else (_OPENMP, *_FOLLOW_OPENMP, *_ALONE)
    return {name: str(count) for name in names if not environ.get(name)}


def available_cpus(root: Path = Path("/")) -> float:
    """CPUs that this process may use: those it may be scheduled on, or its cgroup's quota where that is less."""
    return min([float(_schedulable()), *cgroup_quotas(root)])


def cgroup_quotas(root: Path = Path("/")) -> Iterator[float]:
    """The CPU quotas, in CPUs, of the process's cgroup and of those that it is in; none where there is no quota."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mounts, quota_of = ["sys/fs/cgroup", "sys/fs/cgroup/unified"], _quota_v2
        elif "cpu" in controllers.split(","):
            mounts, quota_of = ["sys/fs/cgroup/cpu", f"sys/fs/cgroup/{controllers}"], _quota_v1
        else:
            continue
        folders = (folder for mount in mounts for folder in _upwards(root / mount, path))
        yield from (quota for quota in map(quota_of, folders) if quota is not None)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The folders of the cgroup `path` and of every one above it, up to the mount.

    In a container the path may be the host's, and the mount the container's own cgroup: folders that do not exist
    have no quota, and the mount comes last.
    """
    inside = PurePosixPath(*(part for part in path.split("/") if part not in ("", ".", "..")))
    yield from (mount / folder for folder in (inside, *inside.parents))


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max`: "QUOTA PERIOD" in microseconds, "max PERIOD" without a quota."""
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return _cpus(quota, period or "100000")


def _quota_v1(folder: Path) -> float | None:
    """`cpu.cfs_quota_us` and `cpu.cfs_period_us`; -1 is no quota."""
    return _cpus(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))


def _cpus(quota: str, period: str) -> float | None:
    try:
        cpus = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cpus if cpus > 0 else None


def _text(file: Path) -> str:
    """What is in `file`; empty where it cannot be read."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _schedulable() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
