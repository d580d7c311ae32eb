"""AVIF files: known by their brand, measured by their boxes, whole or not, and decoded like other pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from alti2v.pictures.check import find_flaw
from alti2v.pictures.header import ImageHeader, NoPicture, PictureRefusal, read_header
from alti2v.pictures.recipe import ImageRecipe
from alti2v.pictures.square import PreparedPicture, prepare_picture
from tests.dataset.helpers.tiny_store import drawing, encoded

AVIF = encoded(drawing(3, width=120, height=80), "AVIF", quality=90)


def test_brand_and_size_are_read() -> None:
    """Also with a container's brand before it, and of sequences; HEIC is another format."""
    other_major = AVIF[:8] + b"mif1" + AVIF[12:]
    frames = [drawing(number, width=64, height=48) for number in range(3)]
    sequence = io.BytesIO()
    frames[0].save(sequence, "AVIF", save_all=True, append_images=frames[1:])

    assert read_header(AVIF) == read_header(other_major) == ImageHeader("AVIF", 120, 80)
    assert read_header(sequence.getvalue()) == ImageHeader("AVIF", 64, 48)
    heic = AVIF[:8] + b"heic" + AVIF[12:16] + b"heic" * 4 + AVIF[32:]
    assert isinstance(read_header(heic), PictureRefusal)


def test_what_is_cut_or_damaged_is_not_whole() -> None:
    """Every shorter file has a flaw, and so has one with other data; bytes behind the end do no harm."""
    cuts = range(40, len(AVIF), 37)

    for end in cuts:
        header = read_header(AVIF[:end])
        assert isinstance(header, PictureRefusal) or find_flaw("AVIF", AVIF[:end])
    assert find_flaw("AVIF", AVIF) == ""
    assert find_flaw("AVIF", AVIF + b"\0\0\0\x10free12345678") == ""
    data = AVIF.index(b"mdat") + 8
    assert find_flaw("AVIF", AVIF[:data] + bytes(len(AVIF) - data))


@pytest.mark.parametrize(
    "content", [b"\0\0\0\x18ftypavif" + bytes(12), b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\1meta" * 9]
)
def test_boxes_that_lead_nowhere_end(content: bytes) -> None:
    """A size of nothing, of more than the file, or of less than its head."""
    found = read_header(content)

    assert isinstance(found, PictureRefusal)
    assert found.kind is NoPicture.DAMAGED


def test_an_avif_becomes_a_square_like_the_same_png() -> None:
    """Decoded, put on white, and hashed."""
    drawn = drawing(3, width=120, height=80)
    prepared = [
        prepare_picture(content, ImageRecipe(size=64))
        for content in (encoded(drawn, "AVIF", quality=100), encoded(drawn, "PNG"))
    ]
    first, second = (each for each in prepared if isinstance(each, PreparedPicture))
    pixels = [np.asarray(Image.open(io.BytesIO(each.content)), int) for each in (first, second)]

    assert (first.source_width, first.source_height) == (120, 80)
    assert np.abs(pixels[0] - pixels[1]).mean() < 2
