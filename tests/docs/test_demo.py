"""`make demo`, with a real broker and without one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.seed.serving import environment

DEMO = ROOT / "examples" / "sklearn-kafka" / "demo.py"


def demo(env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, DEMO], env=env, cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )


def without_java(folder: Path) -> dict[str, str]:
    """An environment in which neither Java nor Maven is found."""
    env = environment()
    for entry in reversed(env.pop("PATH").split(os.pathsep)):
        for command in Path(entry).glob("*"):
            if command.name not in ("java", "mvn") and not (folder / command.name).is_symlink():
                (folder / command.name).symlink_to(command)
    return {name: value for name, value in env.items() if name != "JAVA_HOME"} | {"PATH": str(folder)}


@pytest.mark.usefixtures("kafka_tools")
def test_with_a_real_broker(tmp_path: Path) -> None:
    done = demo(environment(), tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "starting Apache Kafka" in done.stdout
    assert done.stdout.count('"data":[8]') == 3
    assert done.stdout.endswith("- done: every answer was right\n")


def test_with_the_stand_in(tmp_path: Path) -> None:
    done = demo(without_java(tmp_path), tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "stand-in" in done.stdout
    assert "please install" in done.stdout
    assert done.stdout.count('"data":[8]') == 3


def test_a_failure_is_told(tmp_path: Path) -> None:
    env = without_java(tmp_path) | {"MLSERVER_MAX_BODY_BYTES": "many"}
    done = demo(env, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("demo failed: the server ended with exit code 1\n")
    assert "MLSERVER_MAX_BODY_BYTES: expected" in done.stderr
    assert "Traceback" not in done.stderr
