"""An image's settings as defaults: what `python -m mlserver.cli.defaults` writes, a server in another folder reads."""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from mlserver.cli.defaults import lines
from tests.cli.commands import put
from tests.seed.serving import Served, environment

MODEL = {"name": "heads", "implementation": "kitchen.Headers", "parameters": {"version": "v1"}}


@pytest.mark.usefixtures("here")
def test_a_server_in_another_folder(here: Path) -> None:
    put("settings.json", {"server_name": 'it\'s \\ "mine"', "host": "127.0.0.1", "unknown": 1, "http_port": 1})
    put("model-settings.json", MODEL)
    put("kitchen.py", Path(__file__).with_name("kitchen.py").read_text())
    subprocess.run([sys.executable, "-m", "mlserver.cli.defaults"], check=True)
    (here / "mounted").mkdir()
    with Served("mounted", cwd=here, env=environment(http_port=0, metrics_port=0)) as served:
        assert requests.get(f"{served.url}/v2", timeout=30).json()["name"] == 'it\'s \\ "mine"'
        assert requests.get(f"{served.url}/v2/models/heads/versions/v1/ready", timeout=30).status_code == 200


@pytest.mark.usefixtures("here")
def test_a_file_that_is_there_is_kept() -> None:
    put("settings.json", {"server_name": "x"})
    put(".env", "A=b\n")
    subprocess.run([sys.executable, "-m", "mlserver.cli.defaults"], check=True)
    assert Path(".env").read_text() == "A=b\n"


def test_models_side_by_side_are_no_defaults(tmp_path: Path) -> None:
    for folder in (".", "other"):
        put(str(tmp_path / folder / "model-settings.json"), MODEL)
    assert list(lines(tmp_path)) == []


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0")) | st.integers() | st.booleans()


@given(VALUES | st.lists(VALUES) | st.dictionaries(st.sampled_from(["a", "b"]), VALUES))
def test_any_value_is_read_as_it_was(value: Any) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        put(str(folder / "settings.json"), {"server_name": value})
        (folder / ".env").write_text("".join(f"{line}\n" for line in lines(folder)))
        text = value if isinstance(value, str) else json.dumps(value)
        assert dotenv_values(folder / ".env") == ({} if "${" in text else {"MLSERVER_SERVER_NAME": text})
