"""`mlserver init`: a project to begin with, from a template that ships with the server or from somebody else's."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import click

_DEFAULT = "custom-runtime"
# A file of a template has this at the end of its name, so that no tool takes it for code of ours.
_SUFFIX = ".tmpl"
_EPILOG = """\b
Examples:
  mlserver init my-model
  mlserver init --template sklearn flowers
  mlserver init --template https://git.example.com/team/template.git
"""


@click.command(epilog=_EPILOG)
@click.argument("folder", required=False)
@click.option(
    "-t", "--template", default=_DEFAULT, show_default=True,
    help="Name of a template that ships with the server, or a folder or git URL for the program cookiecutter.",
)  # fmt: skip
def init(folder: str | None, template: str) -> None:
    """Make a project in the new FOLDER.

    The model gets the name of FOLDER, my-model by default. Nothing that exists is ever overwritten.

    \b
    Templates that ship with the server:
      custom-runtime  a model of your own: a class with load and predict
      sklearn         a scikit-learn model, and what trains it
    """
    if template in template_names():
        made = make_project(Path(folder or "my-model"), template)
        click.echo(f"made {made}: read {made / 'README.md'}, and start it with: mlserver start {made}")
    elif folder is not None:
        raise click.UsageError(
            f"FOLDER goes with a template of {', '.join(template_names())}; cookiecutter asks for it"
        )
    else:
        _cookiecutter(template)


def template_names() -> list[str]:
    """The templates that ship with the server."""
    return sorted(entry.name for entry in _templates().iterdir() if entry.is_dir())


def make_project(folder: Path, template: str) -> Path:
    """A new `folder` with the files of a template. Raises ClickException where it exists, or cannot be a name."""
    from mlserver.settings.model import NAME_RULE, is_name

    name = folder.resolve().name
    if not is_name(name):
        raise click.UsageError(f"FOLDER: the model gets its name; expected {NAME_RULE}, got {name!r}")
    try:
        folder.mkdir(parents=True)
        for path, text in rendered(template, name):
            (folder / path).write_text(text)
    except FileExistsError:
        raise click.ClickException(f"{folder} is there already; nothing was written") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    return folder


def rendered(template: str, name: str) -> Iterator[tuple[str, str]]:
    """The name and the text of each file of a template, for a model called `name`."""
    for entry in sorted((_templates() / template).iterdir(), key=lambda entry: entry.name):
        yield entry.name.removesuffix(_SUFFIX), Template(entry.read_text("utf-8")).substitute(name=name)


def _templates() -> Traversable:
    return files("mlserver.cli") / "templates"


def _cookiecutter(template: str) -> None:
    """Let cookiecutter make a project. Ends the process with its status where that is not 0."""
    if not (Path(template).is_dir() or _is_address(template)):
        known = ", ".join(template_names())
        raise click.UsageError(f"no template {template!r}: expected one of {known}, a folder, or a git URL")
    command = shutil.which("cookiecutter")
    if command is None:
        raise click.ClickException(f"the template {template} needs cookiecutter: pip install cookiecutter")
    done = subprocess.run([command, "--", template], check=False)  # noqa: S603 - an argument, never a shell's text
    if done.returncode:
        click.echo(f"error: cookiecutter ended with status {done.returncode}", err=True)
        sys.exit(done.returncode if done.returncode > 0 else 1)


def _is_address(template: str) -> bool:
    """Whether cookiecutter would fetch it: a URL, git's short form of one, or one of its own abbreviations."""
    return template.startswith(("https://", "ssh://", "git://", "git@", "gh:", "gl:", "bb:"))
