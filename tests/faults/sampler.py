"""What a process and its children take, now and at most."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class Sample:
    """Sums over a process tree: resident bytes (shared pages count once per process), descriptors, threads."""

    rss_bytes: int
    descriptors: int
    threads: int
    processes: int


def sample(pid: int) -> Sample:
    """The tree below, and with, the process `pid`; zeros where it has ended."""
    found = [*_tree(pid)]
    return Sample(*map(sum, zip(*found, strict=True))) if found else Sample(0, 0, 0, 0)


def _tree(pid: int) -> Iterator[tuple[int, int, int, int]]:
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            with process.oneshot():
                yield process.memory_info().rss, process.num_fds(), process.num_threads(), 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


class Sampler:
    """Samples a process tree in a thread. `peak` holds the highest of each sum, also where they came at other times."""

    def __init__(self, pid: int, *, every_seconds: float = 0.1) -> None:
        self.first = sample(pid)
        self.peak = self.first
        self._pid = pid
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            self._look()

    def _look(self) -> None:
        now, peak = sample(self._pid), self.peak
        self.peak = Sample(
            max(peak.rss_bytes, now.rss_bytes),
            max(peak.descriptors, now.descriptors),
            max(peak.threads, now.threads),
            max(peak.processes, now.processes),
        )
