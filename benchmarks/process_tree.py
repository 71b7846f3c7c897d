"""CPU and memory of a server's whole process tree, read from /proc (Linux)."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")  # /proc counts CPU in these: 10 ms as a rule
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Process:
    """One line of /proc/PID/stat; fields as in proc(5)."""

    pid: int
    state: str
    parent: int
    session: int
    cpu_ticks: int
    rss_pages: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tree has used so far (CPU seconds, user + system) and holds now (resident bytes, shared pages counted
    once per process)."""

    cpu_seconds: float
    rss_bytes: int


def _read(pid: int) -> _Process | None:
    """CPU includes the children already waited for, so that none is lost when a worker dies and is reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    cpu_ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
    return _Process(pid, fields[0], int(fields[1]), int(fields[3]), cpu_ticks, int(fields[21]))


def _members(root: int) -> list[_Process]:
    """The root's session (servers are started in one of their own) and every descendant of any of these."""
    found = [process for name in os.listdir("/proc") if name.isdigit() and (process := _read(int(name)))]
    inside = {process.pid for process in found if process.session == root or process.pid == root}
    size = 0
    while size != len(inside):
        size = len(inside)
        inside |= {process.pid for process in found if process.parent in inside}
    return [process for process in found if process.pid in inside]


def usage(root: int) -> Usage:
    """Usage of the tree at this moment; about 2 ms for a hundred processes."""
    members = _members(root)
    ticks = sum(process.cpu_ticks for process in members)
    pages = sum(process.rss_pages for process in members)
    return Usage(ticks / _TICKS_PER_SECOND, pages * _PAGE_BYTES)


def stop(root: int, timeout_seconds: float = 5.0) -> None:
    """SIGSTOP every process of the tree and return when all of them stand still."""
    deadline = time.monotonic() + timeout_seconds
    while moving := [process.pid for process in _members(root) if process.state not in "TZ"]:
        for pid in moving:
            _send(pid, signal.SIGSTOP)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {moving} do not stop")
        time.sleep(0.005)


def resume(root: int) -> None:
    """SIGCONT every process of the tree."""
    for process in _members(root):
        _send(process.pid, signal.SIGCONT)


def kill(root: int) -> None:
    """SIGKILL whatever is left of the tree."""
    for process in _members(root):
        _send(process.pid, signal.SIGKILL)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
