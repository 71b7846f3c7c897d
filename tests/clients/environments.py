"""The environments of the clients: one per lock file, made once and kept in `.cache/clients`."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import ROOT

CACHE = ROOT / ".cache" / "clients"


def python_of(group: str) -> Path:
    """The Python of the environment of `requirements/clients-{group}.txt`, which is made where it is missing."""
    lock = ROOT / "requirements" / f"clients-{group}.txt"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = CACHE / f"{group}-{digest}"
    if not place.exists():
        _make(lock, place)
    return place / "bin" / "python"


def _make(lock: Path, place: Path) -> None:
    """Beside its place first, so that what is there is whole."""
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(made))
        into = ("--python", str(made / "bin" / "python"))
        # What a lock leaves out, the client does not use: see the Makefile.
        _uv("pip", "install", "--quiet", *into, "--no-deps", "--require-hashes", "-r", str(lock))
        os.rename(made, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _uv(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
