"""Python environments of models: found where they are, or unpacked from an archive, shared, and removed after use.

An unpacked environment is a folder named by the SHA-256 of its archive, so that equal archives share one, in this
server and among servers with the same `environments_dir`. It appears by a rename when it is whole. Every process
that uses it holds a shared lock; whoever makes or removes it an exclusive one, which ends with the process.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from mlserver.engine.archive import unpack
from mlserver.engine.interpreter import Environment, inspect
from mlserver.errors import EnvironmentNotFound, InvalidArchive
from mlserver.settings import ModelSettings
from mlserver.settings.shown import shown_path
from mlserver.utils import local_path

logger = logging.getLogger("mlserver")

# How often a lock that another process holds, which is unpacking the same archive, is tried again.
_TRY_AGAIN_SECONDS = 0.05


class Environments:
    """The environments that the models of one server use."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._held: dict[str, _Held] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def acquire(self, settings: ModelSettings) -> Environment | None:
        """The environment that a model asks for, to be released once for each time; None where it asks for none.

        Raises EnvironmentNotFound and InvalidArchive.
        """
        path, tarball = asked_for(settings)
        if path is not None:
            return await asyncio.to_thread(inspect, hashlib.sha256(os.fsencode(path)).hexdigest(), path)
        if tarball is None:
            return None
        key = await asyncio.to_thread(_digest, settings.name, tarball)
        async with self._turn(key):
            if key not in self._held:
                self._held[key] = await self._hold(key, tarball)
            held = self._held[key]
            held.users += 1
            return held.environment

    async def release(self, environment: Environment | None) -> None:
        """Give back what `acquire` gave. An unpacked environment is removed when nobody uses it any more."""
        if environment is None or environment.key not in self._held:
            return
        async with self._turn(environment.key):
            held = self._held[environment.key]
            held.users -= 1
            if not held.users:
                del self._held[environment.key]
                await asyncio.to_thread(_discard, environment.folder, held.lock)

    def _turn(self, key: str) -> asyncio.Lock:
        """One at a time acquires or releases an environment."""
        return self._turns.setdefault(key, asyncio.Lock())

    async def _hold(self, key: str, tarball: Path) -> "_Held":
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(None, _held, key, self._folder / key, tarball, stop)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The thread goes on to the next entry, and what it holds by then is nobody's.
            stop.set()
            work.add_done_callback(_let_go)
            raise


@dataclass(slots=True)
class _Held:
    environment: Environment
    lock: int
    users: int = 0


def asked_for(settings: ModelSettings) -> tuple[Path | None, Path | None]:
    """The folder, or the archive, of the environment that a model asks for.

    A folder is relative to the working directory, with `~` and variables; an archive to the settings file, as a `uri`.
    Raises EnvironmentNotFound where both are given.
    """
    path = settings.parameters.environment_path if settings.parameters else None
    tarball = settings.parameters.environment_tarball if settings.parameters else None
    if path and tarball:
        both = "environment_path and environment_tarball are both given; expected one of them"
        raise EnvironmentNotFound(f"model {settings.name!r}: {both}")
    if path:
        return Path(os.path.abspath(os.path.expandvars(os.path.expanduser(path)))), None
    return None, Path(os.path.abspath(local_path(settings, tarball))) if tarball else None


def _digest(name: str, tarball: Path) -> str:
    try:
        with tarball.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        why = f"environment_tarball {shown_path(tarball)}: {error.strerror}"
        raise EnvironmentNotFound(f"model {name!r}: {why}") from error


def _held(key: str, folder: Path, tarball: Path, stop: threading.Event) -> _Held:
    """An environment that is there and stays, because of a shared lock. Raises EnvironmentNotFound, InvalidArchive."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _there(folder, tarball, stop)
    try:
        return _Held(inspect(key, folder), lock)
    except BaseException:
        _discard(folder, lock)
        raise


def _there(folder: Path, tarball: Path, stop: threading.Event) -> int:
    """The shared lock on a whole environment, which is unpacked first where there is none.

    Raises InvalidArchive, also when `stop` is set first.
    """
    while True:
        lock = _try_lock(folder, fcntl.LOCK_SH)
        if lock is not None and folder.is_dir():
            return lock
        if lock is not None:
            os.close(lock)
            lock = _try_lock(folder, fcntl.LOCK_EX)
        if lock is not None:
            try:
                if not folder.is_dir():
                    _unpacked(tarball, folder, stop)
            finally:
                os.close(lock)
        # Another makes or removes it, or has made it since and holds a share: never wait for one kind of lock alone.
        elif stop.wait(_TRY_AGAIN_SECONDS):
            raise InvalidArchive("nobody waits for it any more")


def _unpacked(tarball: Path, folder: Path, stop: threading.Event) -> None:
    """Under the exclusive lock: unpack beside, and rename when it is whole. Raises InvalidArchive."""
    part = _part(folder)
    _removed(part)
    try:
        unpack(tarball, part, stop)
        part.rename(folder)
    except BaseException:
        _removed(part)
        _lock_file(folder).unlink()
        raise


def _discard(folder: Path, lock: int) -> None:
    """Let go of an environment, and remove it unless another process uses it."""
    os.close(lock)
    alone = _try_lock(folder, fcntl.LOCK_EX)
    if alone is None:
        return
    try:
        _removed(_part(folder))
        # What is half removed must not pass for an environment.
        folder.rename(_part(folder))
        _removed(_part(folder))
        _lock_file(folder).unlink()
    except OSError as error:
        logger.warning("environment %s cannot be removed: %s", shown_path(folder), error)
    finally:
        os.close(alone)


def _let_go(work: "asyncio.Future[_Held]") -> None:
    if not work.cancelled() and work.exception() is None:
        os.close(work.result().lock)


def _removed(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _part(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.part")


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _try_lock(folder: Path, how: int) -> int | None:
    """The lock of `folder`, to be closed; None where other processes hold it."""
    lock = os.open(_lock_file(folder), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        # Its file may have been removed since it was opened.
        if os.path.samestat(os.fstat(lock), os.stat(_lock_file(folder))):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
