"""The protocol's words inside the server: slotted values around arrays, no validation, no per-element objects.

Doors decode bytes into these, the engine moves them, and the pydantic classes of `mlserver.types` are put around
the same arrays only where a person looks: once per `predict` call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Elements: TypeAlias = list[Any]

# Open Inference Protocol datatype -> numpy dtype, little-endian as on the wire. BYTES has no fixed width and stays a
# list; BF16 is Triton's and travels as the two bytes of its bit pattern.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
DATATYPES: frozenset[str] = frozenset({*DTYPES, "BYTES"})


class Tensor:
    """One named tensor.

    `data` is an array of exactly `shape`, or for BYTES a flat list of `str` or `bytes` in row-major order.
    `source` is the JSON text of the data as it was received, where it was: what makes a list look the way it was
    sent (`0.1` and not the nearest FP32), and what a batch that failed starts again from.
    """

    __slots__ = ("data", "datatype", "name", "parameters", "shape", "source")

    def __init__(
        self,
        name: str,
        datatype: str,
        shape: list[int],
        data: Array | Elements,
        parameters: dict[str, Any] | None = None,
        source: bytes | None = None,
    ) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.data = data
        self.parameters = parameters
        self.source = source

    def rows(self, start: int, stop: int) -> "Tensor":
        """The rows `start:stop` of the leading dimension: a view for arrays, a slice for lists."""
        shape = [stop - start, *self.shape[1:]]
        if isinstance(self.data, np.ndarray):
            return Tensor(self.name, self.datatype, shape, self.data[start:stop], self.parameters)
        width = 1
        for dim in self.shape[1:]:
            width *= dim
        return Tensor(self.name, self.datatype, shape, self.data[start * width : stop * width], self.parameters)

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.datatype} {self.shape})"


class OutputRequest:
    """An output that the caller asked for by name."""

    __slots__ = ("name", "parameters")

    def __init__(self, name: str, parameters: dict[str, Any] | None = None) -> None:
        self.name = name
        self.parameters = parameters


class Trace(Protocol):
    """Where a request's way is written down. Times are seconds of the monotonic clock."""

    def asked(self, model: tuple[str, str], request_id: str | None) -> None:
        """It asks a model, by name and version."""

    def departed(self) -> str:
        """It leaves for a worker; W3C's `traceparent` of what happens there."""
        ...

    def predicted(self, queued: float, begun: float, ended: float) -> None:
        """It waited from `queued` to `begun`, and its predict took from there to `ended`."""


class TensorRequest:
    """An inference request: which model, and its tensors.

    `headers` yields the door's request headers, lower-cased, when a model looks at them; None where the door has none.
    `deadline` is when its answer is worth nothing any more, in seconds of the monotonic clock; None for never. `served`
    is name and version ("" for none) of the model that answers, once that is known. `trace` is the trace that it is a
    part of, None where nobody keeps one.
    """

    __slots__ = ("deadline", "headers", "id", "inputs", "model", "outputs", "parameters", "served", "trace", "version")

    def __init__(
        self,
        model: str,
        version: str | None,
        inputs: list[Tensor],
        id: str | None = None,
        parameters: dict[str, Any] | None = None,
        outputs: list[OutputRequest] | None = None,
        headers: Callable[[], Mapping[str, str]] | None = None,
        deadline: float | None = None,
    ) -> None:
        self.deadline = deadline
        self.model = model
        self.version = version
        self.inputs = inputs
        self.id = id
        self.parameters = parameters
        self.outputs = outputs
        self.headers = headers
        self.served: tuple[str, str] | None = None
        self.trace: Trace | None = None

    def __repr__(self) -> str:
        return f"TensorRequest({self.model!r}, {self.version!r}, {self.inputs})"


class TensorResponse:
    """An inference response. `headers` are those the model set, for the door to send on."""

    __slots__ = ("headers", "id", "model", "outputs", "parameters", "version")

    def __init__(
        self,
        model: str,
        version: str | None,
        outputs: list[Tensor],
        id: str | None = None,
        parameters: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.outputs = outputs
        self.id = id
        self.parameters = parameters
        self.headers = headers

    def keep(self, asked: Sequence[OutputRequest] | None) -> None:
        """Leave out what was not asked for, where all that was asked for is there: else a model has its own way to
        understand the request.
        """
        if not asked:
            return
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if len(asked) < len(outputs) and all(output.name in outputs for output in asked):
            self.outputs = [outputs[output.name] for output in asked]

    def __repr__(self) -> str:
        return f"TensorResponse({self.model!r}, {self.version!r}, {self.outputs})"
