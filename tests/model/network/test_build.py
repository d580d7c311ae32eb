"""The network: VGG16's preprocessing, the recipes' heads, and initial weights."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.errors import RemoteError, UsageError
from alti2v.model import backend
from alti2v.model.network.backbones import application, preprocessing
from alti2v.model.network.build import (
    UNIT_VARIANCE,
    Architecture,
    build_network,
    freeze_before,
    load_trunk,
    set_prior,
    standardise,
)
from alti2v.model.network.losses import loss_of
from alti2v.model.options.choices import TRUNK_LAYERS
from alti2v.model.recipes import Head, Loss

pytestmark = pytest.mark.tf


def architecture(**fields: Any) -> Any:
    return Architecture(**{"size": 32, "tags": 5, "head": Head.POOLED, "features": 8, "dropout": 0.0, **fields})


@pytest.fixture(scope="module")
def network() -> Any:
    return build_network(architecture(), seed=1)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """VGG16's weights without top, as Keras saves them."""
    path = tmp_path_factory.mktemp("weights") / "vgg16.weights.h5"
    backend.keras.utils.set_random_seed(11)
    backend.keras.applications.VGG16(include_top=False, weights=None).save_weights(path)
    return path


def pictures(count: Any = 2, size: Any = 32) -> Any:
    return np.random.default_rng(2).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_outputs(network: Any) -> None:
    """uint8 or float pictures give float32 probabilities and features; batch and single agree."""
    images = pictures()
    outputs = network.tagger.predict_on_batch(images)

    assert {name: (value.shape, str(value.dtype)) for name, value in outputs.items()} == {
        "probabilities": ((2, 5), "float32"),
        "features": ((2, 8), "float32"),
    }
    as_float = network.tagger.predict_on_batch(images.astype(np.float32))
    one = network.tagger.predict_on_batch(images[1:])
    np.testing.assert_array_equal(outputs["probabilities"], as_float["probabilities"])
    np.testing.assert_allclose(outputs["probabilities"][1:], one["probabilities"], rtol=1e-5)


def test_probabilities_are_the_sigmoid_of_the_logits(network: Any) -> None:
    """The tagger and the trained model are two views of the same layers."""
    images = pictures()
    logits = network.logits.predict_on_batch(images)

    np.testing.assert_allclose(
        network.tagger.predict_on_batch(images)["probabilities"], 1 / (1 + np.exp(-logits)), rtol=1e-5
    )


def test_trunk_is_vgg16_with_its_own_preprocessing(network: Any, weights_file: Any) -> None:
    """With weights from a file, the head sees what keras.applications computes from preprocess_input."""
    load_trunk(network, str(weights_file))
    keras = backend.keras
    reference = keras.applications.VGG16(include_top=False, weights=str(weights_file), pooling="avg")
    images = pictures()
    prepared = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    expected = reference.predict_on_batch(prepared)

    trunk = keras.Model(network.logits.input, network.logits.get_layer("pool").output)

    np.testing.assert_allclose(trunk.predict_on_batch(images), expected, rtol=1e-4, atol=1e-4)


def test_levels_are_the_normalised_averages_of_three_blocks(weights_file: Any) -> None:
    """The feature layer sees the last three blocks, each pooled, with mean 0 and variance 1."""
    network = build_network(architecture(head=Head.LEVELS))
    load_trunk(network, str(weights_file))
    keras = backend.keras
    reference = keras.applications.VGG16(include_top=False, weights=str(weights_file))
    blocks = keras.Model(reference.input, [reference.get_layer(f"block{n}_pool").output for n in (3, 4, 5)])
    images = pictures()
    expected = []
    for maps in blocks.predict_on_batch(keras.applications.vgg16.preprocess_input(images.astype(np.float32))):
        pooled = np.asarray(maps).mean(axis=(1, 2))
        centred = pooled - pooled.mean(axis=1, keepdims=True)
        expected.append(centred / np.sqrt(pooled.var(axis=1, keepdims=True) + 1e-3))

    found = keras.Model(network.logits.input, network.logits.get_layer("pool").output).predict_on_batch(images)

    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-3)


