"""The wheel, built from a clean copy of the tree, in new environments of every Python that is supported.

An environment has what a reader of the walk-through installs, and nothing of this tree.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.docs.pages import ROOT, blocks
from tests.docs.walk import Walk
from tests.seed.serving import environment
from tests.seed.topics import fresh, settings_of

PAGE = Path(__file__).with_name("as_printed.txt")
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


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel, its extra, and the clients of the walk-through."""
    python = interpreter(request.param)
    folder = tmp_path_factory.mktemp(f"python{request.param}-")
    uv = find_uv_bin()
    run(uv, "venv", "--quiet", "--python", python, folder / "venv", cwd=folder)
    commands = folder / "venv" / "bin"
    run(
        uv, "pip", "install", "--quiet", "--python", commands / "python",
        "--constraints", ROOT / "requirements" / "dev.txt",
        f"mlserver[sklearn] @ {wheel.as_uri()}", "requests", "kafka-python",
        cwd=folder,
    )  # fmt: skip
    return commands


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
