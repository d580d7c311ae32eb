"""Every kind of picture becomes what it became when somebody looked at it: see golden_pictures.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alti2v.dataset.images.convert import encoded_pixels
from tests.dataset.helpers.golden_pictures import GOLDEN, drawn, recipe_of

_FILES = sorted(path for path in GOLDEN.iterdir() if not path.stem.endswith(".expected"))
# Another libjpeg or libwebp rounds otherwise; a wrong mode is off by far more.
_TOLERANCE = 6


def test_there_is_a_file_for_every_kind() -> None:
    """None has been forgotten, none is left over."""
    assert sorted(path.stem for path in _FILES) == sorted(drawn())


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_picture_becomes_what_it_was_seen_to_become(path: Path) -> None:
    """Pixel by pixel, as a reader of the dataset sees them."""
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
    """What was looked at holds together: two ways to store a scene end in the same picture, nearly."""
    one, other = (np.asarray(Image.open(GOLDEN / f"{stem}.expected.png")).astype(int) for stem in (name, like))

    assert np.abs(one - other).mean() < 6
