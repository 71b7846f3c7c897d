"""`mlserver init`: what it makes works, and it never destroys what is there."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests

from mlserver.cli.init import template_names
from tests.cli.commands import mlserver
from tests.cli.programs import recorder
from tests.docs.pages import ROOT
from tests.seed.serving import Served, environment

pytestmark = pytest.mark.usefixtures("here")


def run(*command: str, cwd: Path) -> None:
    """In `cwd`, until it ends well."""
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("template", "tensor", "data"),
    [
        ("custom-runtime", {"shape": [2, 3], "data": [1, 1, 1, 2, 0, 0]}, [6.0, 2.0]),
        ("sklearn", {"shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}, [0]),
    ],
)
def test_the_project_works(here: Path, template: str, tensor: dict[str, Any], data: list[float]) -> None:
    done = mlserver("init", "-t", template, "new/my-model.1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mlserver start new/my-model.1" in done.stdout
    folder = here / "new" / "my-model.1"
    if (folder / "train.py").exists():
        run("train.py", cwd=folder)
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    for command in (["format", "--check"], ["check"]):
        run("-m", "ruff", *command, "--isolated", "--line-length", "120", ".", cwd=folder)
    env = environment(http_port=0, grpc_port=0, metrics_port=0, host="127.0.0.1")
    with Served(".", cwd=folder, env=env) as served:
        body = {"inputs": [{"name": "rows", "datatype": "FP64", **tensor}]}
        answer = requests.post(f"{served.url}/v2/models/my-model.1/infer", json=body, timeout=30)
        served.stop()
    assert answer.json()["outputs"][0]["data"] == data


def test_its_defaults(here: Path) -> None:
    assert mlserver("init").returncode == 0
    assert (here / "my-model" / "runtime.py").is_file()


def test_every_template_is_in_the_help() -> None:
    text = mlserver("init", "--help").stdout
    assert all(f"  {name} " in text for name in template_names())


def test_nothing_is_overwritten(here: Path) -> None:
    (here / "mine").mkdir()
    done = mlserver("init", "mine")
    assert (done.returncode, done.stderr) == (1, "Error: mine is there already; nothing was written\n")
    assert list((here / "mine").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a b"], "Error: FOLDER: the model gets its name; expected 1 to 128 letters"),
        (["$(id)"], "Error: FOLDER: the model gets its name; expected 1 to 128 letters"),
        (["-t", "no-such"], "Error: no template 'no-such': expected one of custom-runtime, sklearn, a folder, or a "),
        (["-t", "https://x.example/t", "mine"], "Error: FOLDER goes with a template of custom-runtime, sklearn;"),
        (["-t", "--output-dir=/x"], "Error: no template '--output-dir=/x': expected"),
    ],
)
def test_wrong_calls(here: Path, arguments: list[str], line: str) -> None:
    done = mlserver("init", *arguments, **recorder(here / "bin", "cookiecutter"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(line)
    assert [path.name for path in here.iterdir()] == ["bin"]


@pytest.mark.parametrize("template", ["https://git.example.com/a b;c", "gh:team/template", "folder"])
def test_cookiecutter(here: Path, template: str) -> None:
    (here / "folder").mkdir()
    done = mlserver("init", "-t", template, **recorder(here / "bin", "cookiecutter"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Path("bin/argv").read_text().splitlines() == ["--", template]


def test_cookiecutter_that_fails(here: Path) -> None:
    done = mlserver("init", "-t", "gh:a/b", **recorder(here / "bin", "cookiecutter", status=3))
    assert (done.returncode, done.stderr) == (3, "error: cookiecutter ended with status 3\n")


def test_without_cookiecutter(here: Path) -> None:
    done = mlserver("init", "-t", "gh:a/b", PATH=str(here))
    assert done.returncode == 1
    assert done.stderr == "Error: the template gh:a/b needs cookiecutter: pip install cookiecutter\n"


def test_the_templates_are_in_the_wheel(wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel).namelist()
    in_tree = [path.relative_to(ROOT / "src") for path in (ROOT / "src/mlserver/cli/templates").rglob("*.tmpl")]
    assert {str(path) for path in in_tree} <= set(inside)
