"""Draws the illustrations of the stand-in board."""

from __future__ import annotations

import io
from collections.abc import Iterable

from PIL import Image, ImageDraw

from alti2v.demo.corpus import Corpus, illustration

SAMPLE_WIDTH = 850
THUMBNAIL_SIDE = 150


def original(corpus: Corpus, number: int) -> bytes:
    """Draw the original file: JPEG, PNG or GIF as its `file_ext` says, of the promised size."""
    what = illustration(corpus, number)
    stream = io.BytesIO()
    picture = _picture(corpus, number)
    picture.save(stream, {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}[what.file_ext])
    return stream.getvalue()


def sample(corpus: Corpus, number: int) -> bytes:
    """Draw the sample, a JPEG 850 px wide; boards have one only where the original is wider."""
    picture = _picture(corpus, number)
    height = round(picture.height * SAMPLE_WIDTH / picture.width)
    return _jpeg(picture.resize((SAMPLE_WIDTH, height)))


def thumbnail(corpus: Corpus, number: int) -> bytes:
    """Draw the thumbnail, a JPEG whose longer side has 150 px."""
    picture = _picture(corpus, number)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return _jpeg(picture)


def contact_sheet(
    corpus: Corpus, numbers: Iterable[int], *, columns: int = 8, cell_px: int = 160
) -> Image.Image:
    """Lay out pictures side by side."""
    numbers = list(numbers)
    sheet = Image.new("RGB", (columns * cell_px, -(-len(numbers) // columns) * cell_px), "white")
    for place, number in enumerate(numbers):
        picture = _picture(corpus, number)
        picture.thumbnail((cell_px, cell_px))
        sheet.paste(picture, (place % columns * cell_px, place // columns * cell_px))
    return sheet


def _picture(corpus: Corpus, number: int) -> Image.Image:
    what = illustration(corpus, number)
    picture = Image.new("RGB", (what.width, what.height), (180 + number % 60, 200, 220))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((what.width * 0.3, what.height * 0.2, what.width * 0.7, what.height * 0.6), fill="bisque")
    return picture


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    return stream.getvalue()
