"""`mlserver start` as people run it: a process of its own, with its log at hand."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

PATIENCE_SECONDS = 60.0


def environment(*commands: Path, **settings: object) -> dict[str, str]:
    """The environment without settings of ours, but `settings`, as `MLSERVER_*`; folders of `commands` come first.

    gRPC has any free port unless they say otherwise.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("MLSERVER_")}
    inherited["PATH"] = os.pathsep.join(map(str, [*commands, Path(sys.executable).parent, inherited["PATH"]]))
    given = {f"MLSERVER_{name.upper()}": str(value) for name, value in {"grpc_port": 0, **settings}.items()}
    kept = {name: value for name, value in os.environ.items() if name == "MLSERVER_KAFKA_CACHE"}
    return inherited | kept | given


class Served:
    """A server that is ready; leaving the context ends it, by force where it has not been stopped."""

    def __init__(self, folder: str | Path, *, cwd: Path, env: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed on leaving the context
        command = shutil.which("mlserver", path=env["PATH"]) or "mlserver"
        self._process = subprocess.Popen(
            [command, "start", folder], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=self._stderr, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Self:
        try:
            self.wait_for("ready: ")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._stderr.close()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Where REST answers."""
        return int(self.wait_for("ready: REST on ").rpartition(":")[2].rstrip('"}'))

    @property
    def url(self) -> str:
        """The same, as the beginning of addresses."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        self._stderr.seek(0)
        return self._stderr.read()

    def wait_for(self, text: str) -> str:
        """The first line of the log with `text`, as soon as there is one. Fails where the server ends before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self._changed:
            while not (found := [line for line in self.lines if text in line]):
                waiting = self._thread.is_alive() and self._changed.wait(deadline - time.monotonic())
                assert waiting, f"no {text!r} in the log:\n{self.log}"
        return found[0]

    @property
    def log(self) -> str:
        """What it has written so far."""
        return "\n".join([*self.lines, self.stderr])

    def stop(self) -> None:
        """SIGTERM, and see that it ends well."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE_SECONDS)
        self._thread.join()
        assert code == 0, f"exit code {code}:\n{self.log}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()
