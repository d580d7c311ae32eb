"""Names for numpy arrays by element type, whose shapes the docstrings give; the sigmoid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Uint8Array = npt.NDArray[np.uint8]
Uint16Array = npt.NDArray[np.uint16]
Uint64Array = npt.NDArray[np.uint64]


def sigmoid(logits: Float32Array) -> Float32Array:
    """Compute probabilities of logits of any size, in their shape."""
    return np.exp(-np.logaddexp(np.float32(0), -logits))
