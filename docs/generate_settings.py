"""Writes docs/settings.md from the settings classes: `python docs/generate_settings.py`."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlserver.settings import ModelSettings, Settings
from mlserver.settings.base import listed
from mlserver.settings.model import ModelParameters
from mlserver.settings.server import CORSSettings

PAGE = Path(__file__).with_name("settings.md")

# Read and checked, but without effect so far. A test sees that the code uses all others.
WITHOUT_EFFECT: dict[type[BaseModel], set[str]] = {
    Settings: {"metrics_dir"},
    CORSSettings: set(),
    ModelSettings: {"warm_workers"},
    ModelParameters: {"format"},
}

# Defaults that depend on where the server runs, or on its version.
SPOKEN_DEFAULTS = {"environments_dir": "`./.envs`", "metrics_dir": "`./.metrics`", "server_version": "its version"}

HEAD = """\
# Settings

<!-- Written by docs/generate_settings.py. -->

The server's settings are in `settings.json` of the folder that is served, those of a model in its
`model-settings.json`. Each may also be an environment variable, or stand in the file `.env` of the working directory:
the prefix and the name in capitals, lists and objects as JSON. A JSON file beats the environment, and the environment
beats `.env`.

Names match in any case. Booleans may be text, as in `"true"`. A value that cannot be used ends the start with one line
that says where it is; a name that nobody knows is warned of. Settings marked † are read and checked, but have no effect
so far.
"""

SECTIONS: dict[type[BaseModel], tuple[str, str]] = {
    Settings: ("The server", "`settings.json`, or `MLSERVER_` and the name: `MLSERVER_HTTP_PORT=9000`."),
    ModelSettings: ("A model", "`model-settings.json`, or `MLSERVER_MODEL_` and the name."),
    ModelParameters: (
        "Parameters of a model",
        "The object `parameters` in `model-settings.json`, or `MLSERVER_MODEL_` and the name. "
        "Other keys are kept for the runtime.",
    ),
    CORSSettings: ("Cross-origin requests", "The object `cors_settings` in `settings.json`."),
}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for cls, words in SECTIONS.items() for line in section(cls, *words))])


def section(cls: type[BaseModel], title: str, words: str) -> Iterator[str]:
    """A heading and a table with a row per setting."""
    yield from (f"## {title}", "", words, "", "| name | type | default | |", "|---|---|---|---|")
    for name, field in cls.model_fields.items():
        public = field.alias or name
        mark = " †" if public in WITHOUT_EFFECT[cls] else ""
        shown = type_of(field.annotation).replace("|", "\\|")
        yield f"| `{public}`{mark} | {shown} | {default_of(public, field)} | {says(field)} |"
    yield ""


def says(field: FieldInfo) -> str:
    """The description, and the other names of a setting."""
    others = listed(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else []
    also = f" Also `{'`, `'.join(others)}`." if others else ""
    return f"{field.description}{also}".replace("|", "\\|")


def default_of(name: str, field: FieldInfo) -> str:
    """The default as JSON; `required` where there is none."""
    if name in SPOKEN_DEFAULTS:
        return SPOKEN_DEFAULTS[name]
    return "required" if field.is_required() else f"`{json.dumps(field.default)}`"


def type_of(annotation: Any) -> str:
    """A type in the words of JSON."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin is UnionType or type(None) in arguments:
        return " or ".join(dict.fromkeys(type_of(argument) for argument in arguments))
    if origin is list:
        return f"list of {type_of(arguments[0])}"
    words = {bool: "bool", int: "int", float: "float", str: "text", dict: "object", NoneType: "null"}
    return words.get(origin or annotation, "object" if isinstance(annotation, type) else "text")


if __name__ == "__main__":
    PAGE.write_text(page())
