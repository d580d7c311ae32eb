"""The ONNX graph says what the network says, in each format, for each head and any size."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alti2v.errors import DataError, UsageError
from alti2v.model.onnx import contract, writer
from alti2v.model.onnx.check_folder import open_session
from alti2v.model.onnx.contract import CONTRACTS
from alti2v.model.onnx.labels import cl_labels, deepghs_labels, native_labels, rating_constants, wd_labels
from alti2v.model.onnx.parity import TOLERANCE, as_trained, largest_difference
from alti2v.model.onnx.reduction import bicubic_weights
from alti2v.model.onnx.writer import arrange_outputs, head_weights, write_onnx
from alti2v.model.options.choices import Format
from alti2v.model.recipes import Head
from tests.model.helpers.tiny_run import TAGS, random_model

RATED = rating_constants({"general": 3})
LABELS = {
    Format.WD: wd_labels(TAGS, RATED),
    Format.WD_EMBEDDING: wd_labels(TAGS, RATED),
    Format.CL: cl_labels(TAGS, RATED),
    Format.DEEPGHS: deepghs_labels(TAGS),
    Format.ONNX: native_labels(TAGS),
}


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 99))
def test_bicubic_weights_are_those_of_pillow(source: Any, target: Any, seed: Any) -> None:
    """The matrices of the graph reduce and enlarge as Pillow does, edges included."""
    pixels = np.random.default_rng(seed).uniform(0, 255, (source, source)).astype(np.float32)
    weights = bicubic_weights(source, target).astype(np.float64)
    by_pillow = Image.fromarray(pixels).resize((target, target), Image.Resampling.BICUBIC)

    assert weights.sum(axis=1) == pytest.approx(np.ones(target), abs=1e-6)
    assert weights @ pixels @ weights.T == pytest.approx(np.asarray(by_pillow), abs=1e-2)


def test_halved_colour_is_that_of_a_jpeg() -> None:
    """At the best quality a JPEG's loss is that of its colours' resolution: within two steps of 255."""
    blocks = np.random.default_rng(1).integers(0, 256, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)
    smooth = Image.fromarray(blocks.astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    smooth.save(file, "JPEG", quality=100, subsampling="4:2:0")
    stored = np.asarray(Image.open(file)).astype(float)
    found = as_trained(np.asarray(smooth, np.float32)[None], 64, halves_colour=True)[0]

    assert np.abs(found - stored).mean() < 0.7
    assert np.abs(np.asarray(smooth).astype(float) - stored).mean() > 1.5


@pytest.fixture(scope="module")
def bundle() -> Any:
    return random_model()


def onnx_of(bundle: Any, format_: Any) -> Any:
    rows = LABELS[format_].rows
    return write_onnx(
        bundle.network,
        bundle.architecture,
        arrange_outputs(head_weights(bundle.network), rows),
        contract_of(format_),
    )


def contract_of(format_: Any) -> Any:
    """The contract as an export of a dataset of JPEGs has it."""
    return replace(CONTRACTS[format_], halves_colour=format_ is not Format.ONNX)


def difference_of(model: Any, format_: Any, bundle: Any) -> float:
    return largest_difference(model, contract_of(format_), LABELS[format_].rows, bundle)


@pytest.mark.tf
@pytest.mark.parametrize("format_", list(Format))
def test_parity(bundle: Any, format_: Any) -> None:
    """Each format answers like the network, alone and in a batch."""
    assert difference_of(onnx_of(bundle, format_), format_, bundle) <= TOLERANCE


@pytest.mark.tf
@pytest.mark.parametrize("head", [Head.FLATTENED, Head.LEVELS])
def test_parity_with_other_heads_and_an_odd_size(head: Head) -> None:
    """Flattened features of 2 x 2 positions with batch normalisation, and two pooled blocks; a size that does
    not divide 448.
    """
    other = random_model(size=72, head=head)
    for format_ in (Format.WD_EMBEDDING, Format.ONNX):
        model = onnx_of(other, format_)

        assert difference_of(model, format_, other) <= TOLERANCE


@pytest.mark.tf
def test_one_colour_by_hand(bundle: Any) -> None:
    """A plain orange picture, fed by hand as each client would, gets the network's own answer."""
    orange = np.array([250, 130, 20])
    expected = bundle.network.predict_on_batch(np.tile(orange.astype(np.float32), (1, 32, 32, 1)))
    big = np.tile(orange[::-1].astype(np.float32), (1, 448, 448, 1))
    fed = {
        Format.WD: big,
        Format.CL: (big / 127.5 - 1).transpose(0, 3, 1, 2).copy(),
        Format.ONNX: np.tile(orange.astype(np.uint8), (1, 32, 32, 1)),
    }
    for format_, pictures in fed.items():
        session = open_session(onnx_of(bundle, format_))
        values = session.run(None, {session.get_inputs()[0].name: pictures})[0][0]
        values = 1 / (1 + np.exp(-values)) if format_ is Format.CL else values
        by_output = {row.output: value for row, value in zip(LABELS[format_].rows, values, strict=True)}
        told = [output for output in by_output if output is not None]

        assert len(told) >= 10
        assert [by_output[i] for i in told] == pytest.approx(expected["probabilities"][0, told], abs=1e-5)


