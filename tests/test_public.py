"""The names that users import are pinned: removing one is a decision, not an accident."""

import subprocess
import sys

import pytest

import mlserver

NAMES = ["MLModel", "MLServer", "ModelSettings", "Settings", "__version__"]


def test_the_top() -> None:
    assert mlserver.__all__ == NAMES
    for name in NAMES:
        assert getattr(mlserver, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        mlserver.Nope  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import mlserver", {"pydantic", "numpy", "httptools", "confluent_kafka"}),
        ("from mlserver import MLModel", {"httptools", "starlette", "confluent_kafka", "prometheus_client", "sklearn"}),
        ("import mlserver.server", {"confluent_kafka", "sklearn", "joblib", "pandas"}),
        ("import mlserver_sklearn", {"httptools", "starlette", "confluent_kafka", "pandas"}),
    ],
)
def test_an_import_brings_no_more_than_it_needs(statement: str, absent: set[str]) -> None:
    code = f"import sys\n{statement}\nprint(*({absent!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
