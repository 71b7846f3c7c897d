"""Command line: `python -m benchmarks [--quick] [--only CASES] [--peer none] [--runs N] [--seconds S]`."""

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence

from benchmarks import machine, report
from benchmarks.cases import MODES, Case, select
from benchmarks.figures import Figures
from benchmarks.measure import Plan, Row, ceiling, measure_row
from benchmarks.products import CACHE, INCUMBENT, OURS, Product, prepare_incumbent, train, versions
from mlserver.testing.kafka import Broker, missing_tools


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="measure this server and MLServer 1.7.1")
    parser.add_argument("--quick", action="store_true", help="one run of one second per row")
    parser.add_argument("--only", metavar="CASES", help="comma-separated names or their beginnings: rest-light,svc")
    parser.add_argument("--mode", choices=list(MODES), help="one mode instead of all")
    parser.add_argument("--peer", choices=[INCUMBENT.name, "none"], default=INCUMBENT.name)
    parser.add_argument("--skip-ours", action="store_true", help="the peer alone")
    parser.add_argument("--runs", type=int, help="runs per row (3)")
    parser.add_argument("--seconds", type=float, help="seconds per run (3); a backlog lasts at least 5")
    parser.add_argument("--kafka", metavar="BOOTSTRAP", help="a broker that runs already, instead of one for this run")
    return parser.parse_args(argv)


def _plan(args: argparse.Namespace) -> Plan:
    runs = args.runs or (1 if args.quick else 3)
    seconds = args.seconds or (1.0 if args.quick else 3.0)
    kafka_seconds = 1.0 if args.quick else max(5.0, seconds)
    return Plan(runs, seconds, warmup=0.5 if args.quick else 1.0, kafka_seconds=kafka_seconds)


def _products(args: argparse.Namespace) -> list[Product]:
    chosen = [] if args.skip_ours else [OURS]
    if args.peer != "none":
        prepare_incumbent()
        chosen.append(INCUMBENT)
    return chosen


def _need_broker(cases: Sequence[Case]) -> bool:
    return any(case.door == "kafka" for case in cases)


@contextlib.contextmanager
def _broker(cases: Sequence[Case], bootstrap: str | None) -> Iterator[str | None]:
    """A bootstrap address where a case needs one: the given one, or a broker for as long as this lasts."""
    if bootstrap or not _need_broker(cases):
        yield bootstrap
        return
    with Broker(lasting=True) as broker:
        yield broker.bootstrap


def _measure(cases: Sequence[Case], products: Sequence[Product], plan: Plan, args: argparse.Namespace) -> list[Row]:
    """Door by door, so that no broker runs beside the REST rows."""
    rows = []
    for door in ("rest", "grpc", "kafka"):
        of_door = [case for case in cases if case.door == door]
        with _broker(of_door, args.kafka) as bootstrap:
            rows += [
                measure_row(case, mode, products, plan, bootstrap)
                for case in of_door
                for mode in case.modes
                if args.mode in (None, mode)
            ]
    return rows


def _write(
    rows: Sequence[Row], place: dict[str, object], products: Sequence[Product], plan: Plan, own: Figures
) -> None:
    """Print the table; keep it, and everything measured as JSON, under `.cache/bench`."""
    found = {product.title: versions(product) for product in products}
    text = report.markdown(rows, place, found, plan, own)
    (CACHE / "results.md").write_text(text)
    (CACHE / "results.json").write_text(json.dumps(report.as_json(rows, place, found, plan, own), indent=1))
    print(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 if any server failed to start or gave a wrong answer."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped on the way out
    args = _arguments(argv)
    try:
        cases = select(args.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if _need_broker(cases) and not args.kafka and (missing := missing_tools()):
        print(f"{missing}; or leave the Kafka rows out: --only rest,svc", file=sys.stderr)
        return 1
    plan, place = _plan(args), machine.describe()
    CACHE.mkdir(parents=True, exist_ok=True)
    products = _products(args)
    for product in products:
        train(product)
    own = ceiling(plan)
    rows = _measure(cases, products, plan, args)
    _write(rows, place, products, plan, own)
    return int(any(cell.error for row in rows for cell in row.cells))


if __name__ == "__main__":
    sys.exit(main())
