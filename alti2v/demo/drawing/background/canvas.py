"""Canvas for backgrounds, and the shapes that several backgrounds share.

The unit of length is the picture's height; (0, 0) is its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from alti2v.demo.drawing.colours import Colour, blended
from alti2v.demo.drawing.pen import Pen, bends, ellipse, polygon, star

_BANDS = 72  # steps of a gradient; more cannot be told apart


@dataclass(frozen=True, slots=True)
class Canvas:
    """Area of a background: its pen, its width in units of its height, and the generator of its details."""

    pen: Pen
    width: float
    rng: Random


def box(pen: Pen, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    """Fill an upright rectangle."""
    pen.fill(polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)


def gradient(canvas: Canvas, top: Colour, bottom: Colour, *, start: float = 0.0, end: float = 1.0) -> None:
    """Fill the whole width with a gradient from `top` at height `start` to `bottom` at height `end`."""
    top, bottom = canvas.pen.tone(top), canvas.pen.tone(bottom)
    height = (end - start) / _BANDS
    for band in range(_BANDS):
        y = start + height * band
        colour = blended(top, bottom, (band + 0.5) / _BANDS)
        canvas.pen.fill(_BAND * (canvas.width, height * 1.2) + (0, y), colour)  # no gap where edges are rounded


_BAND = polygon((0, 0), (1, 0), (1, 1), (0, 1))


def _cloud(pen: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    for dx, dy, radius in (
        (-0.9, 0.06, 0.4),
        (-0.4, -0.2, 0.52),
        (0.2, -0.34, 0.62),
        (0.75, -0.08, 0.46),
        (1.2, 0.1, 0.3),
    ):
        pen.fill(ellipse(x + dx * size, y + dy * size, radius * size, radius * size * 0.82), colour)
    pen.fill(ellipse(x + 0.1 * size, y + 0.18 * size, 1.35 * size, 0.28 * size), colour)


def draw_clouds(
    canvas: Canvas, colour: Colour, shadow: Colour, *, lowest: float = 0.75, count: int = 4
) -> None:
    """Draw clouds at random places above the height `lowest`."""
    for _ in range(count):
        x, y = canvas.rng.random() * canvas.width, 0.08 + canvas.rng.random() * lowest
        size = 0.1 + 0.1 * canvas.rng.random()
        _cloud(canvas.pen, x, y + size * 0.16, size, canvas.pen.tone(shadow))
        _cloud(canvas.pen, x, y, size, canvas.pen.tone(colour))


def draw_hills(canvas: Canvas, colour: Colour, y: float) -> None:
    """Draw rolling ground from about the height `y` down."""
    w = canvas.width
    canvas.pen.fill(
        bends(
            (0, 1.02),
            (0, y, 0, y),
            (0.2 * w, y - 0.08, 0.45 * w, y + 0.02),
            (0.75 * w, y + 0.1, w, y - 0.03),
            (w, 1, w, 1.02),
        ),
        canvas.pen.tone(colour),
    )


def draw_night_sky(canvas: Canvas, *, moon: bool = True, stars: int = 46) -> None:
    """Draw a dark sky with stars over the whole canvas."""
    pen, rng = canvas.pen, canvas.rng
    gradient(canvas, (14, 18, 58), (66, 72, 140))
    for _ in range(stars):
        size = rng.choice((0.004, 0.005, 0.006, 0.011))
        shape, scale = (star(4, 0.3), 2.4) if size > 0.01 else (DOT, 1.0)
        x, y = rng.random() * canvas.width, rng.random() * 0.9
        pen.stamp(shape, (255, 250, 214), x=x, y=y, size=size * scale)
    if moon:
        x = canvas.width * rng.choice((0.16, 0.84))
        pen.fill(ellipse(x, 0.17, 0.15, 0.15), blended(pen.tone((66, 72, 140)), (255, 246, 200), 0.22))
        pen.fill(ellipse(x, 0.17, 0.105, 0.105), (255, 246, 206))
        pen.fill(ellipse(x + 0.03, 0.15, 0.022, 0.02), (240, 224, 170))
        pen.fill(ellipse(x - 0.03, 0.2, 0.03, 0.026), (240, 224, 170))


DOT = ellipse(0, 0, 1, 1)
