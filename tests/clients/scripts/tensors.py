"""Tensors that every client with NumPy sends."""

from typing import Any

import numpy as np

ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False]]),
    "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "UINT8": np.array([[0, 255]], np.uint8),
    "UINT16": np.array([[0, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
    "FP32": np.array([[0.1, -3.0e38]], np.float32),
    "FP64": np.array([[0.1, 5e-324]], np.float64),
    "BYTES": np.array([["", "z\u00fcrich"]], np.object_),
}
HALF = np.array([[0.5, -65504]], np.float16)
# What only binary data carry: numbers that JSON has no word for, and bytes that are no text.
ONLY_BINARY: dict[str, Any] = {
    "FP16": np.array([[0.5, np.inf]], np.float16),
    "FP32": np.array([[np.nan, -np.inf]], np.float32),
    "BYTES": np.array([[b"\xff\x00", b"plain"]], np.object_),
}
ODD_SHAPES: dict[str, Any] = {
    "empty": np.zeros((0, 2)),
    "empty text": np.zeros((0,), np.object_),
    "scalar": np.array(2.5),
    "deep": np.arange(16.0).reshape(2, 2, 2, 2, 1),
}


def same(sent: Any, got: Any) -> Any:
    """True where both have one type, shape and content; else what came."""
    array = np.asarray(got)
    if array.dtype == sent.dtype and array.shape == sent.shape and _as_bytes(array) == _as_bytes(sent):
        return True
    return {"sent": repr(sent), "got": repr(array)}


def _as_bytes(array: Any) -> Any:
    if array.dtype != np.object_:
        return array.tobytes()
    return [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
