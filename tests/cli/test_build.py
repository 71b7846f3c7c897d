"""`mlserver dockerfile` and `mlserver build`: what is written, and what docker is called with."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from mlserver.cli.image import Contents, contents, generate_dockerfile
from mlserver.errors import ConfigurationError
from mlserver.version import __version__
from tests.cli.commands import mlserver, put
from tests.cli.programs import recorder
from tests.docs.pages import ROOT

pytestmark = pytest.mark.usefixtures("here")

INSTRUCTIONS = {"ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "EXPOSE", "CMD"}


def instructions(text: str) -> list[list[str]]:
    """Each instruction and what follows it; fails where a line begins with none."""
    joined = re.sub(r"\\\n", "", text)
    found = [line.split(" ", 1) for line in joined.splitlines() if line and not line.startswith("#")]
    assert {name for name, _ in found} <= INSTRUCTIONS
    for name, rest in found:
        if name == "CMD" or (name == "COPY" and "[" in rest):
            assert all(isinstance(word, str) for word in json.loads(rest))
        else:
            shlex.split(rest)
    return found


def written(*options: str) -> str:
    done = mlserver("dockerfile", ".", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return Path("Dockerfile").read_text()


def test_a_folder_with_models() -> None:
    put("settings.json", {"http_port": 9000, "metrics_port": "not a number"})
    put("a/model-settings.json", {"implementation": "mlserver_sklearn.SKLearnModel"})
    put("b/model-settings.json", {"Implementation": "mine.Model"})
    put("requirements.txt", "numpy\n")
    found = instructions(written())
    stages = [rest for name, rest in found if name == "FROM"]
    assert stages == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    assert ["ARG", "BASE_IMAGE=python:3.12-slim"] in found
    (install,) = [rest for name, rest in found if "uv pip install" in rest]
    assert install.endswith(f'"mlserver[sklearn]=={__version__}" --requirements requirements.txt')
    assert ["EXPOSE", "9000 8081 8082"] in found
    assert found.index(["USER", "1000"]) > found.index(["COPY", "--from=build /opt/env /opt/env"])
    assert not Path("Dockerfile.dockerignore").exists()


def test_what_settings_ask_for_is_installed() -> None:
    put("settings.json", {"tracing_server": "collector:4317"})
    put("a/model-settings.json", {"implementation": "mlserver_lightgbm.LightGBMModel"})
    put("b/model-settings.json", {"implementation": "mine.Model", "parameters": {"content_type": "pd"}})
    text = written()
    instructions(text)
    assert f'"mlserver[lightgbm,pandas,tracing]=={__version__}"' in text
    *_, final = text.split("FROM ")
    # Looked for while the image is still root's.
    assert -1 < final.find("apt-get install --yes --no-install-recommends libgomp1") < final.find("USER 1000")


def test_a_folder_with_nothing() -> None:
    text = written()
    instructions(text)
    assert f'"mlserver=={__version__}"\n' in text
    assert "requirements" not in text


@pytest.mark.parametrize("name", ["environment.yml", "environment.yaml", "conda.yml", "conda.yaml"])
def test_a_conda_environment(name: str) -> None:
    put(name, "dependencies: [python=3.12]\n")
    found = instructions(written())
    assert ["COPY", f'["{name}", "./"]'] in found
    assert any(f"micromamba create --yes --prefix /opt/env --file {name}" in rest for _, rest in found)
    assert ["ARG", "BASE_IMAGE=debian:stable-slim"] in found


def test_a_wheel_beside() -> None:
    put("mlserver-9.9.1-py3-none-any.whl", "")
    text = written()
    instructions(text)
    assert '"mlserver @ file:///build/mlserver-9.9.1-py3-none-any.whl"' in text
    assert 'grep -Fx "mlserver, version 9.9.1"' in text
    assert 'COPY ["mlserver-9.9.1-py3-none-any.whl", "./"]' in text
    put("mlserver-9.9.2-py3-none-any.whl", "")
    done = mlserver("dockerfile", ".")
    assert (done.returncode, done.stderr) == (1, "Error: .: expected one wheel of mlserver, found 2\n")


EVIL = 'x"\nRUN touch /evil #'


def test_nothing_in_a_folder_becomes_an_instruction(here: Path) -> None:
    folder = here / 'a"\nRUN id'
    folder.mkdir()
    plain = generate_dockerfile(contents(folder))
    put(str(folder / "settings.json"), {"server_name": EVIL, "http_port": EVIL, EVIL: EVIL})
    put(
        str(folder / EVIL.replace("/", "") / "model-settings.json"),
        {"name": EVIL, "implementation": f"mlserver_{EVIL}"},
    )
    put(str(folder / f"mlserver-1{EVIL.replace('/', '')}-py3-none-any.whl"), "")
    put(str(folder / "mlserver-$(id)-py3-none-any.whl"), "")
    put(str(folder / "b" / "model-settings.json"), {"implementation": "mlserver_unknown.Model"})
    assert generate_dockerfile(contents(folder)) == plain


@pytest.mark.parametrize("image", [EVIL, "a b", "-x", "a\n"])
def test_a_base_image_that_cannot_be(image: str) -> None:
    with pytest.raises(ConfigurationError, match="expected the name of an image"):
        generate_dockerfile(Contents(), image)


def test_the_steps_that_install(here: Path, wheel: Path) -> None:
    assert mlserver("init", "-t", "sklearn", "flowers").returncode == 0
    build = here / "build"
    shutil.copytree("flowers", build)
    for folder in (build, here / "flowers"):
        shutil.copy(wheel, folder)
    assert mlserver("dockerfile", "flowers").returncode == 0
    env = os.environ | {"PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}"}
    env["UV_CONSTRAINT"] = str(ROOT / "requirements" / "dev.txt")
    steps = [rest for name, rest in instructions(Path("flowers/Dockerfile").read_text()) if name == "RUN"]
    assert [step.split()[0] for step in steps[:2]] == ["pip", "uv"]
    for step in steps[1:4]:
        line = step.removeprefix("--mount=type=cache,target=/root/.cache/uv ")
        line = line.replace("/opt/env", str(here / "env")).replace("/build/", f"{build}/")
        done = subprocess.run(["/bin/sh", "-c", line], cwd=build, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}:\n{done.stdout}{done.stderr}"
    assert done.stdout == f"mlserver, version {__version__}\n"
    subprocess.run([here / "env" / "bin" / "python", "train.py"], cwd="flowers", check=True)


def test_what_a_container_runs(here: Path) -> None:
    (command,) = [json.loads(rest) for name, rest in instructions(written()) if name == "CMD"]
    env = os.environ | recorder(here / "bin", "mlserver") | {"MLSERVER_MODELS_DIR": 'a b; echo "$(id)"'}
    assert subprocess.run(command, env=env, check=True).returncode == 0
    assert (here / "bin" / "argv").read_text().splitlines() == ["start", 'a b; echo "$(id)"']


def test_settings_that_are_no_json() -> None:
    put("settings.json", "{")
    done = mlserver("dockerfile", ".")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: settings.json:1:2: not valid JSON: ")


def test_what_others_wrote_is_kept() -> None:
    written("-i")
    put(".dockerignore", "data\n")
    written("-i")
    assert Path("Dockerfile.dockerignore").read_text().endswith("\ndata\n")
    put("Dockerfile.dockerignore", "mine")
    done = mlserver("dockerfile", ".", "-i")
    assert (done.returncode, Path("Dockerfile.dockerignore").read_text()) == (1, "mine")
    assert done.stderr == "Error: Dockerfile.dockerignore was not written by mlserver; --force replaces it\n"
    written("-i", "--force")
    assert Path("Dockerfile.dockerignore").read_text() != "mine"


def test_a_link_is_not_followed() -> None:
    put("elsewhere", "mine")
    Path("Dockerfile").symlink_to("elsewhere")
    assert mlserver("dockerfile", ".").returncode == 1
    written("-f")
    assert Path("elsewhere").read_text() == "mine"


def built(here: Path, folder: str, *options: str) -> list[str]:
    """What docker was called with."""
    done = mlserver("build", folder, *options, **recorder(here / "bin", "docker"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (here / "bin" / "buildkit").read_text() == "1"
    return (here / "bin" / "argv").read_text().splitlines()


def test_build(here: Path) -> None:
    put("models/settings.json", {})
    argv = built(here, "models", "-t", "registry.example.com:5000/team/models:1.0", "--no-cache")
    file = argv.pop(5)
    assert argv == [
        "build", "--rm", "--no-cache", str(here / "models"), "-f",
        "-t", "registry.example.com:5000/team/models:1.0",
    ]  # fmt: skip
    assert not os.path.lexists(file)
    assert (here / "bin" / "Dockerfile").read_text() == generate_dockerfile(contents(here / "models"))
    assert "**/.env\n" in (here / "bin" / "Dockerfile.dockerignore").read_text()
    assert os.listdir("models") == ["settings.json"]


def test_build_without_a_tag(here: Path) -> None:
    put("My-Models/settings.json", {})
    argv = built(here, "My-Models")
    assert argv[-2:] == ["-t", "my-models"]
    assert "--no-cache" not in argv


def test_build_of_a_folder_that_looks_like_an_option(here: Path) -> None:
    put("-x/settings.json", {})
    assert str(here / "-x") in built(here, "./-x", "-t", "x")


def test_build_of_a_folder_whose_name_no_image_can_have() -> None:
    Path("a b").mkdir()
    done = mlserver("build", "a b")
    assert done.returncode == 1
    assert done.stderr == "Error: an image cannot be called 'a b' like its folder; name it with --tag\n"


@pytest.mark.parametrize("tag", ["", "UPPER", "-x", "a b", "a\nb", "a:b:c", "--push", "a:", "é"])
def test_a_tag_that_cannot_be(here: Path, tag: str) -> None:
    done = mlserver("build", ".", f"--tag={tag}", **recorder(here / "bin", "docker"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (f"Error: --tag: expected [registry/]name[:tag] in lower case, got {tag!r}")
    assert not (here / "bin" / "argv").exists()


def test_docker_that_fails(here: Path) -> None:
    done = mlserver("build", ".", "-t", "x", **recorder(here / "bin", "docker", status=17))
    assert (done.returncode, done.stdout, done.stderr) == (17, "", "error: docker build ended with status 17\n")


def test_without_docker(here: Path) -> None:
    done = mlserver("build", ".", "-t", "x", PATH=str(here))
    assert (done.returncode, done.stderr) == (1, "Error: there is no program docker on the path\n")
