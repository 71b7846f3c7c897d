"""How Java runs a broker that lives for seconds: what takes long at its start is done once, and kept with the jars.

From the classes that the first one has loaded by its end Java writes an archive, which the next ones map into memory.
"""

import contextlib
import hashlib
import os
import shutil
import signal
from pathlib import Path

# What the second compiler would win later, it costs at the start.
_ONE_COMPILER = "-XX:TieredStopAtLevel=1"
# An archive that cannot be used is no error, and nobody's concern; nor is a Java that has no archives.
_QUIET = ["-Xlog:disable", "-Xlog:all=error", "-XX:+IgnoreUnrecognizedVMOptions"]
_ENDED_BY_SIGTERM = 128 + signal.SIGTERM


class Classes:
    """The archive that goes with these jars and this Java; `new` is where it is written, and kept from."""

    def __init__(self, java: str, jars: Path, new: Path) -> None:
        self._kept = jars / f"classes-{_mark(java)}.jsa"
        self._new = new

    def reading(self) -> list[str]:
        """Options of a process that uses it, where it is there."""
        kept = [f"-XX:SharedArchiveFile={self._kept}"] if self._kept.exists() else []
        return [_ONE_COMPILER, *_QUIET, *kept]

    def writing(self) -> list[str]:
        """Options beside those of one that makes it, where it is not there."""
        return [] if self._kept.exists() else [f"-XX:ArchiveClassesAtExit={self._new}"]

    def keep(self, code: int) -> None:
        """What a process that ended with `code` has made is kept, if it came to its end; the cache need not be ours."""
        if code not in (_ENDED_BY_SIGTERM, -signal.SIGTERM) or not self._new.exists() or self._kept.exists():
            return
        beside = self._kept.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            shutil.move(self._new, beside)
            beside.replace(self._kept)


def _mark(java: str) -> str:
    """Tells one Java from another: none reads another's archive."""
    program = os.path.realpath(java)
    return hashlib.sha256(f"{program} {os.stat(program).st_mtime_ns}".encode()).hexdigest()[:12]
