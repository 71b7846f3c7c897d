"""Environments of models: real ones, packed and unpacked, and a real Python that is started in them."""

import asyncio
import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import venv
from pathlib import Path
from typing import Any

import pytest

from mlserver.engine import environments
from mlserver.engine.archive import unpack
from mlserver.engine.environments import Environments, asked_for
from mlserver.engine.interpreter import Environment, inspect, worker_command
from mlserver.errors import EnvironmentNotFound, InvalidArchive
from mlserver.settings import ModelSettings
from mlserver.version import __version__

SHOW = """
import importlib.util, json, os, sys
import click, mlserver, msgspec, mlserver_of_theirs
print(json.dumps({
    "arguments": sys.argv[1:],
    "prefix": sys.prefix,
    "files": {m.__name__: m.__file__ for m in (click, mlserver, msgspec, mlserver_of_theirs)}
    | {"mlserver_sklearn": importlib.util.find_spec("mlserver_sklearn").origin},
    "version": mlserver.__version__,
    "main": __name__,
    "path": os.environ["PATH"],
}))
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with packages of its own: one that the server has too, another `mlserver`, a runtime, a module."""
    root = tmp_path_factory.mktemp("made") / "env"
    venv.create(root, symlinks=False, with_pip=False)
    site = root / f"lib/python3.{sys.version_info[1]}/site-packages"
    for package in ("click", "mlserver", "mlserver_of_theirs"):
        (site / package).mkdir()
        (site / package / "__init__.py").write_text("__version__ = 'theirs'\n")
    (site / "show.py").write_text(SHOW)
    return root


@pytest.fixture(scope="session")
def packed(made: Path) -> Path:
    tarball = made.parent / "env.tar.gz"
    with tarfile.open(tarball, "w:gz", compresslevel=1) as tar:
        tar.add(made, ".")
    return tarball


