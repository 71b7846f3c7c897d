"""pydantic-open-inference: `python -m tests.clients.scripts.pydantic_clients URL`."""

import sys
from typing import Annotated, Any, NamedTuple

from pydantic_open_inference import DatatypeOverride, InputsBaseModel, OutputsBaseModel, RemoteModel

from tests.clients.scripts.checks import Checks, raised, report

CHECKS = Checks()


class Row(NamedTuple):
    """Two numbers."""

    first: float
    second: float


class Rows(InputsBaseModel):  # type: ignore[misc]
    """What `sum` takes."""

    rows: Annotated[list[Row], DatatypeOverride("FP64")]


class Sums(OutputsBaseModel):  # type: ignore[misc]
    """All that it answers with."""

    sums: list[float]
    means: list[float]


class Means(OutputsBaseModel):  # type: ignore[misc]
    """A part of it."""

    means: list[float]


class Tensors(InputsBaseModel):  # type: ignore[misc]
    """What `echo` takes here: a tensor per field."""

    flags: list[bool]
    numbers: list[int]
    small: Annotated[list[int], DatatypeOverride("UINT8")]
    reals: list[tuple[float, float]]
    texts: list[str]
    one: str


class Same(OutputsBaseModel):  # type: ignore[misc]
    """The same as answers."""

    flags: list[bool]
    numbers: list[int]
    small: list[int]
    reals: list[tuple[float, float]]
    texts: list[str]
    one: str


SENT = Rows(rows=[Row(1.0, 2.0), Row(3.0, 5.0)])


def remote(url: str, name: str, inputs: Any, outputs: Any, **options: Any) -> Any:
    return RemoteModel(model_name=name, inputs_model=inputs, outputs_model=outputs, server_url=url, **options)


def told(error: Any) -> Any:
    return getattr(error, "status_code", True)


@CHECKS("health")
def model_ready(url: str) -> Any:
    versioned = remote(url, "versioned", Rows, Sums, model_version="2")
    return [remote(url, "echo", Tensors, Same).is_ready(), versioned.is_ready()]


@CHECKS("health")
def unknown_model_is_not_ready(url: str) -> Any:
    return remote(url, "none", Rows, Sums).is_ready()


@CHECKS("metadata")
def validate(url: str) -> Any:
    """Names, datatypes and shapes of the metadata are those of the classes."""
    return remote(url, "sum", Rows, Sums).validate()


@CHECKS("JSON data")
def tensors(url: str) -> Any:
    sent = {
        "flags": [True, False],
        "numbers": [-(2**63), 2**63 - 1],
        "small": [0, 255],
        "reals": [(0.5, -2.0), (1.0, 3.0)],
        "texts": ["", "z\u00fcrich"],
        "one": "alone",
    }
    got = remote(url, "echo", Tensors, Same).infer(Tensors(**sent))
    return got == Same(**sent) or repr(got)


@CHECKS("requested outputs")
def all_of_them(url: str) -> Any:
    answer = remote(url, "sum", Rows, Sums).infer(SENT)
    return [answer.sums, answer.means]


@CHECKS("requested outputs")
def one_of_them(url: str) -> Any:
    answer = remote(url, "sum", Rows, Means).infer(SENT)
    return [*type(answer).model_fields, answer.means]


@CHECKS("ids, versions and parameters")
def version_asked_for(url: str) -> Any:
    return remote(url, "versioned", Rows, Means, model_version="2").infer(SENT).means


@CHECKS("errors")
def unknown_model(url: str) -> Any:
    return raised(lambda: remote(url, "none", Rows, Means).infer(SENT), told)


@CHECKS("errors")
def model_failed(url: str) -> Any:
    return raised(lambda: remote(url, "fails", Rows, Means).infer(SENT), told)


@CHECKS("timeouts")
def of_the_client(url: str) -> Any:
    impatient = remote(url, "never", Rows, Means, request_timeout_seconds=0.2)
    return raised(lambda: impatient.infer(SENT), told)


report({"pydantic-open-inference": CHECKS.run(sys.argv[1])})
