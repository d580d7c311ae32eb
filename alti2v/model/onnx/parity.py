"""Comparison of an exported model with the network, on the same random pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from alti2v.arrays import Float32Array, Int64Array
from alti2v.model import backend
from alti2v.model.network.build import build_network
from alti2v.model.onnx.check_folder import as_fed, open_session
from alti2v.model.onnx.contract import Contract, OutputRole
from alti2v.model.onnx.labels import Label
from alti2v.model.onnx.reduction import YCBCR_OF_RGB
from alti2v.model.saved_model import SavedModel

# float32 sums in another order: 1e-6 for most runs, 1.3e-5 seen. A wrong layer differs by hundredths.
TOLERANCE = 5e-5
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


def as_trained(pixels: Float32Array, side: int, *, halves_colour: bool) -> Float32Array:
    """Prepare pictures (B, S, S, 3) RGB as the exported graph does, with Pillow and without its matrices."""
    reduced = np.stack([_reduced(picture, side) for picture in pixels])
    return _with_halved_colour(reduced) if halves_colour else reduced


def _reduced(picture: Float32Array, side: int) -> Float32Array:
    if picture.shape[0] == side:
        return picture
    bands = [
        np.asarray(Image.fromarray(picture[..., band]).resize((side, side), Image.Resampling.BICUBIC))
        for band in range(3)
    ]
    return np.stack(bands, axis=2).clip(0, 255)


def _with_halved_colour(pixels: Float32Array) -> Float32Array:
    bands = pixels.astype(np.float64) @ YCBCR_OF_RGB.T
    count, side = bands.shape[0], bands.shape[1]
    small = bands[..., 1:].reshape(count, side // 2, 2, side // 2, 2, 2).mean(axis=(2, 4))
    for axis in (1, 2):
        before, after = (np.take(small, _neighbours(small.shape[axis], step), axis=axis) for step in (-1, 1))
        pair = np.stack([0.75 * small + 0.25 * before, 0.75 * small + 0.25 * after], axis=axis + 1)
        small = pair.reshape(*small.shape[:axis], 2 * small.shape[axis], *small.shape[axis + 1 :])
    rgb = np.concatenate([bands[..., :1], small], axis=3) @ np.linalg.inv(YCBCR_OF_RGB).T
    halved: Float32Array = rgb.clip(0, 255).astype(np.float32)
    return halved


def _neighbours(length: int, step: int) -> Int64Array:
    return (np.arange(length) + step).clip(0, length - 1)


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
    expected = network.predict_on_batch(as_trained(rgb, size, halves_colour=contract.halves_colour))
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
