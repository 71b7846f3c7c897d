"""Tensor data as plain lists."""

from typing import Any

from mlserver.types import TensorData


def is_list_of(payload: Any, instance_type: type[Any] | tuple[type[Any], ...]) -> bool:
    """Whether `payload` is a list, possibly empty, whose elements are all of `instance_type`."""
    items = payload.root if isinstance(payload, TensorData) else payload
    return isinstance(items, list) and all(isinstance(item, instance_type) for item in items)


def as_list(payload: Any) -> list[Any]:
    """`payload` as a list; a single value, text and bytes included, is a list of one."""
    items = payload.root if isinstance(payload, TensorData) else payload
    return list(items) if isinstance(items, list | tuple) else [items]
