"""Draw the illustrations of `corpus.py` with Pillow: originals, samples, thumbnails, a contact sheet.

Everything is drawn at twice the size and reduced, which smooths all edges.
"""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from alti2v.demo.drawing.background.backdrop import draw_backdrop
from alti2v.demo.drawing.background.canvas import Canvas
from alti2v.demo.drawing.background.effects import draw_effect, draw_frame
from alti2v.demo.drawing.corpus import Corpus, Edit, Illustration, illustration
from alti2v.demo.drawing.figure.figure import draw_figure
from alti2v.demo.drawing.pen import Pen
from alti2v.demo.drawing.scene import Scene

SAMPLE_WIDTH = 850
"""Width of samples, px; posts whose original is not wider have no sample."""

THUMBNAIL_SIDE = 150
"""Longer side of thumbnails, px."""

_OVERSAMPLING = 2
_MAX_PIXELS = 2_200_000  # before oversampling; larger originals are drawn smaller and enlarged
_QUALITY = 88


def original(corpus: Corpus, number: int) -> bytes:
    """Draw the original, in the format and size that the illustration states."""
    what = illustration(corpus, number)
    picture = _picture(corpus, number)
    if what.file_ext == "jpg":
        return _jpeg(picture, quality=what.edit.quality if what.edit else _QUALITY)
    stream = io.BytesIO()
    if what.file_ext == "gif":
        picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(stream, "GIF")
    else:
        picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def sample(corpus: Corpus, number: int) -> bytes:
    """Draw the sample, a JPEG of `SAMPLE_WIDTH`."""
    picture = _on_white(_picture(corpus, number))
    height = round(picture.height * SAMPLE_WIDTH / picture.width)
    return _jpeg(picture.resize((SAMPLE_WIDTH, height), Image.Resampling.BOX), quality=_QUALITY)


def thumbnail(corpus: Corpus, number: int) -> bytes:
    """Draw the thumbnail, a JPEG."""
    picture = _on_white(_picture(corpus, number))
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2.0)
    return _jpeg(picture, quality=_QUALITY)


def paint(scene: Scene, width: int, height: int) -> Image.Image:
    """Draw a scene at any size, px: RGB, L if it has no colours, or RGBA if its background is transparent."""
    shrink = min(1.0, (_MAX_PIXELS / (width * height)) ** 0.5)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    is_transparent = scene.background == "transparent"
    canvas = Image.new(
        "RGBA" if is_transparent else "RGB",
        (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING),
        (255, 255, 255, 0) if is_transparent else (255, 255, 255),
    )
    _draw_scene(canvas, scene)
    picture = canvas.reduce(_OVERSAMPLING)
    if size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return _in_palette(picture, scene)


