"""A warning at the start for each distribution of another MLServer beside this one."""

import os
from pathlib import Path

import pytest
import requests

from mlserver.cli.neighbours import warnings
from tests.cli.commands import FREE_PORTS, put
from tests.seed.serving import Served, environment

pytestmark = pytest.mark.usefixtures("here")


def install(folder: str, name: str, version: str, *modules: str) -> None:
    """What pip leaves of a distribution."""
    information = f"{folder}/{name.replace('-', '_')}-{version}.dist-info/METADATA"
    put(information, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for module in modules:
        put(f"{folder}/{module}/__init__.py", "")


def warned_of(folder: Path, env: dict[str, str]) -> list[str]:
    """The warnings of a server that starts all the same."""
    put("models/settings.json", FREE_PORTS)
    with Served("models", cwd=folder, env=env | {"MLSERVER_LOAD_MODELS_AT_STARTUP": "false"}) as served:
        assert requests.get(f"{served.url}/v2/health/ready", timeout=30).status_code == 200
        served.stop()
        return [line.partition(" WARNING - ")[2] for line in served.lines if " WARNING - " in line]


def test_at_the_start(here: Path) -> None:
    install("elsewhere", "mlserver", "1.7.1", "mlserver")
    install("elsewhere", "mlserver-sklearn", "1.7.1")
    install("elsewhere", "mlserver-alibi-detect", "1.6.0")
    install("elsewhere", "mlserver-unheard-of", "3")
    env = environment()
    # After ours, as a user's own packages come after those of a virtual environment.
    put("site/sitecustomize.py", f"import sys\nsys.path.append({str(here / 'elsewhere')!r})\n")
    one, two, three = warned_of(here, env | {"PYTHONPATH": str(here / "site")})
    assert one.startswith(f"mlserver 1.7.1 is installed as well, in {here}/elsewhere")
    assert one.endswith("again")
    assert two.startswith(
        "mlserver-sklearn 1.7.1 is installed, a runtime of another MLServer: this one brings its own "
    )
    assert two.endswith("pip uninstall mlserver-sklearn, then install mlserver[sklearn] again")
    assert three.startswith("mlserver-alibi-detect 1.6.0 is installed, a runtime of another MLServer, which may not ")


def test_nothing_to_say() -> None:
    assert list(warnings()) == []


def test_quick() -> None:
    before = os.times()
    list(warnings())
    assert os.times().user - before.user < 0.1
