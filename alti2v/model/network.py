"""VGG16 with a head for tags, from its description; the same layers serve training and tagging.

Networks are always built by this code and only filled with stored numbers: no layer, name or function is ever
taken from a model file (Keras advisories CVE-2024-3660, CVE-2025-1550, CVE-2025-9905 and others).
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alti2v.errors import RemoteError, UsageError
from alti2v.model import backend
from alti2v.model.recipes import Head

# keras/src/applications/vgg16.py, WEIGHTS_PATH_NO_TOP; Keras keeps the file in ~/.keras/models.
_IMAGENET_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
_IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg16/{_IMAGENET_FILE}"
_ANSWER_TIMEOUT_S = 10.0
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # HDF5 file format specification, superblock
# Means of ImageNet in the order B, G, R: keras.applications.vgg16.preprocess_input (mode "caffe").
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
# Illustrations: standard deviation of their pixels about those means; without it the untrained network's
# features have the scale of pixels, and the first steps are thrown away.
UNIT_VARIANCE = 1 / 64
# A channel that is the same everywhere keeps a finite scale.
_LEAST_DEVIATION = 1e-6
# VGG16 halves the side five times.
MIN_SIZE = 32
TRUNK_LAYERS = (
    *("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"),
    *("block3_conv1", "block3_conv2", "block3_conv3"),
    *("block4_conv1", "block4_conv2", "block4_conv3"),
    *("block5_conv1", "block5_conv2", "block5_conv3"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What has to be known to build the network again.

    Attributes:
        backbone: "vgg16".
        size: side of the pictures, px, at least 32.
        tags: outputs.
        head: between the last block and the tags.
        features: units of the feature layer.
        dropout: on the features, while training.
        pixel_scale: what pixels are multiplied by after the mean is taken off; 1 is what VGG16's pretrained
            weights expect, `UNIT_VARIANCE` what He's initialisation assumes.
    """

    backbone: str = "vgg16"
    size: int
    tags: int
    head: Head
    features: int
    dropout: float
    pixel_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Network:
    """Two views of the same layers.

    Attributes:
        architecture: what they were built from.
        logits: keras.Model, (B, S, S, 3) RGB in [0, 255] -> (B, T) float32; what is trained.
        tagger: keras.Model, the same pictures -> {"probabilities": (B, T), "features": (B, F)}, float32.
    """

    architecture: Architecture
    logits: Any
    tagger: Any


def build_network(architecture: Architecture, *, seed: int = 0) -> Network:
    """Build the network with He-initialised kernels.

    Args:
        architecture: what to build.
        seed: of the initial kernels and of the dropout.
    """
    keras = backend.keras
    seeds = (int(word) for word in np.random.SeedSequence(seed).generate_state(32))
    images = keras.Input((architecture.size, architecture.size, 3), name="images")
    # VGG16's own preprocessing. Not a Normalization layer: that one leaks its constants as inputs into ONNX.
    x = keras.ops.flip(images, axis=-1)  # RGB -> BGR
    scale = architecture.pixel_scale
    x = keras.layers.Rescaling(scale, offset=[-scale * mean for mean in _IMAGENET_MEAN_BGR], name="centre")(x)
    trunk = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(architecture.size, architecture.size, 3)
    )
    for layer in trunk.layers[1:]:
        x = layer(x)
    _initialise(trunk, seeds)

    def he_normal() -> Any:  # noqa: ANN401 - a Keras initialiser
        return keras.initializers.HeNormal(seed=next(seeds))

    if architecture.head is Head.POOLED:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.BatchNormalization(name="normalise")(x)
    features = keras.layers.Dense(
        architecture.features, activation="relu", kernel_initializer=he_normal(), name="features"
    )(x)
    x = keras.layers.Dropout(architecture.dropout, seed=next(seeds), name="dropout")(features)
    # N(0, 0.01): the first probabilities are those of the bias (SW-CV-ModelZoo, JAX-CV: Dense N(0, .01)).
    small = keras.initializers.RandomNormal(stddev=0.01, seed=next(seeds))
    logits = keras.layers.Dense(architecture.tags, kernel_initializer=small, dtype="float32", name="logits")(
        x
    )  # (B, T)
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    return Network(
        architecture=architecture,
        logits=keras.Model(images, logits, name="alti2v_logits"),
        tagger=keras.Model(images, {"probabilities": probabilities, "features": features}, name="alti2v"),
    )


