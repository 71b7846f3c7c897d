"""What the tests of the walk-through share: the model, trained once."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.seed.serving import environment

EXAMPLE = ROOT / "examples" / "sklearn-kafka"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder, after `python train.py`. Not to be changed: copy it."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("settings.json", "model-settings.json", "train.py"):
        shutil.copy(EXAMPLE / name, folder)
    subprocess.run([sys.executable, "train.py"], cwd=folder, env=environment(), check=True, timeout=120)
    return folder
