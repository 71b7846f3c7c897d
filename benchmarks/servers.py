"""One running server: its folder, start, first answer, stop."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process_tree
from benchmarks.cases import DIGITS, MODES, Case, questions
from benchmarks.products import CACHE, REPOSITORY, Product

_START_TIMEOUT_SECONDS = 90.0
_STOP_TIMEOUT_SECONDS = 15.0
_POLL_SECONDS = 0.02  # how often a starting server is asked: the error of the start time


@dataclass(frozen=True, slots=True)
class KafkaPlace:
    """Where a server reads and writes: topics of its own."""

    bootstrap: str
    topic_input: str
    topic_output: str
    topic_dead_letter: str


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has given its first right answer; `root` is the pid (and the session) of its process tree."""

    product: Product
    folder: Path
    root: int
    http_port: int
    grpc_port: int
    first_answer_seconds: float
    kafka: KafkaPlace | None


class StartError(Exception):
    """The server ended or stayed silent before its first answer; carries the end of its log."""


@contextlib.contextmanager
def serve(product: Product, case: Case, mode: str, kafka: KafkaPlace | None = None) -> Iterator[Running]:
    """Start the product with the case's model in that mode, wait for a right answer, stop it at the end."""
    ports = _free_ports()
    folder = _make_folder(product, case, mode, ports, kafka)
    if not product.command.exists():
        raise StartError(f"there is no {product.command}")
    begin = time.perf_counter()
    process = _start(product, folder)
    try:
        _wait_first_answer(process, case, folder, ports["http_port"])
        seconds = time.perf_counter() - begin
        yield Running(product, folder, process.pid, ports["http_port"], ports["grpc_port"], seconds, kafka)
    finally:
        _stop(process)


def _free_ports() -> dict[str, int]:
    """Three ports free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        numbers = [int(each.getsockname()[1]) for each in sockets]
    return dict(zip(("http_port", "grpc_port", "metrics_port"), numbers, strict=True))


def _make_folder(product: Product, case: Case, mode: str, ports: dict[str, int], kafka: KafkaPlace | None) -> Path:
    folder = CACHE / "run" / f"{product.name}-{case.name}-{mode}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = {
        "host": "127.0.0.1",
        **ports,
        **MODES[mode],
        **product.settings,
        **_kafka_settings(product, case, kafka),
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1))
    (folder / "model-settings.json").write_text(json.dumps(case.model.settings, indent=1))
    if case.model is DIGITS:
        shutil.copytree(CACHE / f"digits-{product.name}", folder, dirs_exist_ok=True)
    else:
        shutil.copy(REPOSITORY / "benchmarks" / "models" / "rowsum.py", folder)
    return folder


def _kafka_settings(product: Product, case: Case, kafka: KafkaPlace | None) -> dict[str, object]:
    if kafka is None:
        return {}
    common: dict[str, object] = {
        "kafka_enabled": True,
        "kafka_servers": kafka.bootstrap,
        "kafka_topic_input": kafka.topic_input,
        "kafka_topic_output": kafka.topic_output,
    }
    if product.chooses_delivery:
        common["kafka_delivery"] = case.delivery
    return {**common, "kafka_topic_dead_letter": kafka.topic_dead_letter, **product.kafka_settings}


def _start(product: Product, folder: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that the whole tree can be found; without settings of the caller's environment.

    With bytecode, as pip leaves it where a product is installed: else each start would compile what is run from source.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLSERVER_", "PYTHON"))}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [str(product.command), "start", "."],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_first_answer(process: subprocess.Popen[bytes], case: Case, folder: Path, port: int) -> None:
    question = questions(case, folder)[0]
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while (answer := _ask(port, case.model.name, question.body("first"))) is None:
        if process.poll() is not None:
            raise StartError(f"exit {process.returncode} before the first answer\n{_log_tail(folder)}")
        if time.monotonic() > deadline:
            raise StartError(f"no answer within {_START_TIMEOUT_SECONDS:.0f} s\n{_log_tail(folder)}")
        time.sleep(_POLL_SECONDS)
    question.check(answer, "first")


def _ask(port: int, model: str, body: bytes) -> bytes | None:
    """The body of a 200, or None while there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer if response.status == 200 else None


def _log_tail(folder: Path) -> str:
    return (folder / "server.log").read_text(errors="replace")[-2000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the main process, then SIGKILL to whatever is left of its tree."""
    process_tree.resume(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_SECONDS)
    process_tree.kill(process.pid)
    process.wait()
