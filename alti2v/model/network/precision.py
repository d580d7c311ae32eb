"""Number format that layers compute in, and its speed on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from alti2v.model import backend

# NVIDIA's first compute capability with bfloat16 (CUDA C++ programming guide, table of features)
_AMPERE = (8, 0)
# Half precision takes less memory traffic but rounds: a processor has to gain more than the noise of measuring.
_WORTHWHILE_GAIN = 1.2
_ROUNDS = 8
_LOG = logging.getLogger(__name__)


def choose_precision(requested: str, *, devices: int = 1) -> str:
    """Resolve "auto": bfloat16 where this machine computes faster in it, else float32.

    A GPU is asked for its compute capability. A processor is measured, because the library must support its
    instructions, too; without them bfloat16 is many times slower. If a format is requested that is slower than
    float32, a warning gives the measured ratio. Several processors are not measured: each could find another.

    Args:
        requested: One of `PRECISION_CHOICES`.
        devices: Number of devices that compute together.
    """
    capabilities = _capabilities()
    if requested == "auto":
        if capabilities:
            has_gain = min(capabilities) >= _AMPERE
        else:
            has_gain = devices == 1 and gain_over_float32("bfloat16") >= _WORTHWHILE_GAIN
        return "bfloat16" if has_gain else "float32"
    if requested != "float32" and not capabilities:
        gain = gain_over_float32(requested)
        if gain < 1:
            _LOG.warning(
                "--precision %s takes %.1f times as long as float32 on this processor", requested, 1 / gain
            )
    return requested


def gain_over_float32(precision: str) -> float:
    """Measure the speed of a convolution of VGG16 relative to float32; takes about a tenth of a second.

    In processor time: on a busy machine the wall-clock ratio of such short steps is anything from 0.6 to 39,
    that of processor time is 1.3 to 1.6.
    """
    steps = [_convolution(dtype) for dtype in ("float32", precision)]
    times: list[list[float]] = [[], []]
    # In turns and in processor time, so that other programs on the machine change little.
    for _ in range(_ROUNDS):
        for step, seconds in zip(steps, times, strict=True):
            begun = time.process_time()
            step()
            seconds.append(time.process_time() - begun)
    return min(times[0][1:]) / min(times[1][1:])  # the first one compiles


def _convolution(dtype: str) -> Callable[[], None]:
    keras = backend.keras
    layer = keras.layers.Conv2D(128, 3, padding="same", dtype=dtype)
    images = keras.ops.ones((8, 16, 16, 128), dtype)
    return lambda: _wait_for(layer(images))


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
