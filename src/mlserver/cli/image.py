"""The text of a Dockerfile for a folder of models.

Generated text is code, so nothing of a folder's content gets into it: what is written here depends on which files there
are, and the few words that do come from outside are checked against what they may be.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlserver.errors import ConfigurationError
from mlserver.version import __version__

DEFAULT_BASE_IMAGE = "python:3.12-slim"
# A conda environment brings its own Python, and needs nothing but a C library.
CONDA_BASE_IMAGE = "debian:stable-slim"
FIRST_LINE = "# Written by `mlserver dockerfile`, which writes it anew."

_ENVIRONMENTS = ("environment.yml", "environment.yaml", "conda.yml", "conda.yaml")
_PORTS = {"http_port": 8080, "grpc_port": 8081, "metrics_port": 8082}
_MAX_PORT = 65535

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
# Distribution, version, perhaps a build, and what it runs on: PEP 427.
_WHEEL = re.compile(r"mlserver-(?P<version>[A-Za-z0-9_.+!]+)(-[A-Za-z0-9_.]+){3,4}\.whl")
# Slim images lack the OpenMP library that LightGBM, alone among the runtimes, does not bring along.
_OPENMP = """RUN ldconfig -p | grep -q libgomp.so.1 || { apt-get update \\
 && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*; }
"""
_RUNTIME = re.compile(r"mlserver_(?P<extra>[a-z0-9_]+)\.\w+")


@dataclass(frozen=True)
class Contents:
    """What a folder has that its image depends on.

    `environment` is the conda file; `wheel` one of mlserver itself, of version `version`; `extras` those of mlserver
    that the models' runtimes need.
    """

    environment: str | None = None
    requirements: bool = False
    wheel: str | None = None
    version: str = __version__
    extras: tuple[str, ...] = ()
    ports: tuple[int, ...] = field(default=tuple(_PORTS.values()))

    @property
    def requirement(self) -> str:
        """What is installed as mlserver."""
        named = f"mlserver[{','.join(self.extras)}]" if self.extras else "mlserver"
        return f"{named} @ file:///build/{self.wheel}" if self.wheel else f"{named}=={self.version}"


def contents(folder: Path) -> Contents:
    """What is in `folder`. Raises ConfigurationError for settings that are no JSON, and for two wheels of mlserver."""
    wheels = [found for path in sorted(folder.glob("mlserver-*.whl")) if (found := _WHEEL.fullmatch(path.name))]
    if len(wheels) > 1:
        raise ConfigurationError(f"{folder}: expected one wheel of mlserver, found {len(wheels)}")
    return Contents(
        environment=next((name for name in _ENVIRONMENTS if (folder / name).is_file()), None),
        requirements=(folder / "requirements.txt").is_file(),
        wheel=wheels[0][0] if wheels else None,
        version=wheels[0]["version"] if wheels else __version__,
        extras=tuple(sorted(_extras(folder))),
        ports=tuple(_ports(folder)),
    )


def generate_dockerfile(found: Contents, base_image: str | None = None) -> str:
    """The Dockerfile. `base_image` is what the final image is made from. Raises ConfigurationError for one that cannot
    be the name of an image.
    """
    image = base_image or (CONDA_BASE_IMAGE if found.environment else DEFAULT_BASE_IMAGE)
    if not _IMAGE.fullmatch(image):
        raise ConfigurationError(f"base image: expected the name of an image, got {image!r}")
    build = _conda_stage(found) if found.environment else _python_stage()
    parts = [FIRST_LINE, f"ARG BASE_IMAGE={image}", "", build, _install(found), "", _final_stage(found)]
    return "\n".join(parts) + "\n"


def generate_dockerignore(folder: Path) -> str:
    """What stays out of the image: what others than the server need, secrets, and what the folder's own file says."""
    own = folder / ".dockerignore"
    ours = [
        "# Written by `mlserver dockerfile`.",
        *(".git", ".dockerignore", "Dockerfile", "Dockerfile.dockerignore"),
        *("**/__pycache__", "**/*.py[co]", "**/.*_cache", ".venv", "venv", ".envs", ".metrics"),
        "# Secrets are given when the image is run.",
        "**/.env",
    ]
    theirs = own.read_text() if own.is_file() else ""
    return "\n".join(ours) + "\n" + theirs


