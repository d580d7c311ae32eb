"""Comparison of an exported model with the network, on the same random pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alti2v.model import backend
from alti2v.model.arrays import Float32Array
from alti2v.model.network.build import build_network
from alti2v.model.onnx.check_folder import as_fed, open_session
from alti2v.model.onnx.contract import Contract, OutputRole
from alti2v.model.onnx.labels import Label
from alti2v.model.saved_model import SavedModel

# float32 sums in another order; observed differences are about a tenth of this.
TOLERANCE = 1e-5
_BATCHES = (1, 3)


def largest_difference(
    model: bytes, contract: Contract, rows: Sequence[Label], saved: SavedModel, *, seed: int = 0
) -> float:
    """Compare probabilities and features on random pictures, in batches of 1 and of 3.

    Args:
        model: Content of the ONNX file.
        contract: Contract of its format.
        rows: Rows of its table.
        saved: Network to compare with; computes in float32 here, whatever precision it was trained in.
        seed: Random seed of the pictures.

    Returns:
        Largest difference; for features relative to the largest feature. Expect at most `TOLERANCE`.

    Raises:
        UsageError: Onnxruntime is not installed.
    """
    network = _in_float32(saved)
    session = open_session(model)
    rng = np.random.default_rng(seed)
    return max(_difference(session, contract, rows, network, saved.size, n=n, rng=rng) for n in _BATCHES)


def area_average(pixels: Float32Array, side: int) -> Float32Array:
    """Reduce pictures (B, S, S, C) by averaging over areas, computed from sums along each axis."""
    for axis in (1, 2):
        pixels = _averaged_along(pixels, axis, side)
    return pixels


def _difference(
    session: Any,  # noqa: ANN401 - onnxruntime.InferenceSession
    contract: Contract,
    rows: Sequence[Label],
    network: Any,  # noqa: ANN401 - keras.Model
    size: int,
    *,
    n: int,
    rng: np.random.Generator,
) -> float:
    rgb = _pictures(n, contract.side_px or size, rng)
    fed = as_fed(rgb[..., ::-1] if contract.bgr else rgb, contract)
    got = session.run(None, {session.get_inputs()[0].name: fed})
    expected = network.predict_on_batch(area_average(rgb, size))
    probabilities, features = np.asarray(expected["probabilities"]), np.asarray(expected["features"])
    values = _sigmoid(got[contract.tags]) if contract.logits else got[contract.tags]
    difference = float(np.abs(values - _arranged(probabilities, rows)).max())
    for vectors, role in zip(got, contract.outputs.values(), strict=True):
        if role is OutputRole.FEATURES:
            scale = max(1.0, float(np.abs(features).max()))
            difference = max(difference, float(np.abs(vectors - features).max()) / scale)
    return difference


def _arranged(probabilities: Float32Array, rows: Sequence[Label]) -> Float32Array:
    """Arrange the network's probabilities and the constants in the order of the rows."""
    columns = [
        np.full(len(probabilities), _sigmoid(np.float64(row.log_odds)))
        if row.output is None
        else probabilities[:, row.output]
        for row in rows
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _pictures(n: int, side: int, rng: np.random.Generator) -> Float32Array:
    """Draw noisy patches of colour, (n, S, S, 3), integers 0 to 255; noise alone averages to grey."""
    patches = rng.integers(0, 256, (n, 8, 8, 3)).repeat(-(-side // 8), axis=1).repeat(-(-side // 8), axis=2)
    noisy = patches[:, :side, :side] + rng.integers(-40, 41, (n, side, side, 3))
    pictures: Float32Array = np.clip(noisy, 0, 255).astype(np.float32)
    return pictures


def _averaged_along(pixels: Float32Array, axis: int, side: int) -> Float32Array:
    length = pixels.shape[axis]
    sums = np.cumsum(np.moveaxis(pixels, axis, 0), axis=0, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    edges = np.linspace(0.0, length, side + 1)
    whole = np.minimum(edges.astype(int), length - 1)
    part = (edges - whole).reshape(-1, *([1] * (sums.ndim - 1)))
    at_edges = sums[whole] + part * (sums[whole + 1] - sums[whole])
    averages = np.diff(at_edges, axis=0) * (side / length)
    moved: Float32Array = np.moveaxis(averages, 0, axis).astype(np.float32)
    return moved


def _in_float32(saved: SavedModel) -> Any:  # noqa: ANN401 - keras.Model
    """Return the network, rebuilt in float32 if a layer computes in fewer bits."""
    if all(layer.compute_dtype == "float32" for layer in saved.network.layers):
        return saved.network
    config = backend.keras.config
    policy = config.dtype_policy()
    config.set_dtype_policy("float32")
    try:
        network = build_network(saved.architecture).tagger
    finally:
        config.set_dtype_policy(policy)
    network.set_weights(saved.network.get_weights())
    return network


def _sigmoid(log_odds: Any) -> Any:  # noqa: ANN401 - arrays and scalars
    return 1 / (1 + np.exp(-log_odds))
