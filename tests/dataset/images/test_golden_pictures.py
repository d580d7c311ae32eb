"""Every kind of picture gives the result that was inspected once: see golden_pictures.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alti2v.pictures.square import encoded_pixels
from tests.dataset.helpers.golden_pictures import GOLDEN, drawn, recipe_of

_FILES = sorted(path for path in GOLDEN.iterdir() if not path.stem.endswith(".expected"))
# Other versions of libjpeg and libwebp round differently; a wrong mode differs by far more.
_TOLERANCE = 6


def test_there_is_a_file_for_every_kind() -> None:
    """There is exactly one file for each kind of picture."""
    assert sorted(path.stem for path in _FILES) == sorted(drawn())


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_picture_becomes_what_it_was_seen_to_become(path: Path) -> None:
    """Pixel by pixel, as a reader of the dataset decodes them."""
    prepared = encoded_pixels(path.read_bytes(), recipe_of(path.stem))
    with Image.open(GOLDEN / f"{path.stem}.expected.png") as image:
        expected = np.asarray(image).astype(int)

    assert isinstance(prepared, np.ndarray), prepared
    assert np.abs(prepared - expected).max() <= _TOLERANCE


@pytest.mark.parametrize(
    ("name", "like"),
    [
        *((f"orientation-{number}", "letterbox-wide") for number in range(1, 9)),
        *((name, "letterbox-wide") for name in ("progressive", "16-bit-colour", "ycck", "cmyk", "webp-wide")),
        *((f"animation-{kind}", "letterbox-wide") for kind in ("gif", "png", "webp")),
        ("16-bit-grey", "grey"),
        ("icc-png", "icc-jpeg"),
        ("alpha-webp", "alpha-png"),
        ("palette-transparency", "alpha-gif"),
    ],
)
def test_pictures_of_the_same_scene_look_alike(name: str, like: str) -> None:
    """Two encodings of a scene give nearly the same picture."""
    one, other = (np.asarray(Image.open(GOLDEN / f"{stem}.expected.png")).astype(int) for stem in (name, like))

    assert np.abs(one - other).mean() < 6
