"""The figures as Markdown for people and as JSON for programs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from benchmarks.figures import Figures
from benchmarks.measure import Cell, Plan, Row

_HEAD = (
    "| case | mode | CPU us: ours | incumbent | incumbent / ours | rate/s: ours | incumbent | ours / incumbent "
    "| p50/p99 ms: ours | incumbent | RSS MB: ours | incumbent | first answer s: ours | incumbent |"
)


def markdown(
    rows: Sequence[Row],
    machine: Mapping[str, object],
    versions: Mapping[str, Mapping[str, str]],
    plan: Plan,
    ceiling: Figures,
) -> str:
    """The report as one Markdown text."""
    lines = ["# Benchmark", "", *_preface(machine, versions, plan, ceiling), "", _HEAD, "|---" * 14 + "|"]
    lines += [_line(row) for row in rows]
    lines += ["", *_backlogs(rows), *_failures(rows)]
    return "\n".join(lines).rstrip() + "\n"


def _preface(
    machine: Mapping[str, object], versions: Mapping[str, Mapping[str, str]], plan: Plan, ceiling: Figures
) -> list[str]:
    lines = ["Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + ".", ""]
    for name, found in versions.items():
        lines += [f"{name}: " + ", ".join(f"{package} {version}" for package, version in found.items()) + ".", ""]
    lines += [
        f"Medians of {plan.runs} run(s) of {plan.seconds:g} s after {plan.warmup:g} s of warm-up, the servers taking "
        "turns. CPU: user + system microseconds of the server's whole process tree per request or record. RSS: of the "
        "tree, the highest seen. Load comes from the same machine. `incumbent` is MLServer 1.7.1.",
        "",
        f"Load generator against a constant answer: {ceiling.rate:,.0f} requests/s, "
        f"{ceiling.generator_cpu_us:.1f} us of CPU each (the answering end: {ceiling.server_cpu_us:.1f} us).",
    ]
    return lines


def _line(row: Row) -> str:
    ours, incumbent = _median(row, "ours"), _median(row, "incumbent")
    cells = [
        row.case.title,
        row.mode,
        *_pair(ours, incumbent, lambda figures: _microseconds(figures.server_cpu_us)),
        _ratio(incumbent, ours, lambda figures: figures.server_cpu_us),
        *_pair(ours, incumbent, lambda figures: f"{figures.rate:,.0f}"),
        _ratio(ours, incumbent, lambda figures: figures.rate),
        *_pair(ours, incumbent, _latency),
        *_pair(ours, incumbent, lambda figures: f"{figures.rss_mb:,.0f}"),
        *(_start(_cell(row, name)) for name in ("ours", "incumbent")),
    ]
    return "| " + " | ".join(cells) + " |"


def _cell(row: Row, product: str) -> Cell | None:
    return next((cell for cell in row.cells if cell.product == product), None)


def _median(row: Row, product: str) -> Figures | None:
    cell = _cell(row, product)
    return cell.median if cell else None


def _pair(ours: Figures | None, incumbent: Figures | None, show: Callable[[Figures], str]) -> list[str]:
    return [show(figures) if figures else "-" for figures in (ours, incumbent)]


def _ratio(above: Figures | None, below: Figures | None, value: Callable[[Figures], float]) -> str:
    """How many times; more is better for this server in both columns."""
    if above is None or below is None or not value(below):
        return "-"
    return f"**{value(above) / value(below):.1f}**"


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _latency(figures: Figures) -> str:
    if figures.p50_ms is None or figures.p99_ms is None:
        return "-"
    return f"{figures.p50_ms:.2f} / {figures.p99_ms:.2f}"


def _start(cell: Cell | None) -> str:
    seconds = cell.first_answer_seconds if cell else None
    return "-" if seconds is None else f"{seconds:.2f}"


def _backlogs(rows: Sequence[Row]) -> list[str]:
    """Backlog sizes: they differ, each being so many seconds of that server's work; and what smaller ones cost."""
    return [
        f"- Backlog of {row.case.name}, {row.mode}, {cell.product}: {cell.median.count:,} records in "
        f"{cell.median.seconds:.1f} s{_smaller(cell)}."
        for row in rows
        for cell in row.cells
        if row.case.door == "kafka" and cell.median
    ]


def _smaller(cell: Cell) -> str:
    runs = [run for run in cell.calibration if run.count < cell.runs[0].count]
    costs = ", ".join(f"{run.count:,} at {_microseconds(run.server_cpu_us)} us" for run in runs)
    return f"; one run each with fewer: {costs}" if costs else ""


def _failures(rows: Sequence[Row]) -> list[str]:
    return [
        f"- **Failed**: {row.case.name}, {row.mode}, {cell.product}: {cell.error.splitlines()[0]}"
        for row in rows
        for cell in row.cells
        if cell.error
    ]


def as_json(
    rows: Sequence[Row],
    machine: Mapping[str, object],
    versions: Mapping[str, Mapping[str, str]],
    plan: Plan,
    ceiling: Figures,
) -> dict[str, object]:
    """Everything measured, every run included."""
    return {
        "machine": dict(machine),
        "versions": {name: dict(found) for name, found in versions.items()},
        "plan": dataclasses.asdict(plan),
        "ceiling": dataclasses.asdict(ceiling),
        "rows": [_row_json(row) for row in rows],
    }


def _row_json(row: Row) -> dict[str, object]:
    return {
        "case": row.case.name,
        "title": row.case.title,
        "mode": row.mode,
        "servers": {cell.product: _cell_json(cell) for cell in row.cells},
    }


def _cell_json(cell: Cell) -> dict[str, object]:
    return {
        "first_answer_seconds": cell.first_answer_seconds,
        "median": dataclasses.asdict(cell.median) if cell.median else None,
        "calibration": [dataclasses.asdict(run) for run in cell.calibration],
        "runs": [dataclasses.asdict(run) for run in cell.runs],
        "error": cell.error,
    }
