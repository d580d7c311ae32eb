"""The ONNX graph says what the network says, in each format, for each head and any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alti2v.errors import DataError
from alti2v.model.onnx import contract, writer
from alti2v.model.onnx.check_folder import open_session
from alti2v.model.onnx.contract import CONTRACTS, Format
from alti2v.model.onnx.labels import cl_labels, native_labels, rating_constants, wd_labels
from alti2v.model.onnx.parity import TOLERANCE, area_average, largest_difference
from alti2v.model.onnx.writer import area_weights, arrange_outputs, weights_of, write_onnx
from alti2v.model.recipes import Head
from tests.model.helpers.tiny_run import TAGS, random_model

RATED = rating_constants({"general": 3})
LABELS = {
    Format.WD: wd_labels(TAGS, RATED),
    Format.WD_EMBEDDING: wd_labels(TAGS, RATED),
    Format.CL: cl_labels(TAGS, RATED),
    Format.ONNX: native_labels(TAGS),
}


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
def test_area_weights_average_and_lose_nothing(source: Any, target: Any) -> None:
    """Every target pixel is an average, and every source pixel counts as much as any other."""
    weights = area_weights(source, target)

    assert weights.sum(axis=1) == pytest.approx(np.ones(target), abs=1e-6)
    assert weights.sum(axis=0) == pytest.approx(np.full(source, target / source), rel=1e-5)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_area_weights_are_area_average(source: Any, target: Any, seed: Any) -> None:
    """The matrices of the graph and the running sums of the comparison are two ways to one result."""
    pixels = np.random.default_rng(seed).uniform(0, 255, (1, source, source, 1)).astype(np.float32)
    weights = area_weights(source, target).astype(np.float64)
    expected = weights @ pixels[0, ..., 0] @ weights.T

    assert area_average(pixels, target)[0, ..., 0] == pytest.approx(expected, abs=1e-3)


def test_area_average_is_a_box_where_it_divides() -> None:
    """Where the sizes divide, Pillow's box filter gives the same."""
    pixels = np.random.default_rng(1).integers(0, 256, (448, 448)).astype(np.float32)
    box = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX)

    assert area_average(pixels[np.newaxis, ..., np.newaxis], 64)[0, ..., 0] == pytest.approx(
        np.asarray(box), abs=1e-3
    )


@pytest.fixture(scope="module")
def bundle() -> Any:
    return random_model()


def onnx_of(bundle: Any, format_: Any) -> Any:
    rows = LABELS[format_].rows
    return write_onnx(
        bundle.architecture, arrange_outputs(weights_of(bundle.network), rows), CONTRACTS[format_]
    )


@pytest.mark.tf
@pytest.mark.parametrize("format_", list(Format))
def test_parity(bundle: Any, format_: Any) -> None:
    """Each format answers like the network, alone and in a batch."""
    difference = largest_difference(onnx_of(bundle, format_), CONTRACTS[format_], LABELS[format_].rows, bundle)

    assert difference <= TOLERANCE


@pytest.mark.tf
def test_parity_with_the_originals_head_and_an_odd_size() -> None:
    """Flattened features of 2 x 2 positions with batch normalisation, and a size that does not divide 448."""
    other = random_model(size=72, head=Head.FLATTENED)
    for format_ in (Format.WD_EMBEDDING, Format.ONNX):
        model = onnx_of(other, format_)

        assert largest_difference(model, CONTRACTS[format_], LABELS[format_].rows, other) <= TOLERANCE


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

    assert largest_difference(model, CONTRACTS[Format.WD], swapped, bundle) > 1e-3
    weights = dict(weights_of(bundle.network))
    weights["block1_conv1/kernel"] = weights["block1_conv1/kernel"][:, :, ::-1]
    turned = write_onnx(bundle.architecture, arrange_outputs(weights, rows), CONTRACTS[Format.WD])
    assert largest_difference(turned, CONTRACTS[Format.WD], rows, bundle) > 1e-3


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
    assert largest_difference(model, CONTRACTS[Format.WD], LABELS[Format.WD].rows, mixed) <= TOLERANCE


@pytest.mark.tf
def test_a_network_larger_than_a_file_can_be_is_refused(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line instead of a file that no client loads."""
    monkeypatch.setattr(writer, "MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="2 GiB"):
        onnx_of(bundle, Format.WD)

    assert contract.MAX_BYTES == 2**31 - 1
