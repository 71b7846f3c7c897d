"""Run while an image is built, in the folder of its models: the folder's settings as defaults of the environment.

Who runs a container sets variables - ports, names, `MLSERVER_MODELS_DIR` for a folder that is mounted - and they have
to win, while a settings file would beat them. So what the files say is written to `.env`, which variables beat and
which holds for any folder of models, and the files go.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlserver.repository.schemaless import settings_files
from mlserver.settings import ModelSettings, Settings
from mlserver.settings.base import BaseSettings, names_of
from mlserver.settings.files import read_object


def main() -> None:
    """Replace the settings files of the working directory by `.env`, unless there is one. Raises ConfigurationError for
    settings that are no JSON object.
    """
    env, files = Path(".env"), dict(replaceable(Path.cwd()))
    if files and not env.exists():
        env.write_text("".join(files.values()))
        for file in files:
            file.unlink()


def replaceable(folder: Path) -> Iterator[tuple[Path, str]]:
    """The settings files of `folder` that `.env` can stand for, and its lines for each.

    That of a model is one only where it is the only model: variables are for every model there is.
    """
    server, model = folder / "settings.json", folder / "model-settings.json"
    if server.is_file() and (text := lines(read_object(server), Settings)) is not None:
        yield server, text
    if list(settings_files(folder)) == [model] and (text := lines(read_object(model), ModelSettings)) is not None:
        yield model, text


def lines(given: Mapping[str, Any], cls: type[BaseSettings]) -> str | None:
    """`given` as lines of `.env`; None where that cannot say it: it has no null, and replaces every ${NAME}."""
    prefix, names = cls.model_config.get("env_prefix", ""), names_of(cls)
    known = {f"{prefix}{key}".upper(): value for key, value in given.items() if key.lower() in names}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
    if None in known.values() or any("${" in text for text in texts.values()):
        return None
    return "".join(f"{name}='{_escaped(text)}'\n" for name, text in texts.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


if __name__ == "__main__":
    main()
