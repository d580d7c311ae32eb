"""Number format that layers compute in, and its speed on this machine."""

from __future__ import annotations

import logging
import time
from typing import Any

from alti2v.model import backend
from alti2v.model.network.build import PRECISIONS

CHOICES = ("auto", *PRECISIONS)
# NVIDIA's first compute capability with bfloat16 (CUDA C++ programming guide, table of features)
_AMPERE = (8, 0)
_LOG = logging.getLogger(__name__)


def choose_precision(requested: str) -> str:
    """Resolve "auto": bfloat16 on a GPU that supports it, else float32.

    Half precision is never chosen automatically on a CPU, where it is many times slower without the right
    instructions and library. If it is requested there and is slower, a warning gives the measured ratio.
    """
    if requested == "auto":
        return "bfloat16" if min(_capabilities(), default=(0, 0)) >= _AMPERE else "float32"
    if requested != "float32" and not _capabilities():
        gain = gain_over_float32(requested)
        if gain < 1:
            _LOG.warning(
                "--precision %s takes %.1f times as long as float32 on this processor", requested, 1 / gain
            )
    return requested


def gain_over_float32(precision: str) -> float:
    """Measure the speed of a convolution of VGG16 relative to float32; takes about a second."""
    return _seconds("float32") / _seconds(precision)


def _seconds(dtype: str) -> float:
    keras = backend.keras
    layer = keras.layers.Conv2D(128, 3, padding="same", dtype=dtype)
    images = keras.ops.ones((8, 16, 16, 128), dtype)
    times = []
    for _ in range(5):  # the first one compiles
        begun = time.perf_counter()
        _wait_for(layer(images))
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def _wait_for(tensor: Any) -> None:  # noqa: ANN401 - of any backend
    ops = backend.keras.ops
    float(ops.cast(ops.sum(tensor), "float32"))


def _capabilities() -> list[tuple[int, int]]:
    """Return the compute capability of every GPU that Keras' backend sees."""
    if backend.keras.backend.backend() == "jax":
        import jax

        devices = [device for device in jax.devices() if device.platform == "gpu"]
        return [tuple(map(int, str(device.compute_capability).split("."))) for device in devices]  # type: ignore[misc]
    details = backend.tf.config.experimental.get_device_details
    gpus = backend.tf.config.list_physical_devices("GPU")
    return [details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
