"""`mlserver dockerfile` and `mlserver build`: an image with a folder's models and everything they need."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from mlserver.cli.image import contents, generate_dockerfile, generate_dockerignore
from mlserver.errors import ConfigurationError

DOCKERFILE = "Dockerfile"
DOCKERIGNORE = "Dockerfile.dockerignore"

# registry/path:tag, as Docker's own grammar has it.
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = re.compile(rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?", re.ASCII)
_SIGNAL = 128

_DOCKERFILE_EPILOG = """\b
Example:
  mlserver dockerfile models && docker build models
"""
_BUILD_EPILOG = """\b
Examples:
  mlserver build models --tag registry.example.com/team/models:1.0
  mlserver build .
"""
_folder = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command(epilog=_DOCKERFILE_EPILOG)
@_folder
@click.option("-i", "--include-dockerignore", is_flag=True, help=f"Write {DOCKERIGNORE} as well.")
@click.option("-f", "--force", is_flag=True, help="Replace files that this command has not written.")
def dockerfile(folder: Path, include_dockerignore: bool, force: bool) -> None:
    """Write FOLDER/Dockerfile, for an image that serves the models in FOLDER.

    Installed are mlserver with the extras that the models' runtimes need, what requirements.txt says, and the conda
    environment of environment.yml or conda.yml where there is one. A wheel of mlserver in FOLDER is taken instead of
    one from an index.
    """
    try:
        write_dockerfile(folder, folder, include_dockerignore=include_dockerignore, force=force)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


@click.command(epilog=_BUILD_EPILOG)
@_folder
@click.option("-t", "--tag", help="Name of the image; by default that of FOLDER.")
@click.option("--no-cache", is_flag=True, help="Build every layer anew.")
def build(folder: Path, tag: str | None, no_cache: bool) -> None:
    """Build an image that serves the models in FOLDER, with docker.

    It is the image of `mlserver dockerfile`; nothing is written to FOLDER.
    """
    try:
        status = build_image(folder, checked_tag(folder, tag), no_cache=no_cache)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    if status:
        click.echo(f"error: docker build ended with status {status}", err=True)
        sys.exit(status)


def write_dockerfile(folder: Path, target: Path, *, include_dockerignore: bool = False, force: bool = False) -> Path:
    """Write the Dockerfile for `folder` into `target`; its path. Raises ConfigurationError where a file is there that
    something else has written, unless `force`.
    """
    texts = {DOCKERFILE: generate_dockerfile(contents(folder))}
    if include_dockerignore:
        texts[DOCKERIGNORE] = generate_dockerignore(folder)
    for name in texts:
        if not force and not _ours(target / name):
            raise ConfigurationError(f"{target / name} was not written by mlserver; --force replaces it")
    for name, text in texts.items():
        # A link is replaced, and what it leads to stays as it is.
        (target / name).unlink(missing_ok=True)
        (target / name).write_text(text)
    return target / DOCKERFILE


def build_image(folder: Path, tag: str, *, no_cache: bool = False) -> int:
    """Build the image of `folder` under the name `tag`; docker's exit status. Raises ConfigurationError where docker is
    not there.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise ConfigurationError("there is no program docker on the path")
    with tempfile.TemporaryDirectory(prefix="mlserver-build-") as written:
        file = write_dockerfile(folder, Path(written), include_dockerignore=True)
        options = ["--rm", *(["--no-cache"] if no_cache else [])]
        command = [docker, "build", *options, str(folder.resolve()), "-f", str(file), "-t", tag]
        done = subprocess.run(command, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=False)  # noqa: S603
    return done.returncode if done.returncode >= 0 else _SIGNAL - done.returncode


def checked_tag(folder: Path, given: str | None) -> str:
    """The name of the image: as given, or that of the folder. Raises UsageError, or ConfigurationError where the folder
    has a name that no image can have.
    """
    if given is not None:
        if not _TAG.fullmatch(given):
            raise click.UsageError(f"--tag: expected [registry/]name[:tag] in lower case, got {given!r}")
        return given
    name = folder.resolve().name.lower()
    if not _TAG.fullmatch(name):
        raise ConfigurationError(f"an image cannot be called {name!r} like its folder; name it with --tag")
    return name


def _ours(file: Path) -> bool:
    """Whether there is nothing at `file`, or only what this command has written."""
    if not os.path.lexists(file):
        return True
    return file.is_file() and not file.is_symlink() and "`mlserver dockerfile`" in file.read_text().split("\n", 1)[0]