def freeze_before(network: Network, first: str) -> None:
    """Let VGG16's layers before `first` keep their weights."""
    for name in TRUNK_LAYERS[: TRUNK_LAYERS.index(first)]:
        network.logits.get_layer(name).trainable = False


def standardise(network: Network, pictures: npt.NDArray[np.uint8]) -> None:
    """Scale the kernels and set the biases so that, on these pictures, every channel has mean 0 and variance 1.

    Thirteen ReLU layers without normalisation otherwise start with channels that all say "how bright", and
    hundreds of steps go by before the loss falls. Data-dependent initialisation: Salimans & Kingma 2016,
    "Weight Normalization", section 3; Mishkin & Matas 2015, "All you need is a good init".

    Args:
        network: with kernels as initialised and biases of zero; changed in place, but for its last layer.
        pictures: (N, S, S, 3) RGB in [0, 255]; 64 are enough.
    """
    ops = backend.keras.ops
    x = ops.convert_to_tensor(pictures.astype(np.float32))
    for layer in network.logits.layers[1:]:
        if layer.name == "logits":
            return
        if layer.name not in (*TRUNK_LAYERS, "features"):
            x = layer(x, training=False)
            continue
        kernel = layer.kernel
        before = ops.conv(x, kernel, padding="same") if len(kernel.shape) == 4 else ops.matmul(x, kernel)
        mean, variance = ops.moments(before, axes=list(range(len(before.shape) - 1)))  # (C,)
        deviation = ops.sqrt(variance) + _LEAST_DEVIATION
        kernel.assign(kernel / deviation)
        layer.bias.assign(-mean / deviation)
        x = ops.relu((before - mean) / deviation)


def set_prior(network: Network, frequencies: Sequence[float]) -> None:
    """Set the last bias to the log-odds of each tag's frequency in (0, 1)."""
    odds = np.asarray(frequencies, np.float64)
    network.logits.get_layer("logits").bias.assign(np.log(odds / (1 - odds)).astype(np.float32))


def load_trunk(network: Network, weights: str) -> None:
    """Fill VGG16's convolutions from ImageNet (`"imagenet"`, through Keras) or from a file.

    Args:
        network: its trunk is changed in place.
        weights: "imagenet", or the path of VGG16's weights without top: Keras' own .h5, or .weights.h5.

    Raises:
        RemoteError: ImageNet's weights are not in Keras' cache and cannot be fetched.
        UsageError: the file is missing, is no weights file, or does not fit.
    """
    if weights == "imagenet":
        _require_imagenet()
    else:
        _require_weights_file(Path(weights))
    try:
        with warnings.catch_warnings():
            # Keras loads what it can of a foreign file and only warns about the rest.
            warnings.simplefilter("error", UserWarning)
            trunk = backend.keras.applications.VGG16(include_top=False, weights=weights)
    except Exception as exc:  # keras.utils.get_file raises bare Exception
        if weights == "imagenet":
            raise _unreachable(exc) from exc
        raise UsageError(
            f"{weights} does not hold the weights of VGG16 without top ({str(exc).splitlines()[0]:.150}): "
            "save them with keras.applications.VGG16(include_top=False).save_weights(PATH)"
        ) from exc
    for name in TRUNK_LAYERS:
        network.logits.get_layer(name).set_weights(trunk.get_layer(name).get_weights())


def _initialise(trunk: Any, seeds: Any) -> None:  # noqa: ANN401 - keras.Model, iterator of int
    # keras.applications starts from Glorot, under which thirteen ReLU layers without normalisation fade out:
    # He et al. 2015, "Delving Deep into Rectifiers", section 2.2.
    for name in TRUNK_LAYERS:
        kernel = trunk.get_layer(name).kernel
        kernel.assign(backend.keras.initializers.HeNormal(seed=next(seeds))(kernel.shape))


def _require_imagenet() -> None:
    """See that Keras' loader will not wait for a network that is not there."""
    # The rule of keras/src/backend/config.py, keras_home().
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    if (home / "models" / _IMAGENET_FILE).is_file():
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
        f"cannot fetch VGG16's ImageNet weights ({reason[0]:.150}): "
        "give --weights PATH of a downloaded file, or --weights none to start from scratch"
    )


def _require_weights_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"--weights {path} does not exist: give a file, imagenet or none")
    with path.open("rb") as file:
        if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
            raise UsageError(f"--weights {path} is not an HDF5 file: give VGG16's .h5 or .weights.h5")
    if path.suffix != ".h5":
        raise UsageError(f"--weights {path}: Keras tells weights by the name, rename it to end in .weights.h5")
