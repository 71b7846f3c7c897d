"""What is measured, as data: models, cases, modes, the questions asked and the check of the answers."""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FEATURES = 64
"""Columns of every row: an 8x8 digit."""

MODES: Mapping[str, Mapping[str, object]] = {
    "in-process": {"parallel_workers": 0},
    "default": {"parallel_workers": 1},
    "two-workers": {"parallel_workers": 2},
}
"""Settings of each mode, on top of host and ports; `default` spells out what both servers default to."""


class WrongAnswerError(Exception):
    """A server answered, but not what its model says."""


@dataclass(frozen=True, slots=True)
class Model:
    """A served model: its `model-settings.json`, and whether rows are nested lists, as the walk-through sends them."""

    name: str
    settings: Mapping[str, object]
    nested: bool


ROWSUM = Model("rowsum", {"name": "rowsum", "implementation": "rowsum.RowSum"}, nested=False)
AWAITS = Model("awaits", {"name": "awaits", "implementation": "rowsum.Awaits"}, nested=False)
BUSY = Model("busy", {"name": "busy", "implementation": "rowsum.Busy"}, nested=False)
DIGITS = Model(
    "mnist-svm",
    {
        "name": "mnist-svm",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./mnist-svm.joblib", "version": "v0.1.0"},
    },
    nested=True,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report (per mode)."""

    name: str
    title: str
    door: Literal["rest", "grpc", "kafka"]
    model: Model
    rows: int = 1
    connections: int = 16
    questions: int = 64
    """Distinct questions; each connection keeps to its own, so that a mix-up of answers shows."""
    modes: tuple[str, ...] = ("in-process", "default")
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """What is promised over Kafka, by a server that has a choice."""
    beside: float = 0.0
    """REST requests per second while the backlog drains; the row's latency is theirs."""


CASES = (
    Case("rest-light", "REST, row sum, 1x64, 16 connections", "rest", ROWSUM),
    Case("rest-light-1", "REST, row sum, 1x64, 1 connection", "rest", ROWSUM, connections=1),
    Case("svc-16", "REST, digits SVC, 1x64, 16 connections", "rest", DIGITS),
    Case("svc-64", "REST, digits SVC, 1x64, 64 connections", "rest", DIGITS, connections=64),
    Case("rest-json", "REST, row sums, 1000x64 as JSON, 16 connections", "rest", ROWSUM, rows=1000, questions=16),
    Case("await", "REST, row sum after 100 ms, 64 connections", "rest", AWAITS, connections=64, modes=("default",)),
    Case(
        "busy", "REST, row sum after 5 ms of one core, 16 connections", "rest", BUSY, modes=("default", "two-workers")
    ),
    Case("grpc-light", "gRPC, row sum, 1x64 as raw contents, 16 connections", "grpc", ROWSUM),
    Case("kafka-light", "Kafka, row sum, 1x64, backlog", "kafka", ROWSUM, questions=256),
    Case("kafka-svc", "Kafka, digits SVC, 1x64, backlog", "kafka", DIGITS, questions=256),
    Case(
        "kafka-once",
        "Kafka, row sum, 1x64, backlog, exactly once",
        "kafka",
        ROWSUM,
        questions=256,
        delivery="exactly_once",
    ),
    Case(
        "kafka-beside",
        "Kafka, row sum, 1x64, backlog, beside 50 REST requests/s",
        "kafka",
        ROWSUM,
        questions=256,
        beside=50.0,
    ),
)

BARE = Case("bare", "the generator against a constant answer", "rest", ROWSUM, questions=1)
"""No server at all: what the load generator can do by itself."""


def case_named(name: str) -> Case:
    """The case of that exact name, `bare` included."""
    return next(case for case in (*CASES, BARE) if case.name == name)


def select(only: str | None) -> list[Case]:
    """Cases by a comma-separated list of names or of their beginnings (`svc` means `svc-16` and `svc-64`)."""
    if only is None:
        return list(CASES)
    wanted = [word.strip() for word in only.split(",") if word.strip()]
    for word in wanted:
        if not any(_matches(case, word) for case in CASES):
            names = ", ".join(case.name for case in CASES)
            raise ValueError(f"no case {word!r}; there are {names}")
    return [case for case in CASES if any(_matches(case, word) for word in wanted)]


def _matches(case: Case, word: str) -> bool:
    return case.name == word or case.name.startswith(word + "-")


@dataclass(frozen=True, slots=True)
class Question:
    """An inference request as text around its id, and the numbers a right answer holds."""

    before_id: bytes
    after_id: bytes
    expected: tuple[float, ...]
    rows: list[list[float]]

    def body(self, request_id: str) -> bytes:
        """The JSON request with that id."""
        return self.before_id + request_id.encode() + self.after_id

    def check(self, answer: bytes, request_id: str) -> None:
        """Raise WrongAnswerError unless the answer carries the id and the expected numbers (to 1e-5: FP32 sums)."""
        try:
            response = json.loads(answer)
            found = _flat(response["outputs"][0]["data"])
            right = response["id"] == request_id and len(found) == len(self.expected)
        except (ValueError, LookupError, TypeError):
            right, found = False, []
        if not right or not all(map(_close, found, self.expected)):
            raise WrongAnswerError(f"wrong answer to {request_id}: {answer[:300]!r}, expected {self.expected[:8]}")


def _close(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-6)


def _flat(data: Any) -> list[float]:
    """Numbers of a flat or nested list in row-major order."""
    if not isinstance(data, list):
        return [float(data)]
    return [number for item in data for number in _flat(item)]


def questions(case: Case, folder: Path) -> list[Question]:
    """The distinct questions of a case; digits come from the `digits.json` in the server's folder."""
    tables = _digit_rows(case, folder) if case.model is DIGITS else _random_rows(case)
    return [_question(case, rows, expected) for rows, expected in tables]


def _random_rows(case: Case) -> list[tuple[list[list[float]], tuple[float, ...]]]:
    """Reproducible numbers in [0, 1) with four decimals: about seven bytes each as JSON."""
    tables = []
    for seed in range(case.questions):
        draw = random.Random(seed).random
        rows = [[round(draw(), 4) for _ in range(FEATURES)] for _ in range(case.rows)]
        tables.append((rows, tuple(math.fsum(row) for row in rows)))
    return tables


def _digit_rows(case: Case, folder: Path) -> list[tuple[list[list[float]], tuple[float, ...]]]:
    digits = json.loads((folder / "digits.json").read_text())
    starts = range(0, case.questions * case.rows, case.rows)
    return [(digits["rows"][n : n + case.rows], tuple(digits["labels"][n : n + case.rows])) for n in starts]


def _question(case: Case, rows: list[list[float]], expected: tuple[float, ...]) -> Question:
    data: object = rows if case.model.nested else [number for row in rows for number in row]
    tensor = {"name": "predict", "shape": [len(rows), FEATURES], "datatype": "FP32", "data": data}
    after_id = '","inputs":[' + json.dumps(tensor, separators=(",", ":")) + "]}"
    return Question(b'{"id":"', after_id.encode(), expected, rows)