def test_fresh_network_is_awake() -> None:
    """In a fresh network, features neither vanish nor explode over thirteen layers."""
    network = build_network(architecture(features=256, pixel_scale=UNIT_VARIANCE), seed=4)
    features = network.tagger.predict_on_batch(pictures(8))["features"]

    assert 0.01 < features.std() < 10
    assert (features > 0).any(axis=0).mean() > 0.3


def test_start_depends_on_the_seed_alone() -> None:
    """The same seed gives the same weights; another seed gives others."""
    first, again, other = (build_network(architecture(), seed=seed).logits.get_weights() for seed in (1, 1, 2))

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_dropouts_of_a_backbone_depend_on_the_seed_alone() -> None:
    """EfficientNet drops blocks during training; two networks with one seed drop the same ones."""
    chosen = architecture(backbone="efficientnetb0")
    first, again, other = (build_network(chosen, seed=seed).logits for seed in (1, 1, 2))
    states = [[np.asarray(variable) for variable in network.variables] for network in (first, again, other)]

    assert all(np.array_equal(a, b) for a, b in zip(states[0], states[1], strict=True))
    drawn = [[state.tolist() for state in values if state.shape == (2,)] for values in states]
    assert len(drawn[0]) == 9
    assert not set(map(tuple, drawn[0])) & set(map(tuple, drawn[2]))


def test_seed_head() -> None:
    """The original's head: flattened, normalised, one dense layer, dropout, sigmoid."""
    network = build_network(architecture(head=Head.FLATTENED, features=16, dropout=0.3, size=64))

    assert [layer.name for layer in network.logits.layers[-5:]] == [
        "flatten",
        "normalise",
        "features",
        "dropout",
        "logits",
    ]
    assert network.logits.get_layer("features").kernel.shape == (2 * 2 * 512, 16)


def test_prior_is_predicted_before_training() -> None:
    """With a kernel of zero, the first probabilities are the tags' frequencies."""
    network = build_network(architecture())
    set_prior(network, [0.5, 0.1, 0.01, 0.9, 0.3])
    layer = network.logits.get_layer("logits")
    layer.kernel.assign(np.zeros(layer.kernel.shape))

    np.testing.assert_allclose(
        network.tagger.predict_on_batch(pictures(1))["probabilities"][0], [0.5, 0.1, 0.01, 0.9, 0.3], rtol=1e-5
    )


def test_freezing_before_a_layer() -> None:
    """Layers before the named one are frozen, that one and later ones learn, as in the original."""
    network = build_network(architecture())
    freeze_before(network, "block4_conv2")

    frozen = [name for name in TRUNK_LAYERS if not network.logits.get_layer(name).trainable]
    assert frozen == list(TRUNK_LAYERS[: TRUNK_LAYERS.index("block4_conv2")])
    # The original froze `layers[:12]` of Keras' list, which begins with the input.
    trunk = backend.keras.applications.VGG16(include_top=False, weights=None)
    assert trunk.layers[12].name == "block4_conv2"


def test_a_layer_that_is_not_there_is_a_short_line() -> None:
    """The option and a few names are told, however many layers the backbone has."""
    network = build_network(architecture())
    with pytest.raises(
        UsageError, match="no layer block9_conv2: give --train-from block1_conv1 or block"
    ) as nearest:
        freeze_before(network, "block9_conv2")
    with pytest.raises(UsageError, match="give --train-from block1_conv1, another one") as found:
        freeze_before(network, "zzz")

    assert len(str(nearest.value)) < 180
    assert len(str(found.value)) < 180


def test_imagenet_without_network_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline, the message quickly names the alternatives."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: refuses at once

    with pytest.raises(RemoteError, match="--weights none") as caught:
        load_trunk(build_network(architecture()), "imagenet")
    assert "--weights PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_weights_file(network: Any) -> None:
    """A path that does not exist is named."""
    with pytest.raises(UsageError, match="does not exist"):
        load_trunk(network, "no/such/file.h5")


