"""A server that commands are tried on."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import FREE_PORTS
from tests.docs.pages import ROOT
from tests.seed.serving import Served, environment
from tests.settings.fixtures import here

__all__ = ["here", "served", "wheel"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


MODELS = ("Double", "Mean", "Headers", "Flaky", "Never")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the models of the kitchen, each under its name in lower case."""
    folder = tmp_path_factory.mktemp("kitchen")
    shutil.copy(Path(__file__).with_name("kitchen.py"), folder)
    settings = FREE_PORTS | {"parallel_workers": 0, "shutdown_grace_seconds": 1}
    (folder / "settings.json").write_text(json.dumps(settings))
    for model in MODELS:
        (folder / model.lower()).mkdir()
        file = folder / model.lower() / "model-settings.json"
        file.write_text(json.dumps({"implementation": f"kitchen.{model}"}))
    with Served(".", cwd=folder, env=environment()) as server:
        yield server
