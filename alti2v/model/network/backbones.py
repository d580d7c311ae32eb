"""The networks of keras.applications, by name: their preprocessing and their pretrained weights."""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.arrays import Float64Array
from alti2v.errors import RemoteError, UsageError
from alti2v.model import backend

# keras/src/applications/vgg16.py, WEIGHTS_PATH_NO_TOP: requested to see whether the host can be reached.
_IMAGENET_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/"
    "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
_ANSWER_TIMEOUT_S = 10.0
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # HDF5 file format specification, superblock
# Chains of convolutions without normalisation; they need He's initialisation and standardised channels.
PLAIN = ("vgg16", "vgg19")


def application(name: str) -> Callable[..., Any]:
    """Return the function of keras.applications that builds a network.

    Args:
        name: Name in Keras, in lower case: "vgg16", "mobilenetv3small", "resnet50v2".

    Raises:
        UsageError: There is no network of this name.
    """
    known = {key.lower(): value for key, value in vars(backend.keras.applications).items() if key[0].isupper()}
    if name not in known:
        raise UsageError(f"--backbone {name} is not in keras.applications: {', '.join(sorted(known))}")
    builder: Callable[..., Any] = known[name]
    return builder


def preprocessing(name: str) -> tuple[bool, Float64Array, Float64Array]:
    """Derive the preprocessing of RGB pixels in [0, 255] from a network's own `preprocess_input`.

    Returns:
        True if the channels are reversed; then scale (3,) and offset (3,) of the channels in their new order.
    """
    preprocess = vars(sys.modules[application(name).__module__])["preprocess_input"]
    # Black, then each channel alone: all networks use x -> scale x + offset, some after RGB -> BGR.
    probes = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)]).reshape(4, 1, 1, 3)
    answers = np.asarray(preprocess(probes.astype(np.float32)), np.float64)[:, 0, 0]
    offset, slopes = answers[0], (answers[1:] - answers[0]) / 255
    is_reversed = bool(slopes[0, 2])
    return is_reversed, _rounded(np.diag(slopes[::-1] if is_reversed else slopes)), _rounded(offset)


def load_weights(trunk: Any, name: str, weights: str) -> None:  # noqa: ANN401 - keras.Model
    """Fill a backbone from ImageNet (`"imagenet"`, through Keras) or from a file.

    Args:
        trunk: Model of the backbone (keras.Model) without top; changed in place.
        name: Name of the backbone.
        weights: "imagenet", or the path of the backbone's weights without top: Keras' own .h5, or .weights.h5.

    Raises:
        RemoteError: ImageNet's weights are not in Keras' cache and cannot be downloaded.
        UsageError: The file is missing, is not a weights file, or does not fit.
    """
    require_weights(name, weights)
    builder = application(name)
    try:
        with warnings.catch_warnings():
            # Keras loads what fits of a foreign file and only warns about the rest.
            warnings.simplefilter("error", UserWarning)
            filled = builder(include_top=False, weights=weights, input_shape=(None, None, 3))
    except Exception as exc:  # keras.utils.get_file raises bare Exception
        if weights == "imagenet":
            raise _unreachable(exc) from exc
        raise UsageError(
            f"{weights} does not hold the weights of {builder.__name__} without top "
            f"({str(exc).splitlines()[0]:.150}): save them with "
            f"keras.applications.{builder.__name__}(include_top=False).save_weights(PATH)"
        ) from exc
    trunk.set_weights(filled.get_weights())


def require_weights(name: str, weights: str) -> None:
    """Check that a backbone exists and its weights are available; takes the arguments of `load_weights`.

    Raises:
        RemoteError: ImageNet's weights are not in Keras' cache and cannot be downloaded.
        UsageError: There is no such backbone, or the file is missing or not a weights file.
    """
    application(name)
    if weights == "imagenet":
        _require_imagenet(name)
    else:
        _require_weights_file(Path(weights))


def _rounded(values: Float64Array) -> Float64Array:
    # Removes the rounding noise of float32 beyond the seventh digit.
    return np.array([float(f"{value:.7g}") for value in values])


def _require_imagenet(name: str) -> None:
    """Check that Keras can load ImageNet's weights; its own download would wait for an unreachable host."""
    # The rule of keras/src/backend/config.py, keras_home().
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    cached = (re.sub(r"[^a-z0-9]", "", file.name.lower()) for file in (home / "models").glob("*.h5"))
    if any(name in file and "notop" in file for file in cached):
        return
    request = urllib.request.Request(_IMAGENET_URL, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S):  # noqa: S310
            pass
    except (urllib.error.URLError, OSError) as exc:
        raise _unreachable(exc) from exc


def _unreachable(cause: Exception) -> RemoteError:
    reason = str(getattr(cause, "reason", cause)).splitlines() or ["no answer"]
    return RemoteError(
        f"cannot download ImageNet weights ({reason[0]:.150}): "
        "give --weights PATH of a downloaded file, or --weights none to start from scratch"
    )


def _require_weights_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"--weights {path} does not exist: give a file, imagenet or none")
    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            raise UsageError(f"--weights {path} is not an HDF5 file: give the network's .h5 or .weights.h5")
    if path.suffix != ".h5":
        raise UsageError(
            f"--weights {path}: Keras recognises weights by their name: rename it to end in .weights.h5"
        )