@pytest.mark.tf
def test_parity_sees_a_swapped_row_and_a_swapped_colour(bundle: Any) -> None:
    """The comparison fails where it should: rows in another order, colours in another order."""
    model = onnx_of(bundle, Format.WD)
    rows = LABELS[Format.WD].rows
    swapped = (*rows[:4], rows[5], rows[4], *rows[6:])

    assert largest_difference(model, contract_of(Format.WD), swapped, bundle) > 1e-3
    contract = contract_of(Format.WD)
    turned = replace(contract, bgr=not contract.bgr)
    weights = arrange_outputs(head_weights(bundle.network), rows)
    model = write_onnx(bundle.network, bundle.architecture, weights, turned)
    assert largest_difference(model, contract, rows, bundle) > 1e-3


@pytest.mark.tf
@pytest.mark.parametrize("backbone", ["resnet50v2", "efficientnetv2s", "convnexttiny"])
def test_other_backbones_answer_as_in_keras(backbone: str) -> None:
    """Every layer of the supported networks is written exactly: pictures give the same probabilities."""
    bundle = random_model(backbone=backbone)
    for format_ in (Format.ONNX, Format.WD):
        model = onnx_of(bundle, format_)
        assert largest_difference(model, contract_of(format_), LABELS[format_].rows, bundle) <= TOLERANCE


@pytest.mark.tf
def test_backbone_with_an_unknown_layer_is_refused() -> None:
    """The message names the layer and backbones that can be written."""
    with pytest.raises(UsageError, match=r"SeparableConv2D, which cannot be written .*resnet50v2"):
        onnx_of(random_model(backbone="xception", size=71), Format.ONNX)


@pytest.mark.tf
def test_constants_do_not_depend_on_the_picture(bundle: Any) -> None:
    """The four ratings are what `rating_constants` says, of any picture."""
    session = open_session(onnx_of(bundle, Format.WD))
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 448, 448, 3)).astype(np.float32)
    values = session.run(None, {"input": pictures})[0]

    assert values[:, :4] == pytest.approx(np.array([[4, 1, 1, 1]] * 2) / 7, abs=1e-6)
    assert not np.allclose(values[0, 4:], values[1, 4:])


@pytest.mark.tf
def test_equal_networks_give_equal_bytes(bundle: Any) -> None:
    """Nothing of the time or of a random name gets into the file."""
    assert onnx_of(bundle, Format.WD) == onnx_of(bundle, Format.WD)


@pytest.mark.tf
def test_mixed_precision_is_exported_in_float32() -> None:
    """A network that computes in bfloat16 is exported with its float32 weights, and compared in float32."""
    mixed = random_model(precision="bfloat16")
    model = onnx_of(mixed, Format.WD)

    assert mixed.network.get_layer("features").compute_dtype == "bfloat16"
    assert largest_difference(model, contract_of(Format.WD), LABELS[Format.WD].rows, mixed) <= TOLERANCE


@pytest.mark.tf
def test_a_network_larger_than_a_file_can_be_is_refused(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line instead of a file that no client loads."""
    monkeypatch.setattr(writer, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="2 GiB"):
        onnx_of(bundle, Format.WD)

    assert contract.MAX_BYTES == 2**31 - 1
