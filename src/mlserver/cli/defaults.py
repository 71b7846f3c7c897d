"""Run while an image is built, in the folder of its models: the folder's settings as defaults of the environment.

A container often serves models from another folder than the one it was made of, mounted where `MLSERVER_MODELS_DIR`
says. Written to `.env`, the settings hold there too, and variables of the container beat them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlserver.repository.schemaless import settings_files
from mlserver.settings import ModelSettings, Settings
from mlserver.settings.base import BaseSettings, names_of
from mlserver.settings.files import read_object


def main() -> None:
    """Write `.env` of the working directory, unless there is one. Raises ConfigurationError for settings that are not
    JSON objects.
    """
    file = Path(".env")
    if not file.exists():
        file.write_text("".join(f"{line}\n" for line in lines(Path())))


def lines(folder: Path) -> Iterator[str]:
    """The lines of `.env` for `settings.json` and, where the folder is that of one model, `model-settings.json`."""
    yield from _lines(folder / "settings.json", Settings)
    if list(settings_files(folder.absolute())) == [folder.absolute() / "model-settings.json"]:
        yield from _lines(folder / "model-settings.json", ModelSettings)


def _lines(file: Path, cls: type[BaseSettings]) -> Iterator[str]:
    if not file.is_file():
        return
    prefix, names = cls.model_config.get("env_prefix", ""), names_of(cls)
    for key, value in read_object(file).items():
        text = _text(value)
        # In `.env` a ${NAME} would be replaced, and there is no way to say that it shall not be.
        if key.lower() in names and value is not None and "${" not in text:
            yield f"{prefix}{key}".upper() + f"='{_escaped(text)}'"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


if __name__ == "__main__":
    main()
