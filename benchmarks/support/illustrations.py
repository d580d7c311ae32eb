"""Distinct drawn pictures, and their similarity to the best resize: for the benchmarks."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from alti2v.demo.drawing.corpus import Corpus, illustration
from alti2v.demo.drawing.render import paint

SHAPE = (1000, 1230)
_DRAWN = 24


def drawn_pictures(kind: str, count: int) -> list[bytes]:
    """Combine the left half of one drawing with the right half of another; at most 576 pictures differ.

    Args:
        kind: Format that Pillow writes, followed by ", grain" for JPEGs of about 400 kB.
        count: Number of pictures.
    """
    rng = np.random.default_rng(0)
    width, height = SHAPE
    drawn = [
        np.asarray(paint(illustration(Corpus(), number).scene, width, height).convert("RGB"), np.int16)
        for number in range(_DRAWN)
    ]
    grain = rng.normal(0, 5, (height, width, 1)).astype(np.int16) if "grain" in kind else 0
    contents = []
    for number in range(count):
        left, right = divmod(number, _DRAWN)
        # The second drawing is upside down, because neighbours would share halves otherwise.
        halves = [drawn[left % _DRAWN][:, : width // 2], drawn[right][::-1, width // 2 :]]
        pixels = (np.concatenate(halves, axis=1) + grain).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        quality = 92 if "grain" in kind else 87
        Image.fromarray(pixels).save(file, kind.partition(",")[0], quality=quality, compress_level=3)
        contents.append(file.getvalue())
    return contents


def decoded(content: bytes, scale: int) -> Image.Image:
    """Decode a picture as RGB; a JPEG at 1/scale."""
    image: Image.Image = Image.open(io.BytesIO(content))
    image.draft(None, (SHAPE[0] // scale, SHAPE[1] // scale))
    image.load()
    return image.convert("RGB")


def encoded(image: Image.Image, *, quality: int) -> bytes:
    """Encode a picture as JPEG, 4:2:0."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def fitting(size: int) -> tuple[int, int]:
    """Width and height at which one of the pictures fits in a square of `size` px."""
    return (round(size * SHAPE[0] / SHAPE[1]), size)


def reference(content: bytes, size: int) -> Image.Image:
    """Decode a picture at full size, resize it by Lanczos alone, and centre it on a white square."""
    image = Image.new("RGB", (size, size), "white")
    small = decoded(content, 1).resize(fitting(size), Image.Resampling.LANCZOS)
    image.paste(small, ((size - small.width) // 2, 0))
    return image


def similarity(wanted: Sequence[Image.Image], jpegs: Sequence[bytes]) -> float:
    """Mean SSIM between JPEGs and their reference pictures."""
    import tensorflow as tf

    seen = (Image.open(io.BytesIO(jpeg)).convert("RGB") for jpeg in jpegs)
    one, other = (np.stack([np.asarray(image) for image in images]) for images in (wanted, seen))
    return float(tf.reduce_mean(tf.image.ssim(tf.constant(one), tf.constant(other), 255)))
