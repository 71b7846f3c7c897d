"""The tree of errors: every class has a kind, and the drawing in its docstring is the tree."""

import inspect
import re
from collections.abc import Iterator

import pytest

from mlserver import errors
from mlserver.codecs import CodecNotFound, InputsNotFound, OutputNotFound
from mlserver.errors import Kind, MLServerError

TREE = {
    cls.__name__: cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, MLServerError) and cls.__module__ == "mlserver.errors"
}


def drawn() -> Iterator[tuple[str, str]]:
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"\s+(?:[├└]── )?(\w+) +([A-Z_]+) ", line)
        if found:
            yield found[1], found[2]


def test_the_drawing() -> None:
    assert dict(drawn()) == {name: cls.kind.name for name, cls in TREE.items()}


def test_errors_of_codecs() -> None:
    assert [cls.kind for cls in (CodecNotFound, InputsNotFound, OutputNotFound)] == [
        Kind.INVALID,
        Kind.INVALID,
        Kind.MODEL,
    ]


def test_names_of_before() -> None:
    assert errors.WorkerStop is errors.WorkerDied
    assert errors.WorkerError is errors.ModelError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ModelParametersMissing("m", "no uri"), "model 'm' has no `parameters` in its settings: no uri"),
        (errors.MetricNotFound("x"), "metric 'x' is not registered"),
        (errors.InvalidBatchingMethod("train", "no rows"), "method 'train' cannot be batched: no rows"),
        (errors.InvalidMessageHeaders("no header 'mlserver-model'"), "no header 'mlserver-model'"),
        (CodecNotFound(5, "y"), "no codec can encode builtins.int as output 'y'"),
        (CodecNotFound(type_hint=int, name="y"), "no codec has the type hint <class 'int'> of 'y'"),
        (OutputNotFound(2, 1), "expected predict to return 2 value(s), as its annotation says, found 1"),
        (InputsNotFound([], unknown=["x"]), "expected the inputs (none); unknown: 'x'"),
    ],
)  # fmt: skip
def test_messages(error: MLServerError, text: str) -> None:
    assert str(error) == text
    assert error.status_code is None


def test_a_status_is_a_number() -> None:
    assert MLServerError("gone", status_code=410).status_code == 410
    assert MLServerError("gone", status_code="410").status_code is None  # type: ignore[arg-type]
