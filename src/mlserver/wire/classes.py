"""The protocol's extension `classification`: instead of an output's numbers, its highest ones with their places."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from mlserver.errors import InferenceError
from mlserver.types import MetadataTensor
from mlserver.types.tensors import Array, Tensor, TensorResponse


def classified(tensor: Tensor, count: int, labels: Sequence[str] = ()) -> Tensor:
    """BYTES of `[batch, count]`, the highest first, each "value:index" or, where there is a label, "value:index:label".

    The first dimension of `tensor` is the batch, and a tensor of one dimension has none. Of equal values the first
    comes first; NaN comes last. There are never more than there are classes. Raises InferenceError for BYTES.
    """
    if not isinstance(tensor.data, np.ndarray) or tensor.datatype == "BF16":
        raise InferenceError(f"output {tensor.name!r} is {tensor.datatype}: expected numbers for classification")
    batch = tensor.shape[:1] if len(tensor.shape) > 1 else []
    rows = tensor.data.reshape(batch[0] if batch else 1, prod(tensor.shape[1:]) if batch else tensor.data.size)
    places = _highest(rows, min(count, rows.shape[1]))
    texts = [_text(row[place], place, labels) for row, found in zip(rows, places, strict=True) for place in found]
    return Tensor(tensor.name, "BYTES", [*batch, places.shape[1]], texts, tensor.parameters)


def classify(response: TensorResponse, classes: Mapping[str, int], described: Sequence[MetadataTensor] = ()) -> None:
    """Put classes where they were asked for. Labels are in the parameter `labels` of an output's metadata."""
    labels = {output.name: getattr(output.parameters, "labels", None) or () for output in described}
    response.outputs = [
        classified(tensor, classes[tensor.name], labels.get(tensor.name, ())) if tensor.name in classes else tensor
        for tensor in response.outputs
    ]


def _highest(rows: Array, count: int) -> Array:
    """The columns of the `count` highest values of each row."""
    keys = np.where(np.isnan(rows), -np.inf, rows) if rows.dtype.kind == "f" else rows
    # Sorted backwards and read backwards, so that equal values keep their order; unsigned ones have no negative.
    backwards = np.argsort(keys[:, ::-1], axis=1, kind="stable")[:, ::-1]
    places: Array = rows.shape[1] - 1 - backwards
    return places[:, :count]


def _text(value: object, place: int, labels: Sequence[str]) -> str:
    text = f"{value!s}:{place}"  # as short as its type allows, which format() is not
    return f"{text}:{labels[place]}" if place < len(labels) else text