def contact_sheet(
    corpus: Corpus, numbers: Iterable[int], *, columns: int = 8, cell_px: int = 128
) -> Image.Image:
    """Arrange pictures in a grid, each cropped to a square of `cell_px`."""
    pictures = [_on_white(_picture(corpus, number)) for number in numbers]
    gap = max(2, cell_px // 40)
    rows = -(-len(pictures) // columns)
    size = (columns * (cell_px + gap) + gap, rows * (cell_px + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    for place, picture in enumerate(pictures):
        cell = ImageOps.fit(picture.convert("RGB"), (cell_px, cell_px), centering=(0.5, 0.3))
        row, column = divmod(place, columns)
        sheet.paste(cell, (gap + column * (cell_px + gap), gap + row * (cell_px + gap)))
    return sheet


def showcase(corpus: Corpus, count: int) -> list[int]:
    """Choose the first pictures whose places and characters differ from their neighbours'."""
    chosen: list[int] = []
    lately: deque[set[str]] = deque(maxlen=6)
    for number in range(corpus.pictures):
        what = illustration(corpus, number)
        shows = {what.scene.background, *what.true_tags.character}
        if what.near_duplicate_of is None and not any(shows & other for other in lately):
            chosen.append(number)
            lately.append(shows)
        if len(chosen) == count:
            break
    return chosen


# The original and the sample of a picture are drawn one after the other; 8 pictures take about 25 MB.
@lru_cache(maxsize=8)
def _picture(corpus: Corpus, number: int) -> Image.Image:
    """Draw the finished picture at its original size: RGB, L or RGBA."""
    what = illustration(corpus, number)
    if what.near_duplicate_of is None or what.edit is None:
        return paint(what.scene, what.width, what.height)
    return _edited(_picture(corpus, what.near_duplicate_of), what, what.edit)


def _draw_scene(canvas: Image.Image, scene: Scene) -> None:
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    rng = Random(scene.detail)  # noqa: S311 - pictures, not secrets
    unit_px, head_y = _framing(scene, width, height)
    page = Pen(
        draw=draw,
        artist=scene.artist,
        matrix=np.eye(2) * height,
        origin=np.zeros(2),
        line_px=max(1.5, scene.artist.line / 120 * unit_px**0.5 * (height / 6) ** 0.5),
    )
    aspect = width / height
    # A tilted picture is drawn larger, so that no corner stays empty.
    grown = 1.0 + 0.3 * max(aspect, 1 / aspect) if scene.tilt else 1.0
    centre = page.moved(aspect / 2, 0.5, turn=scene.tilt)
    tilted = centre.moved(-aspect / 2 * grown, -0.5 * grown, scale=grown)
    backdrop = Canvas(tilted, aspect, rng)
    draw_backdrop(backdrop, scene)
    flip = -1.0 if scene.is_mirrored else 1.0
    count = len(scene.figures)
    for place, figure in enumerate(scene.figures):
        x = (place - (count - 1) / 2) * 2.9 * unit_px / height + scene.offset * aspect
        stand = centre.moved(x, head_y / height - 0.5, scale=unit_px / height, stretch=flip)
        draw_figure(stand, figure, scene, rng)
    draw_effect(replace(backdrop, pen=page), scene)
    draw_frame(replace(backdrop, pen=page), scene)


# Upper edge, lower edge and width of each framing, in head units from the head's centre.
_WINDOWS = {
    "portrait": (-1.85, 1.75, 2.7),
    "upper_body": (-1.9, 3.15, 3.1),
    "cowboy_shot": (-2.0, 4.8, 3.6),
    "full_body": (-2.1, 6.6, 4.2),
    "chibi": (-2.2, 4.15, 3.8),
}


def _framing(scene: Scene, width: int, height: int) -> tuple[float, float]:
    """Size of a head unit and height of the head's centre, px."""
    top, bottom, breadth = _WINDOWS[scene.framing]
    if any(figure.headwear in {"witch_hat", "santa_hat"} for figure in scene.figures):
        top -= 0.5
    breadth += 2.7 * max(0, len(scene.figures) - 1)
    unit_px = min(height / (bottom - top), width / breadth)
    spare = height - unit_px * (bottom - top)
    return unit_px, -top * unit_px + spare * 0.6


def _in_palette(picture: Image.Image, scene: Scene) -> Image.Image:
    match scene.palette:
        case "greyscale":
            return picture.convert("L")
        case "sepia":
            return ImageOps.colorize(picture.convert("L"), (44, 26, 14), (255, 244, 220), mid=(176, 128, 84))
        case "blueprint":
            return ImageOps.colorize(picture.convert("L"), (10, 20, 70), (238, 246, 255), mid=(84, 130, 220))
        case _:
            return picture


def _edited(picture: Image.Image, what: Illustration, edit: Edit) -> Image.Image:
    left, top, right, bottom = edit.crop
    box = (
        left * picture.width,
        top * picture.height,
        (1 - right) * picture.width,
        (1 - bottom) * picture.height,
    )
    picture = _on_white(picture)
    if picture.size != (what.width, what.height):
        picture = picture.resize((what.width, what.height), Image.Resampling.BILINEAR, box=box)
    if edit.brightness != 1:
        picture = ImageEnhance.Brightness(picture).enhance(edit.brightness)
    if edit.saturation != 1 and picture.mode == "RGB":
        picture = ImageEnhance.Color(picture).enhance(edit.saturation)
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    """Copy a picture without transparency."""
    if picture.mode != "RGBA":
        return picture.copy()
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _jpeg(picture: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _main(arguments: list[str]) -> None:
    """Write a contact sheet: `python -m alti2v.demo.drawing.render OUT.jpg`."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m alti2v.demo.drawing.render OUT.jpg")
    corpus = Corpus()
    contact_sheet(corpus, showcase(corpus, 48)).save(Path(arguments[0]), quality=80, optimize=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
