"""An image's settings as defaults: what `python -m mlserver.cli.defaults` writes, a server in another folder reads."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from mlserver.cli.defaults import lines, replaceable
from mlserver.settings import Settings
from tests.cli.commands import put
from tests.seed.serving import Served, environment

MODEL = {"name": "heads", "implementation": "kitchen.Headers", "parameters": {"version": "v1"}}


def replace() -> None:
    """As the Dockerfile does."""
    subprocess.run([sys.executable, "-m", "mlserver.cli.defaults"], check=True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("folder", [".", "mounted"])
def test_a_server_of_the_image(here: Path, folder: str) -> None:
    put("settings.json", {"server_name": 'it\'s \\ "mine"', "host": "127.0.0.1", "unknown": 1, "http_port": 1})
    put("model-settings.json", MODEL)
    put("kitchen.py", Path(__file__).with_name("kitchen.py").read_text())
    replace()
    (here / "mounted").mkdir()
    env = environment(http_port=0, grpc_port=0, metrics_port=0, model_name="other")
    with Served(folder, cwd=here, env=env) as served:
        assert requests.get(f"{served.url}/v2", timeout=30).json()["name"] == 'it\'s \\ "mine"'
        assert requests.get(f"{served.url}/v2/models/other/versions/v1/ready", timeout=30).status_code == 200


@pytest.mark.usefixtures("here")
def test_a_file_that_is_there_is_kept() -> None:
    put("settings.json", {"server_name": "x"})
    put(".env", "A=b\n")
    replace()
    assert Path(".env").read_text() == "A=b\n"
    assert Path("settings.json").is_file()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("value", [None, "${HOME}"])
def test_what_variables_cannot_say_stays_a_file(value: str | None) -> None:
    put("settings.json", {"metrics_endpoint": value})
    replace()
    assert [path.name for path in Path().iterdir()] == ["settings.json"]


def test_models_side_by_side_stay_files(tmp_path: Path) -> None:
    for folder in (".", "other"):
        put(str(tmp_path / folder / "model-settings.json"), MODEL)
    assert list(replaceable(tmp_path)) == []


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")) | st.integers() | st.booleans()


@given(VALUES | st.lists(VALUES) | st.dictionaries(st.sampled_from(["a", "b"]), VALUES))
def test_any_value_is_read_as_it_was(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    written = lines({"Server_Name": value, "nobody": 1}, Settings)
    if "${" in text:
        assert written is None
    else:
        assert written is not None
        assert dotenv_values(stream=StringIO(written)) == {"MLSERVER_SERVER_NAME": text}