@pytest.mark.parametrize("name", ["weights.pkl", "weights.h5"])
def test_pickle_is_refused_unread(network: Any, tmp_path: Path, name: Any) -> None:
    """A pickle is refused by its first bytes under any name, and is never unpickled."""

    class Boom:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("the pickle was loaded",))

    path = tmp_path / name
    path.write_bytes(pickle.dumps(Boom()))

    with pytest.raises(UsageError, match="not an HDF5 file"):
        load_trunk(network, str(path))


def test_foreign_weights_do_not_fit(network: Any, tmp_path: Path) -> None:
    """Weights of another network are refused in one line."""
    keras = backend.keras
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(path)

    with pytest.raises(UsageError, match="does not hold the weights of VGG16") as caught:
        load_trunk(network, str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", [Head.POOLED, Head.LEVELS])
def test_a_standardised_start_gives_every_channel_mean_0_and_variance_1(head: Head) -> None:
    """The input of each ReLU has mean 0 and variance 1 on the pictures used to standardise it."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (64, 32, 32, 3), np.uint8)
    network = build_network(architecture(head=head, features=32, pixel_scale=UNIT_VARIANCE), seed=4)
    standardise(network, images)
    ops = backend.keras.ops
    checked = 0
    for layer in network.logits.layers[1:]:
        if layer.name in (*TRUNK_LAYERS, "features"):
            kernel, bias = layer.get_weights()
            x = backend.keras.Model(network.logits.input, layer.input)(images, training=False)
            before = ops.conv(x, kernel, padding="same") if kernel.ndim == 4 else ops.matmul(x, kernel)
            before = np.asarray(before) + bias
            axes = tuple(range(before.ndim - 1))
            checked += 1

            np.testing.assert_allclose(before.mean(axes), 0, atol=0.02)
            np.testing.assert_allclose(before.std(axes), 1, atol=0.02)

    assert checked == len(TRUNK_LAYERS) + 1


@pytest.mark.parametrize(
    "name", ["vgg19", "densenet121", "resnet50", "resnet50v2", "efficientnetb0", "nasnetmobile"]
)
def test_preprocessing_is_that_of_the_backbone(name: Any) -> None:
    """The derived scale and offset equal `preprocess_input` on any picture."""
    is_reversed, scale, offset = preprocessing(name)
    images = pictures().astype(np.float32)
    expected = sys.modules[application(name).__module__].preprocess_input(images.copy())

    actual = (images[..., ::-1] if is_reversed else images) * scale + offset

    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("name", "size"), [("mobilenetv3small", 32), ("resnet50v2", 32)])
def test_other_backbones_train(name: Any, size: Any) -> None:
    """A named backbone gets the pixels of its own `preprocess_input`, and can be trained."""
    keras = backend.keras
    network = build_network(architecture(backbone=name, size=size), seed=1)
    images = pictures(2, size)
    module = sys.modules[application(name).__module__]
    reference = application(name)(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    reference.set_weights(network.trunk.get_weights())
    expected = np.asarray(reference(module.preprocess_input(images.astype(np.float32)), training=False))

    pooled = keras.Model(network.logits.input, network.logits.get_layer("pool").output)
    actual = np.asarray(pooled(images, training=False))

    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    # Eagerly: to trace a graph of hundreds of layers takes longer than this one step.
    network.logits.compile("sgd", loss_of(Loss.SUMMED, None), jit_compile=False, run_eagerly=True)
    assert np.isfinite(network.logits.train_on_batch(images, np.ones((2, 5), np.float32)))


def test_unknown_backbones_and_sizes_are_named() -> None:
    """An unknown backbone, or pictures too small for it, end in one line."""
    with pytest.raises(UsageError, match=r"--backbone vgg99 is not in keras\.applications"):
        build_network(architecture(backbone="vgg99"))
    with pytest.raises(UsageError, match="larger --size"):
        build_network(architecture(backbone="inceptionv3", size=32))
