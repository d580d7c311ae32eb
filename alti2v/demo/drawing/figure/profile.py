"""Heads seen from the side, facing right."""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.demo.drawing.figure import accessories, face, hair
from alti2v.demo.drawing.pen import Pen, Point, bends, curve, ellipse
from alti2v.demo.drawing.style import FigureStyle

_BACK = -0.28  # distance of the middle of the skull behind the plane of the face


def draw_hair_behind(pen: Pen, style: FigureStyle) -> None:
    """Draw the hair down the back."""
    hair.draw_hair_behind(pen.moved(_BACK - 0.12, 0, stretch=0.72), style)


def draw_profile(pen: Pen, style: FigureStyle) -> None:
    """Draw the head with everything on it."""
    accessories.draw_elf_ears(pen.moved(_BACK, 0, stretch=0.7), style)
    pen.shape(_CONTOUR, style.skin)
    _face(pen, style)
    if style.figure.who.kind == "human":
        pen.shape(ellipse(-0.16, 0.24, 0.15, 0.23), style.skin)
        pen.fill(ellipse(-0.14, 0.26, 0.07, 0.13), style.skin_shade)
    _hair(pen, style)
    face.draw_brow(pen.moved(0.5, 0, stretch=0.7), style)
    accessories.draw_eyewear(pen.moved(0.36, 0, stretch=0.55), style)
    accessories.draw_on_head(pen.moved(_BACK + 0.1, 0, stretch=0.9), style)


_CONTOUR = bends(
    (0.74, -0.6),
    (0.86, -0.3, 0.8, -0.04),
    (0.74, 0.14, 0.8, 0.26),
    (0.88, 0.38, 0.94, 0.46),
    (0.88, 0.54, 0.8, 0.54),
    (0.8, 0.6, 0.82, 0.64),
    (0.78, 0.7, 0.78, 0.76),
    (0.8, 0.96, 0.62, 1.02),
    (0.3, 1.06, -0.1, 0.78),
    (-0.4, 0.9, -0.6, 0.8),
    (-1.15, 0.3, -1.05, -0.3),
    (-0.8, -1.12, 0.0, -1.12),
    (0.55, -1.1, 0.74, -0.6),
)


def _face(pen: Pen, style: FigureStyle) -> None:
    if style.figure.blush:
        face.draw_blush(pen.moved(0.1, 0, stretch=0.75), sides=(1,))
    face.draw_eye(pen.moved(0.52, 0.2, stretch=0.62), style)
    face.draw_mouth(pen.moved(0.66, 0.7, scale=0.9, stretch=0.5), style)
    if style.figure.expression == "crying":
        face.draw_tears(pen.moved(0.1, 0, stretch=0.8), sides=(1,))


# The lower edge of the hair, from the forehead to the ear.
_EDGES: Mapping[str, tuple[Point, ...]] = {
    "blunt": ((0.84, -0.1), (0.3, -0.06), (0.26, -0.2), (0.22, 0.1)),
    "parted": ((0.5, -0.7), (0.42, 0.16), (0.34, -0.2), (0.24, 0.1)),
    "over_one_eye": ((0.9, 0.6), (0.5, 0.3), (0.38, -0.2), (0.24, 0.1)),
}
_USUAL_EDGE: tuple[Point, ...] = ((0.86, 0.02), (0.7, -0.36), (0.56, 0.0), (0.4, -0.34), (0.24, 0.1))


def _hair(pen: Pen, style: FigureStyle) -> None:
    edge = _EDGES.get(style.figure.who.bangs, _USUAL_EDGE)
    lock: Point = (0.1, 0.4 if style.figure.who.is_boy else 1.0)
    points = (*edge, lock, (-0.04, -0.1), (-0.5, 0.5), (-0.66, 0.86))
    crown: tuple[tuple[float, float, float, float], ...] = (
        (-1.3, 0.3, -1.2, -0.4),
        (-0.98, -1.36, -0.1, -1.34),
        (0.7, -1.32, 0.84, -0.6),
    )
    if style.figure.who.hair_style == "spiked":
        crown = (*hair.zigzag(_SPIKES, 0.1), (0.7, -0.9, 0.84, -0.6))
    first = ((0.92, -0.4, *points[0]),)
    pen.shape(bends((0.84, -0.6), *first, *hair.zigzag(points, 0.12), *crown), style.hair)
    hair.draw_gleam(pen.moved(-0.2, 0), style)
    ink = pen.shade(style.hair, 0.9)
    for x, y in ((-0.5, 0.4), (-0.04, -0.1), (0.4, -0.3)):
        pen.stroke(curve((x, y), (x - 0.06, (y - 0.9) / 2), (x * 0.6 - 0.1, -0.9)), ink, weight=1.3)


_SPIKES: tuple[Point, ...] = (
    *((-0.66, 0.86), (-1.2, 0.95), (-1.02, 0.4), (-1.6, 0.3), (-1.16, -0.2), (-1.6, -0.6), (-1.0, -0.85)),
    *((-1.05, -1.5), (-0.45, -1.15), (-0.2, -1.75), (0.15, -1.2), (0.6, -1.5), (0.6, -1.0)),
)