def _python_stage() -> str:
    return """FROM ${BASE_IMAGE} AS build
RUN pip install --no-cache-dir uv
RUN uv venv /opt/env
WORKDIR /build"""


def _conda_stage(found: Contents) -> str:
    return f"""ARG MICROMAMBA_IMAGE=mambaorg/micromamba:2
FROM ${{MICROMAMBA_IMAGE}} AS build
USER root
WORKDIR /build
COPY ["{found.environment}", "./"]
RUN micromamba create --yes --prefix /opt/env --file {found.environment} \\
 && micromamba install --yes --prefix /opt/env --channel conda-forge "python>=3.11,<3.14" uv
ENV PATH="/opt/env/bin:${{PATH}}\""""


def _install(found: Contents) -> str:
    """mlserver and what the models need, resolved together; and proof that it is this mlserver, since an index may have
    another distribution of the same name.
    """
    copied = (["requirements*.txt"] if found.requirements else []) + ([found.wheel] if found.wheel else [])
    lines = [f"COPY {json.dumps([*copied, './'])}"] if copied else []
    requirements = " --requirements requirements.txt" if found.requirements else ""
    return "\n".join(
        [
            *lines,
            "ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy",
            "RUN --mount=type=cache,target=/root/.cache/uv \\",
            f' uv pip install --python /opt/env/bin/python "{found.requirement}"{requirements}',
            f'RUN /opt/env/bin/mlserver --version | grep -Fx "mlserver, version {found.version}"',
        ]
    )


def _final_stage(found: Contents) -> str:
    ports = " ".join(map(str, found.ports))
    system = _OPENMP if "lightgbm" in found.extras else ""
    return f"""FROM ${{BASE_IMAGE}}
{system}RUN useradd --uid 1000 --gid 0 --create-home mlserver && install -d -o 1000 -g 0 -m 775 /opt/models
COPY --from=build /opt/env /opt/env
ENV PATH="/opt/env/bin:${{PATH}}" PYTHONUNBUFFERED=1 MLSERVER_MODELS_DIR=/opt/models
WORKDIR /opt/models
COPY --chown=1000:0 . .
USER 1000
RUN python -m mlserver.cli.defaults
EXPOSE {ports}
CMD ["sh", "-c", "exec mlserver start \\"${{MLSERVER_MODELS_DIR}}\\""]"""


def _extras(folder: Path) -> set[str]:
    """The extras of mlserver for what the settings in `folder` name: runtimes, data frames and traces."""
    from importlib.metadata import metadata

    from mlserver.repository.schemaless import settings_files
    from mlserver.settings.files import read_object

    known = set(metadata("mlserver").get_all("Provides-Extra") or [])
    models = [read_object(file) for file in settings_files(folder)]
    runtimes = (_RUNTIME.fullmatch(str(_item(model, "implementation"))) for model in models)
    extras = {found["extra"] for found in runtimes if found}
    if any(_content_type(model) == "pd" for model in models):
        extras.add("pandas")
    if _item(_server_settings(folder), "tracing_server"):
        extras.add("tracing")
    return extras & known


def _ports(folder: Path) -> Iterator[int]:
    """The ports that settings.json says, or those by default."""
    given = _server_settings(folder)
    for name, default in _PORTS.items():
        port = _item(given, name)
        yield port if type(port) is int and 0 < port <= _MAX_PORT else default


def _server_settings(folder: Path) -> dict[str, Any]:
    from mlserver.settings.files import read_object

    file = folder / "settings.json"
    return read_object(file) if file.is_file() else {}


def _content_type(model: dict[str, Any]) -> Any:
    parameters = _item(model, "parameters")
    return _item(parameters, "content_type") if isinstance(parameters, dict) else None


def _item(given: dict[str, Any], name: str) -> Any:
    return next((value for key, value in given.items() if key.lower() == name), None)