def settings(**parameters: str) -> ModelSettings:
    return ModelSettings(name="m", implementation="a.B", parameters=parameters)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def shown(environment: Environment, *arguments: str, **environ: str) -> dict[str, Any]:
    """What a module in the environment sees when it is started as a worker is."""
    given = {**os.environ, **environ}
    command, added = worker_command(environment, "show", given)
    ended = subprocess.run([*command, *arguments], env={**given, **added}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


async def test_a_packed_environment_from_archive_to_process(packed: Path, tmp_path: Path) -> None:
    found = Environments(tmp_path / "envs")
    environment = await found.acquire(settings(environment_tarball=str(packed)))
    assert environment is not None
    assert environment.key == digest(packed)
    assert environment.folder == tmp_path / "envs" / environment.key
    saw = shown(environment, "7", PYTHONPATH="/nowhere", PYTHONHOME="/nowhere")
    assert saw["arguments"] == ["7"]
    assert saw["prefix"] == str(environment.folder)
    assert saw["main"] == "__main__"
    assert saw["path"].split(os.pathsep)[0] == str(environment.folder / "bin")
    inside = {name for name, file in saw["files"].items() if file.startswith(str(environment.folder))}
    # Its own package comes first; what it lacks is the server's; and the server's own code is the server's.
    assert inside == {"click", "mlserver_of_theirs"}
    assert saw["version"] == __version__
    await found.release(environment)
    assert names(tmp_path / "envs") == []


async def test_without_an_environment_it_is_the_server_s_python() -> None:
    assert await Environments("/nowhere").acquire(settings()) is None
    assert await Environments("/nowhere").acquire(ModelSettings(name="m", implementation="a.B")) is None
    assert worker_command(None) == ([sys.executable, "-P", "-m", "mlserver.engine.worker"], {})
    await Environments("/nowhere").release(None)


async def test_an_existing_environment_is_never_deleted(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WHERE", str(made.parent))
    found = Environments(tmp_path / "envs")
    environment = await found.acquire(settings(environment_path="$WHERE/env"))
    assert environment is not None
    assert environment.key == hashlib.sha256(str(made).encode()).hexdigest()
    assert shown(environment)["prefix"] == str(made)
    await found.release(environment)
    assert (made / "bin/python").exists()
    assert not (tmp_path / "envs").exists()


async def test_users_share_one_and_the_last_removes_it(packed: Path, tmp_path: Path) -> None:
    found, other = Environments(tmp_path), Environments(tmp_path)
    asked = settings(environment_tarball=str(packed))
    first, second, third = await asyncio.gather(found.acquire(asked), found.acquire(asked), other.acquire(asked))
    assert first is not None
    assert first == second == third
    marker = first.folder / "is the same folder"
    marker.touch()
    await found.release(first)
    await found.release(second)
    # Another server uses it.
    assert marker.exists()
    again = await found.acquire(asked)
    await other.release(third)
    assert marker.exists()
    await found.release(again)
    await found.release(again)
    assert names(tmp_path) == []


async def test_who_wants_to_make_one_takes_what_another_made_meanwhile(
    made: Path, packed: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whoever made it keeps a share, so that an exclusive lock is not to be had any more."""
    tried = threading.Event()
    really = environments._try_lock

    def try_lock(folder: Path, how: int) -> int | None:
        lock = really(folder, how)
        if how == fcntl.LOCK_EX:
            tried.set()
        return lock

    monkeypatch.setattr(environments, "_try_lock", try_lock)
    folder = tmp_path / digest(packed)
    share = really(folder, fcntl.LOCK_SH)
    assert share is not None
    waiting = asyncio.create_task(Environments(tmp_path).acquire(settings(environment_tarball=str(packed))))
    await asyncio.to_thread(tried.wait)
    shutil.copytree(made, tmp_path / "beside", symlinks=True)
    (tmp_path / "beside").rename(folder)
    environment = await asyncio.wait_for(waiting, 30)
    assert environment is not None
    assert environment.folder == folder
    os.close(share)


async def test_what_a_crash_left_behind_is_no_environment(packed: Path, tmp_path: Path) -> None:
    key = digest(packed)
    (tmp_path / f"{key}.part" / "bin").mkdir(parents=True)
    (tmp_path / f"{key}.part" / "bin" / "python").touch()
    (tmp_path / f"{key}.lock").touch()
    found = Environments(tmp_path)
    environment = await found.acquire(settings(environment_tarball=str(packed)))
    assert environment is not None
    assert not (tmp_path / f"{key}.part").exists()
    await found.release(environment)


async def test_one_that_an_earlier_server_left_is_used_as_it_is(packed: Path, tmp_path: Path) -> None:
    environment = await Environments(tmp_path).acquire(settings(environment_tarball=str(packed)))
    assert environment is not None
    (environment.folder / "left").touch()
    again = await Environments(tmp_path).acquire(settings(environment_tarball=str(packed)))
    assert again == environment
    assert (environment.folder / "left").exists()


def archive(folder: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(folder / "a.tar", "w") as tar:
        for member in members:
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return folder / "a.tar"


async def test_a_hostile_archive_leaves_nothing(tmp_path: Path) -> None:
    tarball = archive(tmp_path, tarfile.TarInfo("bin/python"), tarfile.TarInfo("../victim"))
    with pytest.raises(InvalidArchive, match=r"a\.tar: entry '\.\./victim' has '\.\.'"):
        await Environments(tmp_path / "envs").acquire(settings(environment_tarball=str(tarball)))
    assert names(tmp_path) == ["a.tar", "envs"]
    assert names(tmp_path / "envs") == []


async def test_an_archive_without_a_python_leaves_nothing(tmp_path: Path) -> None:
    tarball = archive(tmp_path, tarfile.TarInfo("bin/ruby"))
    with pytest.raises(EnvironmentNotFound, match="there is no Python in it: expected bin/python"):
        await Environments(tmp_path / "envs").acquire(settings(environment_tarball=str(tarball)))
    assert names(tmp_path / "envs") == []


async def test_whoever_stops_waiting_leaves_no_lock(packed: Path, tmp_path: Path, monkeypatch: Any) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(tarball: Path, folder: Path, stop: threading.Event) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)
        unpack(tarball, folder, stop)

    monkeypatch.setattr("mlserver.engine.environments.unpack", slow)
    found = Environments(tmp_path)
    asked = settings(environment_tarball=str(packed))
    waiting = asyncio.create_task(found.acquire(asked))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    next_one = asyncio.create_task(found.acquire(asked))
    go_on.set()
    environment = await next_one
    assert environment is not None
    await found.release(environment)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "there is no Python in it: expected bin/python"),
        (
            "#!/bin/sh\necho 'one\ncannot open libpython' >&2; exit 127\n",
            "its Python does not start: cannot open libpython",
        ),
        ("#!/no/such/interpreter\n", "its Python does not start: .*No such file or directory"),
        ("#!/bin/sh\necho nonsense\n", "its Python does not start: Expecting value"),
        (
            """#!/bin/sh\necho '{"version": "3.9", "abi": "cpython-39", "sys_path": [], "mlserver": "1.7.1"}'\n""",
            f"its Python 3.9 cannot use what is installed for the server's 3...: install mlserver=={__version__} in it",
        ),
    ],
)
def test_environments_that_no_worker_can_run_in(script: str | None, why: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    if script:
        (tmp_path / "bin/python").write_text(script)
        (tmp_path / "bin/python").chmod(0o755)
    with pytest.raises(EnvironmentNotFound, match=why):
        inspect("key", tmp_path)


def test_another_python_with_this_mlserver_is_taken_without_the_server_s_packages(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    says = {"version": "3.9", "abi": "cpython-39", "sys_path": [str(tmp_path), "/nowhere"], "mlserver": __version__}
    (tmp_path / "bin/python").write_text(f"#!/bin/sh\necho '{json.dumps(says)}'\n")
    (tmp_path / "bin/python").chmod(0o755)
    command, _ = worker_command(inspect("key", tmp_path))
    paths = json.loads(command[3])
    assert (paths["first"], paths["behind"]) == ([str(tmp_path)], [])


def test_an_environment_that_cannot_run_the_server_s_code_says_what_to_do(made: Path) -> None:
    environment = inspect("key", made)
    bare = Environment("key", environment.folder, environment.python, environment.sys_path, "another")
    command, added = worker_command(bare)
    ended = subprocess.run([*command, "7"], env={**os.environ, **added}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: no worker can run in the environment {made}: No module named")
    assert ended.stderr.endswith("install mlserver there\n")
    assert ended.stderr.count("\n") == 1


def test_where_environments_are_looked_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    found = settings(environment_tarball="envs/base.tar.gz")
    assert asked_for(found) == (None, tmp_path / "envs/base.tar.gz")
    found._source = "/models/m/model-settings.json"
    assert asked_for(found) == (None, Path("/models/m/envs/base.tar.gz"))
    assert asked_for(settings(environment_tarball="file:///x.tar")) == (None, Path("/x.tar"))
    assert asked_for(settings(environment_path="~/env")) == (Path("/home/me/env"), None)
    assert asked_for(settings(environment_path="./env/")) == (tmp_path / "env", None)
    with pytest.raises(EnvironmentNotFound, match="'m': environment_path and environment_tarball are both given"):
        asked_for(settings(environment_path="a", environment_tarball="b"))


async def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        EnvironmentNotFound, match=r"model 'm': environment_tarball .*a\.tar: No such file or directory"
    ):
        await Environments(tmp_path).acquire(settings(environment_tarball=str(tmp_path / "a.tar")))
