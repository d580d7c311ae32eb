"""Preparation of pictures in the graph of an export, so that they look like training pictures. Pure.

Training pictures are reduced with Pillow's bicubic filter and stored as JPEGs, whose colour differences have
half the resolution. Clients send 448 px without either, so both are part of the exported graph, as matrices.
"""

from __future__ import annotations

import numpy as np

from alti2v.arrays import Float32Array

# JFIF 1.02, "Conversion to and from RGB": rows are brightness, blue and red difference; columns are RGB.
YCBCR_OF_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float64
)
_BICUBIC_A = -0.5  # Pillow's (src/libImaging/Resample.c, bicubic_filter), as Keys 1981 recommends
_SUPPORT = 2.0


def bicubic_weights(source_px: int, target_px: int) -> Float32Array:
    """Return how much of each source pixel each target pixel takes: (target, source), rows sum to 1.

    The formula is that of Pillow (src/libImaging/Resample.c, precompute_coeffs): the filter is widened by the
    factor of the reduction, and cut at the edges.
    """
    factor = source_px / target_px
    width = max(factor, 1.0)
    centres = (np.arange(target_px)[:, np.newaxis] + 0.5) * factor
    pixels = np.arange(source_px) + 0.5
    weights = _bicubic((pixels - centres) / width)
    first, last = np.floor(centres - _SUPPORT * width + 0.5), np.floor(centres + _SUPPORT * width + 0.5)
    inside = (pixels - 0.5 >= first) & (pixels - 0.5 < last)
    weights = np.where(inside, weights, 0.0)
    normalised: Float32Array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return normalised


def _bicubic(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Cubic kernel: Keys 1981, "Cubic convolution interpolation for digital image processing", equation 15."""
    x = np.abs(x)
    near = ((_BICUBIC_A + 2) * x - (_BICUBIC_A + 3)) * x**2 + 1
    far = ((x - 5) * x + 8) * x * _BICUBIC_A - 4 * _BICUBIC_A
    return np.where(x < 1, near, np.where(x < _SUPPORT, far, 0.0))
