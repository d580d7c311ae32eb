"""A backbone with a head for tags, built from its description; training and tagging share the layers.

Networks are always built by this code and only filled with stored numbers: no layer, name or function is taken
from a model file (Keras advisories CVE-2024-3660, CVE-2025-1550, CVE-2025-9905 and others).
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alti2v.arrays import Uint8Array
from alti2v.errors import UsageError, first_line
from alti2v.model import backend
from alti2v.model.network.backbones import PLAIN, application, load_weights, preprocessing
from alti2v.model.options.choices import PRECISIONS
from alti2v.model.recipes import HEAD_ONLY, Head

# Inverse standard deviation of the pixels of illustrations. Without it the features of the untrained network
# have the scale of pixels, and the first steps are wasted.
UNIT_VARIANCE = 1 / 64
# Keeps the scale of a constant channel finite.
_LEAST_DEVIATION = 1e-6
_SUGGESTIONS = 3  # layers named when there is none of the given name
# More than the kernels and dropouts of any network of keras.applications.
_SEEDS = 4096
# Name of the layer whose output the feature layer takes, unless the head is flattened. With several levels,
# the level of a layer x has the layers POOL_x and NORMALISE_x.
POOL, NORMALISE = "pool", "normalise"
# Layers that `Head.LEVELS` pools.
LEVELS = dict.fromkeys(PLAIN, ("block3_pool", "block4_pool", "block5_pool"))
# VGG16 halves the side five times.
MIN_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Description of a network, from which it can be built again.

    Attributes:
        backbone: Name of a network of keras.applications, in lower case.
        size: Side of the pictures, px, at least 32.
        tags: Number of outputs.
        head: Layers between the last block and the tags.
        features: Units of the feature layer.
        dropout: Dropout rate of the features during training.
        pixel_scale: Factor of the pixels after the backbone's own preprocessing: 1 for pretrained weights,
            `UNIT_VARIANCE` for He's initialisation of VGG16.
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
    """A network as three Keras models that share their layers.

    Attributes:
        architecture: Description that they were built from.
        trunk: Model from the same pictures to the backbone's last activations.
        logits: Model that is trained (keras.Model): (B, S, S, 3) RGB in [0, 255] -> (B, T) float32.
        tagger: Model from them to {"probabilities": (B, T), "features": (B, F)}, float32.
    """

    architecture: Architecture
    trunk: Any
    logits: Any
    tagger: Any


def build_network(architecture: Architecture, *, seed: int = 0, precision: str = "float32") -> Network:
    """Build the network with random kernels.

    Args:
        architecture: Description of the network.
        seed: Seed of the initial kernels and of the dropout.
        precision: Number format that layers compute in, one of `PRECISIONS`; weights, logits and sigmoid are
            float32.

    Raises:
        UsageError: There is no such backbone, or it needs larger pictures.
    """
    with _dtype_policy(PRECISIONS[precision]):
        return _build(architecture, seed)


def _build(architecture: Architecture, seed: int) -> Network:
    keras = backend.keras
    seeds = (int(word) for word in np.random.SeedSequence(seed).generate_state(_SEEDS))
    images = keras.Input((architecture.size, architecture.size, 3), name="images")
    trunk = _trunk(architecture, images)
    _initialise(trunk, architecture.backbone, seeds)
    x = trunk.output

    def he_normal() -> Any:  # noqa: ANN401 - a Keras initialiser
        return keras.initializers.HeNormal(seed=next(seeds))

    if architecture.head is Head.LEVELS:
        x = _pooled_levels(trunk, architecture)
    elif architecture.head is Head.POOLED:
        x = keras.layers.GlobalAveragePooling2D(name=POOL)(x)
    else:
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.BatchNormalization(name=NORMALISE)(x)
    features = keras.layers.Dense(
        architecture.features, activation="relu", kernel_initializer=he_normal(), name="features"
    )(x)
    x = keras.layers.Dropout(architecture.dropout, seed=next(seeds), name="dropout")(features)
    # N(0, 0.01), so that the bias determines the first probabilities (SW-CV-ModelZoo, JAX-CV: Dense N(0, .01)).
    small = keras.initializers.RandomNormal(stddev=0.01, seed=next(seeds))
    logits = keras.layers.Dense(architecture.tags, kernel_initializer=small, dtype="float32", name="logits")(
        x
    )  # (B, T)
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
    return Network(
        architecture=architecture,
        trunk=trunk,
        logits=keras.Model(images, logits, name="alti2v_logits"),
        tagger=keras.Model(images, {"probabilities": probabilities, "features": features}, name="alti2v"),
    )


def _pooled_levels(trunk: Any, architecture: Architecture) -> Any:  # noqa: ANN401 - keras.Model -> KerasTensor
    """Average the outputs of the last three blocks over all positions, and normalise each: (B, 1280).

    Without scale and offset, because the feature layer behind has its own.
    """
    layers = backend.keras.layers
    levels = []
    for name in LEVELS[architecture.backbone]:
        pooled = layers.GlobalAveragePooling2D(name=f"{POOL}_{name}")(trunk.get_layer(name).output)
        levels.append(layers.LayerNormalization(center=False, scale=False, name=f"{NORMALISE}_{name}")(pooled))
    return layers.Concatenate(name=POOL)(levels)


def _trunk(architecture: Architecture, images: Any) -> Any:  # noqa: ANN401 - KerasTensor -> keras.Model
    """Build the backbone behind its own preprocessing."""
    keras = backend.keras
    builder = application(architecture.backbone)
    is_reversed, scale, offset = preprocessing(architecture.backbone)
    # Not a Normalization layer, whose constants become inputs in ONNX.
    x = keras.ops.flip(images, axis=-1) if is_reversed else images
    scales = (architecture.pixel_scale * scale).tolist()
    x = keras.layers.Rescaling(
        scales[0] if len(set(scales)) == 1 else scales,
        offset=(architecture.pixel_scale * offset).tolist(),
        name="centre",
    )(x)
    try:
        return builder(include_top=False, weights=None, input_tensor=x)
    except ValueError as exc:
        raise UsageError(
            f"--backbone {architecture.backbone} does not take pictures of {architecture.size} px "
            f"({first_line(exc):.120}): build the dataset with a larger --size"
        ) from exc


@contextlib.contextmanager
def _dtype_policy(policy: str) -> Iterator[None]:
    """Set the number format of layers built in the block; keras.applications has no argument for it."""
    config = backend.keras.config
    before = config.dtype_policy()
    config.set_dtype_policy(policy)
    try:
        yield
    finally:
        config.set_dtype_policy(before)


def freeze_before(network: Network, first: str) -> None:
    """Freeze the backbone's layers before `first`; all of them for `HEAD_ONLY`.

    Raises:
        UsageError: The backbone has no such layer.
    """
    layers = network.trunk.layers
    names = [layer.name for layer in layers]
    if first not in (*names, HEAD_ONLY):
        learning = [layer.name for layer in layers if layer.trainable_weights]
        near = dict.fromkeys([learning[0], *difflib.get_close_matches(first, learning, n=_SUGGESTIONS)])
        raise UsageError(
            f"the backbone has no layer {first}: give --train-from {' or '.join(near)}, another one of its "
            f"{len(learning)} layers with weights, or {HEAD_ONLY}"
        )
    learns_from = len(names) if first == HEAD_ONLY else names.index(first)
    for number, layer in enumerate(layers):
        layer.trainable = number >= learns_from


def standardise(network: Network, pictures: Uint8Array) -> None:
    """Scale the kernels and set the biases so that, on these pictures, every channel has mean 0 and variance 1.

    Otherwise all channels of thirteen ReLU layers without normalisation first encode brightness, and it takes
    hundreds of steps until the loss falls. Data-dependent initialisation: Salimans & Kingma 2016,
    "Weight Normalization", section 3; Mishkin & Matas 2015, "All you need is a good init".

    Args:
        network: Network with VGG16 or VGG19, with initial kernels and biases of zero; changed in place, except
            for its last layer.
        pictures: (N, S, S, 3) RGB in [0, 255]; 64 are enough.
    """
    ops = backend.keras.ops
    outputs = {id(network.logits.input): ops.convert_to_tensor(pictures.astype(np.float32))}
    for layer in network.logits.operations[1:]:
        if layer.name == "logits":
            return
        if not hasattr(layer, "kernel"):
            inputs = backend.keras.tree.map_structure(lambda tensor: outputs[id(tensor)], layer.input)
            # Layers may compute in half precision.
            outputs[id(layer.output)] = ops.cast(layer(inputs), "float32")
            continue
        x = outputs[id(layer.input)]
        # As plain numbers: several processes share the variable, but each computes this separately.
        kernel = ops.convert_to_tensor(np.asarray(layer.kernel))
        before = ops.conv(x, kernel, padding="same") if len(kernel.shape) == 4 else ops.matmul(x, kernel)
        mean, variance = ops.moments(before, axes=list(range(len(before.shape) - 1)))  # (C,)
        deviation = ops.sqrt(variance) + _LEAST_DEVIATION
        layer.kernel.assign(np.asarray(kernel / deviation))
        layer.bias.assign(np.asarray(-mean / deviation))
        outputs[id(layer.output)] = ops.relu((before - mean) / deviation)


def set_prior(network: Network, frequencies: Sequence[float]) -> None:
    """Set the last bias to the log-odds of each tag's frequency, which is in (0, 1)."""
    odds = np.asarray(frequencies, np.float64)
    network.logits.get_layer("logits").bias.assign(np.log(odds / (1 - odds)).astype(np.float32))


def load_trunk(network: Network, weights: str) -> None:
    """Fill the backbone from ImageNet (`"imagenet"`) or from a file, as `backbones.load_weights` does."""
    load_weights(network.trunk, network.architecture.backbone, weights)


def _initialise(trunk: Any, backbone: str, seeds: Iterator[int]) -> None:  # noqa: ANN401 - keras.Model
    """Initialise kernels and dropouts from our seeds; Keras would use the process' random state."""
    initializers = backend.keras.initializers
    # keras.applications uses Glorot, with which activations vanish over thirteen ReLU layers:
    # He et al. 2015, "Delving Deep into Rectifiers", section 2.2.
    kind = initializers.HeNormal if backbone in PLAIN else initializers.GlorotUniform
    for weight in trunk.trainable_weights:
        if weight.name.endswith("kernel"):
            weight.assign(kind(seed=next(seeds))(weight.shape))
    # Some networks drop whole blocks during training. A generator's state is (seed, number of draws).
    for layer in trunk.layers:
        if getattr(layer, "seed_generator", None) is not None:
            layer.seed_generator.state.assign(np.array([next(seeds), 0], np.uint32))
