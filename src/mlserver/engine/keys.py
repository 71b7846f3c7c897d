"""What makes two requests the same to a model: the key under which its answer is kept."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np

from mlserver.types.tensors import Tensor, TensorRequest

# Dictionaries are written in the order of their keys.
_pack = msgspec.msgpack.Encoder(order="deterministic").encode
# Two requests with the same digest are found by nobody.
_DIGEST_BYTES = 32


def cache_key(request: TensorRequest) -> bytes | None:
    """The digest of all that a model can tell requests apart by, but for the id and the headers.

    None for a request that has no written form, such as one with an integer above 64 bits in its parameters: its
    answer is not kept.
    """
    try:
        parts = written(request)
    except (OverflowError, TypeError, ValueError):
        return None
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()


def written(request: TensorRequest) -> list[bytes | memoryview]:
    """The request as bytes, from which it could be read again: no two requests have the same.

    A head in msgpack, which says how long the buffers behind it are; those are numbers as they lie in memory, strings
    in msgpack, and the JSON text that a tensor was read from, which a model sees where it looks at a list.
    """
    buffers: list[bytes | memoryview] = []
    head = [
        request.model,
        request.version,
        request.parameters or None,
        [(output.name, output.parameters or None) for output in request.outputs] if request.outputs else None,
        [_described(tensor, buffers) for tensor in request.inputs],
    ]
    return [_pack(head), *buffers]


def _described(tensor: Tensor, buffers: list[bytes | memoryview]) -> Sequence[Any]:
    """What the head says of a tensor, whose bytes join `buffers`."""
    dtype = tensor.data.dtype.str if isinstance(tensor.data, np.ndarray) else None
    data, source = _data(tensor), tensor.source
    lengths = len(data), None if source is None else len(source)
    buffers += [data] if source is None else [data, source]
    return tensor.name, tensor.datatype, tensor.shape, tensor.parameters or None, dtype, lengths


def _data(tensor: Tensor) -> bytes | memoryview:
    if not isinstance(tensor.data, np.ndarray):
        return _pack(tensor.data)
    return np.ascontiguousarray(tensor.data).data.cast("B") if tensor.data.size else b""
