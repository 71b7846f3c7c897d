"""The house's one rule: imports point down, and never in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# Room -> floor. A room is a module or a package directly below `mlserver`, or a runtime beside it.
FLOORS = {
    "version": 0, "types": 0, "errors": 0, "settings": 0, "events": 0,
    "model": 1, "handlers": 1, "context": 1, "logging": 1, "metrics": 1, "utils": 1, "codecs": 1, "cache": 1,
    "tabular": 1,
    "engine": 2,
    "repository": 3, "registry": 3, "extensions": 3,
    "dataplane": 4, "wire": 4, "admin": 4,
    "rest": 5, "grpc": 5, "kafka": 5, "observe": 5, "warmup": 5,
    "server": 6,
    "cli": 7, "batch_processing": 7, "testing": 7, "__main__": 7,
}  # fmt: skip
DOORS = {"rest", "grpc", "kafka"}
RUNTIMES = {"mlserver_lightgbm", "mlserver_sklearn", "mlserver_xgboost"}
# The names that users import from the top: `mlserver/__init__.py` may name these rooms and no other.
PUBLIC = {"metrics", "model", "settings", "server", "version", "errors", "types"}
# Rooms that know no web, RPC, Kafka or metrics package.
INNER = {
    "types", "errors", "settings", "events", "model", "handlers", "metrics", "tabular", "codecs", "engine", "registry",
    "extensions", "dataplane", "repository",
}  # fmt: skip
OUTSIDE = {"starlette", "uvicorn", "fastapi", "grpc", "confluent_kafka", "prometheus_client"}
# Routes that a model brings itself follow FastAPI's rules, and run where the model does.
EXCEPT = {"mlserver.engine.custom": {"fastapi"}}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path, module: str) -> Iterator[str]:
    """Every module a file names in an import, wherever in the file that stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide which floor they reach"
            name = node.module or ""
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def room(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] in RUNTIMES:
        return parts[0]
    return parts[1] if parts[0] == "mlserver" and len(parts) > 1 else None


ALL = dict(modules())


def edges(module: str) -> set[str]:
    """The modules of ours that `module` imports."""
    found = set()
    for name in imports(ALL[module], module):
        if name in ALL and name != module:
            found.add(name)
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {room(module) for module in ALL} - {None}
    assert rooms == set(FLOORS) | RUNTIMES


@pytest.mark.parametrize("module", sorted(ALL))
def test_imports_point_down(module: str) -> None:
    here = room(module)
    for target in edges(module):
        there = room(target)
        if there is None or there == here:
            continue
        if here is None:
            assert there in PUBLIC, f"{module} imports {target}"
        elif here in RUNTIMES:
            assert FLOORS[there] <= 1, f"{module} imports {target}: runtimes may import floors 0 and 1 only"
        else:
            assert there not in RUNTIMES, f"{module} imports {target}: runtimes are named by import string"
            assert FLOORS[there] <= FLOORS[here], f"{module} (floor {FLOORS[here]}) imports {target} ({FLOORS[there]})"
            assert not (here in DOORS and there in DOORS), f"{module} imports {target}: doors never import doors"


def test_no_cycle_between_modules() -> None:
    graph = {module: edges(module) for module in ALL if module != "mlserver"}
    for targets in graph.values():
        # The package itself is the public face; importing a module below it does not go through its names.
        targets.discard("mlserver")
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for target in graph.get(module, set()):
            walk(target, (*path, module))
        done.add(module)

    for module in graph:
        walk(module, ())


@pytest.mark.parametrize("module", sorted(module for module in ALL if room(module) in INNER))
def test_the_inner_rooms_know_no_door_s_library(module: str) -> None:
    found = {name.split(".")[0] for name in imports(ALL[module], module)} & OUTSIDE
    assert found == EXCEPT.get(module, set())


@pytest.mark.parametrize("module", sorted(ALL))
def test_pandas_is_imported_only_where_it_is_needed(module: str) -> None:
    """It is an extra, and takes longer to import than everything else together."""
    top = ast.parse(ALL[module].read_text()).body
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in top if isinstance(node, ast.ImportFrom)}
    assert "pandas" not in {name.partition(".")[0] for name in names}


def test_the_parent_s_side_of_kafka_imports_no_kafka_client() -> None:
    seen: set[str] = set()
    waiting = ["mlserver.server"]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        assert "confluent_kafka" not in {name.split(".")[0] for name in imports(ALL[module], module)}, module
        waiting += edges(module)
    assert "mlserver.kafka.supervisor" in seen
