"""The wheel, built from a clean copy of the tree, in environments of every Python that is supported.

An environment has what a reader of the walk-through installs, and nothing of this tree. It is kept in `.cache/wheel`
until dependencies change: to compile what is in it takes longer than all the rest. The wheel is new each time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from mlserver.testing.kafka_jars import alone
from tests.docs.pages import ROOT, blocks
from tests.docs.walk import Walk
from tests.seed.serving import environment
from tests.seed.topics import fresh, settings_of

PAGE = Path(__file__).with_name("as_printed.txt")
CACHE = ROOT / ".cache" / "wheel"
PYTHONS = ["3.11", "3.12", "3.13"]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What the command printed; fails with it where the command does."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git would have: files that are in the tree and not ignored."""
    clean, out = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("dist")
    listed = run("git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (clean / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clean / name)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=clean)
    (built,) = out.glob("*.whl")
    return built


def interpreters(version: str) -> Iterator[Path]:
    """Where a Python of this version may be: this one, pyenv's, the one on the path."""
    if version == RUNNING:
        yield Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    if found := shutil.which(f"python{version}"):
        yield Path(found)


def interpreter(version: str) -> Path:
    """One that runs; the test is skipped where there is none."""
    for python in interpreters(version):
        probe = subprocess.run([python, "-c", ""], capture_output=True, check=False)
        if probe.returncode == 0:
            return python
    pytest.skip(f"no Python {version} here")


def place_of(version: str, python: Path) -> Path:
    """Where the environment of this Python is kept; those of other dependencies are removed."""
    lock, project = (ROOT / name for name in ("requirements/dev.txt", "pyproject.toml"))
    about = run(python, "-VV", cwd=ROOT) + lock.read_text() + project.read_text()
    place = CACHE / f"python{version}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"
    for other in set(CACHE.glob(f"python{version}-*")) - {place}:
        shutil.rmtree(other)
    return place


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, wheel: Path) -> Iterator[Path]:
    """The folder of commands of an environment with the wheel, its extra, and the clients of the walk-through."""
    python, uv = interpreter(request.param), find_uv_bin()
    place = place_of(request.param, python)
    whole = place / "whole"
    with alone(place):
        if not whole.exists():
            run(uv, "venv", "--quiet", "--clear", "--python", python, place / "venv", cwd=place)
        run(
            uv, "pip", "install", "--quiet", "--python", place / "venv" / "bin" / "python",
            "--constraints", ROOT / "requirements" / "dev.txt", "--reinstall-package", "mlserver",
            f"mlserver[sklearn] @ {wheel.as_uri()}", "requests", "kafka-python",
            cwd=place,
        )  # fmt: skip
        whole.touch()
        yield place / "venv" / "bin"


def test_the_walk_through_without_a_warning(
    installed: Path, trained: Path, tmp_path: Path, kafka_bootstrap: str
) -> None:
    topics = fresh(kafka_bootstrap)
    env = environment(installed, http_port=0, metrics_port=0, **settings_of(topics))
    instead = {"localhost:9092": topics.bootstrap, "mlserver-input": topics.input, "mlserver-output": topics.output}
    with Walk(tmp_path, env, instead, PYTHONWARNINGS="default") as walk:
        walk.python((trained / "train.py").read_text())
        for block in blocks(PAGE):
            walk.step(block)
            if walk.served is not None:
                walk.served.wait_for("assigned ")
        assert walk.served is not None
        walk.served.stop()
        assert walk.served.stderr == ""
        expected = (" DEBUG - ", " INFO - ")
        assert [line for line in walk.served.lines if not any(text in line for text in expected)] == []


def test_what_is_in_it(installed: Path, tmp_path: Path) -> None:
    code = "import mlserver, importlib.metadata as found\n"
    code += "print(mlserver.__file__, found.metadata('mlserver')['License-Expression'])"
    where, licence = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert where.startswith(str(installed.parent))
    assert licence == "Apache-2.0"
    assert run(installed / "mlserver", "--version", cwd=tmp_path).startswith("mlserver, version ")
