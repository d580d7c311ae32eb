"""Pixels of a still WebP are those that Pillow decodes, and what Pillow refuses is left to it."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alti2v.pictures.webp_pixels import still_pixels
from tests.dataset.helpers.tiny_store import drawing, encoded
from tests.pictures.helpers.corpus import cut, decoded_of, flipped
from tests.pictures.helpers.files import WIDE_GAMUT, matrix_profile
from tests.pictures.helpers.pillow import by_pillow, opened


def quick(content: bytes) -> Image.Image | None:
    """The picture as it is decoded without Pillow; None if it is left to Pillow, or Pillow does not open it."""
    try:
        image = opened(content, "WEBP")
    except Exception:  # noqa: BLE001 - decoders raise nearly anything
        return None
    return still_pixels(image, content)


def facts(image: Image.Image | None) -> object:
    """All that counts of a picture."""
    assert image is not None
    notes = [image.info.get(name) for name in ("icc_profile", "exif", "xmp")]
    return image.mode, image.size, notes, image.tobytes()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """WebP files: lossy and lossless, with alpha and without, with notes and without."""
    image = drawing(draw(st.integers(0, 9)), width=draw(st.integers(1, 70)), height=draw(st.integers(1, 50)))
    if draw(st.booleans()):
        image = image.convert("RGBA")
        image.putalpha(drawing(3, width=image.width, height=image.height).convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    saving: dict[str, Any] = {
        "quality": draw(st.integers(0, 100)),
        "lossless": draw(st.booleans()),
        "method": 0,
    }
    saving |= draw(st.sampled_from(({}, {"exif": exif}, {"icc_profile": matrix_profile(*WIDE_GAMUT)})))
    return encoded(image, "WEBP", **saving)


@settings(max_examples=150, deadline=None)
@given(content=files())
def test_a_still_picture_is_what_pillow_decodes(content: bytes) -> None:
    """Mode, pixels, profile and orientation."""
    assert facts(quick(content)) == facts(by_pillow(content, "WEBP"))


@settings(max_examples=300, deadline=None)
@given(content=files(), rng=st.randoms(use_true_random=False))
def test_a_damaged_picture_is_what_pillow_decodes_or_left_to_it(content: bytes, rng: random.Random) -> None:
    """Bits flip, or the end is missing."""
    damaged = rng.choice((flipped, cut))(rng, content)
    found = quick(damaged)

    assert found is None or facts(found) == facts(by_pillow(damaged, "WEBP"))


def test_the_orientation_of_a_still_picture_counts() -> None:
    """It is read from the notes that Pillow has found."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(drawing(1, width=40, height=30), "WEBP", exif=exif)

    assert quick(content) is not None
    assert getattr(decoded_of(content), "orientation", None) == 6


def test_an_animation_is_left_to_pillow() -> None:
    """Its first frame counts, drawn on its canvas."""
    frames = [drawing(seed, width=40, height=30) for seed in (1, 2)]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)

    assert quick(content) is None
    assert getattr(decoded_of(content), "size", None) == (40, 30)
