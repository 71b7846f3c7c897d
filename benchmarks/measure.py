"""One row at a time: start the servers of a case and mode, let them take turns under load, collect the figures."""

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import BARE, Case, WrongAnswerError
from benchmarks.figures import Figures, median
from benchmarks.products import REPOSITORY, Product
from benchmarks.servers import KafkaPlace, Running, StartError, serve
from mlserver.testing.kafka import create_topics

_FIRST_BACKLOG_RECORDS = 1_000
_SAYS_LITTLE_SECONDS = 0.5  # a backlog done faster says little about the rate of a longer one
_MAX_RECORDS = 1_000_000  # bound on the generator's memory: about 300 bytes each


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    runs: int
    seconds: float
    warmup: float
    kafka_seconds: float
    """Each backlog is worth at least so much of that server's work."""


@dataclass(slots=True)
class Cell:
    """One server's part of a row."""

    product: str
    first_answer_seconds: float | None = None
    calibration: list[Figures] = field(default_factory=list)
    """Growing backlogs on the way to the size measured: where the cost of a record depends on what waits, it shows."""
    runs: list[Figures] = field(default_factory=list)
    error: str | None = None

    @property
    def median(self) -> Figures | None:
        """Of its runs; None where it failed."""
        return median(self.runs) if self.runs and self.error is None else None


@dataclass(slots=True)
class Row:
    """A case in a mode, measured on every server."""

    case: Case
    mode: str
    cells: list[Cell]


class LoadError(Exception):
    """The load generator failed: a wrong answer, a lost record, a closed connection."""


def measure_row(case: Case, mode: str, products: Sequence[Product], plan: Plan, bootstrap: str | None) -> Row:
    """All servers of the row are up at once and take turns, so that a slow minute of the machine hits both."""
    cells = {product.name: Cell(product.name) for product in products}
    with contextlib.ExitStack() as stack:
        windows: dict[str, Callable[[], Figures]] = {}
        for product in products:
            with _noted(cells[product.name]):
                place = _place(bootstrap, product, case, mode)
                running = stack.enter_context(serve(product, case, mode, place))
                cells[product.name].first_answer_seconds = running.first_answer_seconds
                windows[product.name] = _window(case, running, plan, cells[product.name])
        for number in range(plan.runs):
            for name, window in windows.items():
                if cells[name].error is None:
                    _say(f"{case.name} {mode} {name} run {number + 1}/{plan.runs}")
                    with _noted(cells[name]):
                        cells[name].runs.append(window())
    return Row(case, mode, list(cells.values()))


@contextlib.contextmanager
def _noted(cell: Cell) -> Iterator[None]:
    """A server that fails leaves a note in its cell; the other one is measured all the same."""
    try:
        yield
    except (StartError, LoadError, WrongAnswerError) as error:
        cell.error = str(error)
        _say(f"{cell.product} failed: {error}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _window(case: Case, running: Running, plan: Plan, cell: Cell) -> Callable[[], Figures]:
    """What one run of that case on that server is; finds a backlog's size first."""
    if case.door == "grpc":
        return lambda: _calls("benchmarks.grpc_load", case, running.folder, running.grpc_port, running.root, plan)
    if running.kafka is None:
        return lambda: _http(case, running.folder, running.http_port, running.root, plan)
    records = _backlog_size(case, running, plan.kafka_seconds, cell)
    return lambda: _kafka(case, running, records)


def _backlog_size(case: Case, running: Running, seconds: float, cell: Cell) -> int:
    """Records that take so many seconds, found by growing: a rate cannot be trusted beyond twice its backlog."""
    records = _FIRST_BACKLOG_RECORDS
    while True:
        _say(f"{case.name} {cell.product} backlog of {records}")
        figures = _kafka(case, running, records)
        cell.calibration.append(figures)
        if figures.seconds >= seconds or records == _MAX_RECORDS:
            return records
        growth = 8.0 if figures.seconds < _SAYS_LITTLE_SECONDS else min(2.0, 1.15 * seconds / figures.seconds)
        records = min(_MAX_RECORDS, int(records * growth))


def _http(case: Case, folder: Path, port: int, root: int, plan: Plan) -> Figures:
    return _calls("benchmarks.http_load", case, folder, port, root, plan)


def _calls(module: str, case: Case, folder: Path, port: int, root: int, plan: Plan) -> Figures:
    arguments = ["--case", case.name, "--folder", str(folder), "--port", str(port), "--root", str(root)]
    arguments += ["--warmup", str(plan.warmup), "--seconds", str(plan.seconds)]
    return _generate(module, arguments)


def _kafka(case: Case, running: Running, records: int) -> Figures:
    place = running.kafka
    assert place is not None
    arguments = ["--case", case.name, "--folder", str(running.folder), "--root", str(running.root)]
    arguments += ["--bootstrap", place.bootstrap, "--input", place.topic_input, "--output", place.topic_output]
    arguments += ["--port", str(running.http_port), "--records", str(records)]
    return _generate("benchmarks.kafka_load", arguments)


def _generate(module: str, arguments: list[str]) -> Figures:
    """One window by a load generator in a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if result.returncode:
        raise LoadError(result.stderr.strip().rsplit("\n", 1)[-1])
    return Figures(**json.loads(result.stdout))


def _place(bootstrap: str | None, product: Product, case: Case, mode: str) -> KafkaPlace | None:
    """Fresh topics of one partition each for a Kafka row; None for REST."""
    if case.door != "kafka":
        return None
    assert bootstrap is not None
    stem = f"{product.name}-{case.name}-{mode}-{uuid.uuid4().hex[:8]}"
    names = [f"{stem}-{end}" for end in ("input", "output", "dead-letter")]
    create_topics(bootstrap, *names)
    return KafkaPlace(bootstrap, *names)


def ceiling(plan: Plan) -> Figures:
    """The generator against a constant answer: its own limit, with nothing else in the way."""
    command = [sys.executable, "-m", "benchmarks.bare_http"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            return _http(BARE, Path(), port, process.pid, plan)
        finally:
            process.kill()
