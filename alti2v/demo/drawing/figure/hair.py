"""Hair: the part behind the figure, the part over the face, and the tied parts of each style."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from alti2v.demo.drawing.pen import Pen, Point, bends, curve, ellipse, mirrored
from alti2v.demo.drawing.style import FigureStyle

Strand = Callable[[Pen, FigureStyle], None]

_LOOSE = {
    "long": (2.75, 1.12),
    "very_long": (5.0, 1.4),
    "hime_cut": (3.0, 1.1),
    "wavy": (2.7, 1.36),
    "medium": (1.55, 1.1),
    "bob": (0.98, 1.2),
    "short": (0.86, 1.03),
    "double_bun": (0.8, 1.0),
    "single_bun": (0.8, 1.0),
}
"""Hair that falls loose behind: how far down it reaches, and how wide it spreads."""


def draw_hair_behind(pen: Pen, style: FigureStyle) -> None:
    """Draw the hair behind the head and the body."""
    hair_style = style.figure.who.hair_style
    if hair_style in _LOOSE:
        length, spread = _LOOSE[hair_style]
        _loose(pen, style, length=style.down(length), spread=spread)
    _TIED_BEHIND.get(hair_style, _nothing)(pen, style)


def draw_hair_before(pen: Pen, style: FigureStyle) -> None:
    """Draw bangs, side locks and the tied parts in front; the face must be drawn already."""
    figure = style.figure
    hair_style = figure.who.hair_style
    _bangs_shadow(pen, style)
    if not figure.who.is_boy:
        _side_locks(pen, style)
    _cap(pen, style)
    _TIED_BEFORE.get(hair_style, _nothing)(pen, style)
    if figure.who.ahoge:
        _ahoge(pen, style)


def draw_hair_over_back(pen: Pen, style: FigureStyle) -> None:
    """Draw the hair of a figure seen from behind, which covers head and back."""
    hair_style = style.figure.who.hair_style
    if hair_style in _LOOSE:
        length, spread = _LOOSE[hair_style]
        _loose(pen, style, length=style.down(length), spread=spread, is_in_front=True)
    else:
        _TIED_BEHIND.get(hair_style, _nothing)(pen, style)
        pen.shape(_NAPE_SPIKED if hair_style == "spiked" else _NAPE, style.hair)
        draw_gleam(pen, style)
        ink = pen.shade(style.hair, 0.9)
        for x in (-0.6, -0.25, 0.15, 0.5):
            pen.stroke(curve((x * 0.6, -0.75), (x * 1.1, 0.0), (x, 0.75)), ink, weight=1.4)
    _TIED_BEFORE.get(hair_style, _nothing)(pen, style)
    if style.figure.who.ahoge:
        _ahoge(pen, style)


def _nothing(_: Pen, __: FigureStyle) -> None:
    return


def zigzag(points: tuple[Point, ...], bulge: float) -> tuple[tuple[float, float, float, float], ...]:
    """Make Bézier segments from point to point, each bowed outwards by `bulge` of its height."""
    return tuple(
        ((x0 + x1) / 2 + (bulge if x0 + x1 > 0 else -bulge) * abs(y1 - y0), (y0 + y1) / 2, x1, y1)
        for (x0, y0), (x1, y1) in pairwise(points)
    )


def _loose(pen: Pen, style: FigureStyle, *, length: float, spread: float, is_in_front: bool = False) -> None:
    is_wavy = style.figure.who.hair_style == "wavy"
    is_even = style.figure.who.hair_style in {"bob", "hime_cut"}
    tips: list[Point] = []
    count = 5
    for step in range(2 * count + 1):
        across = spread * (1 - step / count)
        rise = 0.0 if step % 2 == 0 else (0.05 if is_even else 0.13) * (length + 0.8)
        droop = 0.0 if is_even else 0.08 * length * (1 - abs(1 - step / count))
        tips.append((across, length - rise + droop))
    side = spread * (1.22 if is_wavy else 1.06)
    right = (
        (1.12, -0.95, 1.02, -0.2),
        (side, length * 0.35, spread, length),
    )
    left = (
        (-side, length * 0.35, -1.02, -0.2),
        (-1.12, -0.95, -0.62, -1.08),
        (-0.3, -1.28, 0.0, -1.28),
    )
    outline = bends((0.0, -1.28), (0.3, -1.28, 0.62, -1.08), *right, *zigzag(tuple(tips), 0.12), *left)
    colour = style.hair if is_in_front else pen.shade(style.hair, 0.55)
    pen.shape(outline, colour)
    if is_wavy:
        for side_sign in (-1, 1):
            for height in (0.4, 1.0, 1.6):
                y = style.down(height + 0.4)
                pen.shape(ellipse(side_sign * spread * 1.02, y, 0.34, 0.3), colour)
                pen.fill(ellipse(side_sign * spread * 0.82, y, 0.36, 0.34), colour)
    ink = pen.shade(colour, 1.1)
    for x in (-0.62, -0.2, 0.3, 0.7):
        top = -0.5 if is_in_front else 0.3
        pen.stroke(
            curve((x * 0.9, top), (x * 1.08, length * 0.5), (x * spread, length * 0.93)), ink, weight=1.1
        )
    if is_in_front:
        draw_gleam(pen, style)


def _cap(pen: Pen, style: FigureStyle) -> None:
    """Draw the hair on the skull, with the bangs as its lower edge."""
    figure = style.figure
    shift = 0.1 * style.turn
    edge = _BANGS[figure.who.bangs]
    outer = _SPIKED_OUTER if figure.who.hair_style == "spiked" else _OUTER
    lower = bends((0.9, 0.12), *zigzag(tuple((x + shift, y) for x, y in edge), -0.16), (-0.9, 0.0, -0.9, 0.12))
    outline = np.concatenate([outer, lower])
    pen.shape(outline, style.hair)
    draw_gleam(pen, style)
    _strands(pen, style, edge, shift)


# Over the skull, from the left temple to the right one.
_OUTER = bends(
    (-0.9, 0.12),
    (-1.16, -0.05, -1.02, -0.5),
    (-0.88, -1.3, 0.0, -1.33),
    (0.88, -1.3, 1.02, -0.5),
    (1.16, -0.05, 0.9, 0.12),
)
# The same from behind, down to the nape.
_NAPE = bends(
    (-0.86, 0.7),
    (-1.2, 0.1, -1.02, -0.5),
    (-0.88, -1.3, 0.0, -1.33),
    (0.88, -1.3, 1.02, -0.5),
    (1.2, 0.1, 0.86, 0.7),
    (0.45, 1.0, 0.3, 0.8),
    (0.1, 1.1, -0.1, 0.85),
    (-0.4, 1.05, -0.86, 0.7),
)
_SPIKES: tuple[Point, ...] = (
    *((-0.9, 0.12), (-1.25, 0.2), (-1.02, -0.2), (-1.42, -0.35), (-1.02, -0.6), (-1.3, -1.05)),
    *((-0.72, -0.98), (-0.72, -1.58), (-0.25, -1.15), (-0.02, -1.78), (0.25, -1.15), (0.72, -1.6)),
    *((0.72, -0.98), (1.3, -1.05), (1.02, -0.6), (1.42, -0.35), (1.02, -0.2), (1.25, 0.2), (0.9, 0.12)),
)
_NAPE_SPIKED = bends(
    (-0.9, 0.12), *zigzag((*_SPIKES, (0.6, 0.9), (0.2, 0.6), (-0.2, 0.9), (-0.6, 0.6), (-0.9, 0.12)), 0.1)
)
_SPIKED_OUTER = bends((-0.9, 0.12), *zigzag(_SPIKES, 0.1))

# The lower edge of the bangs from right to left, alternating notches and tips.
_BANGS: Mapping[str, tuple[Point, ...]] = {
    "between_eyes": (
        *((0.72, -0.34), (0.56, 0.0), (0.36, -0.42), (0.22, -0.1), (0.14, -0.4), (0.02, 0.42)),
        *((-0.2, -0.42), (-0.4, -0.06), (-0.5, -0.36), (-0.68, 0.02), (-0.76, -0.3)),
    ),
    "swept": (
        *((0.74, -0.3), (0.55, -0.72), (0.3, -0.12), (0.18, -0.46), (-0.1, -0.02)),
        *((-0.2, -0.36), (-0.5, 0.06), (-0.56, -0.24), (-0.78, 0.2)),
    ),
    "blunt": (
        *((0.82, -0.14), (0.78, -0.06), (0.46, -0.1), (0.43, -0.2), (0.4, -0.1), (0.03, -0.12), (0.0, -0.22)),
        *((-0.03, -0.12), (-0.4, -0.1), (-0.43, -0.2), (-0.46, -0.1), (-0.78, -0.06), (-0.82, -0.14)),
    ),
    "parted": (
        *((0.8, -0.06), (0.7, 0.18), (0.56, -0.2), (0.44, -0.04), (0.3, -0.4), (0.02, -0.92)),
        *((-0.3, -0.4), (-0.44, -0.04), (-0.56, -0.2), (-0.7, 0.18), (-0.8, -0.06)),
    ),
    "over_one_eye": (
        *((0.86, 0.4), (0.62, 0.88), (0.42, 0.62), (0.3, 0.5), (0.06, -0.3), (-0.1, -0.04)),
        *((-0.22, -0.4), (-0.5, 0.02), (-0.56, -0.26), (-0.76, 0.1)),
    ),
}


def _bangs_shadow(pen: Pen, style: FigureStyle) -> None:
    edge = tuple((x * 0.92 + 0.1 * style.turn, min(y + 0.1, 0.5)) for x, y in _BANGS[style.figure.who.bangs])
    points = ((0.74, -0.1), *edge, (-0.74, -0.1))
    pen.fill(
        bends((0.74, -0.6), (0.74, -0.3, 0.74, -0.1), *zigzag(points, 0.14), (-0.74, -0.3, -0.74, -0.6)),
        style.skin_shade,
    )


def _strands(pen: Pen, style: FigureStyle, edge: tuple[Point, ...], shift: float) -> None:
    """Draw dark wedges upwards from the notches of the bangs."""
    ink = pen.shade(style.hair, 0.9)
    for (_, y0), (x, y), (_, y1) in zip(edge, edge[1:], edge[2:], strict=False):
        if y < y0 and y < y1:
            root = (x * 0.35 + shift, max(-1.12, y - 0.55))
            pen.stroke(curve((x + shift, y + 0.02), (x * 0.78 + shift, y - 0.26), root), ink, weight=1.3)


def draw_gleam(pen: Pen, style: FigureStyle) -> None:
    """Draw the ring of light on anime hair: smooth above, toothed below."""
    middle = 0.12 * style.turn
    teeth = tuple(
        (middle + x, -0.92 + 0.42 * x * x + (0.17 if step % 2 == 0 else 0.05) * (1.1 - x * x))
        for step, x in enumerate((0.5, 0.42, 0.28, 0.18, 0.06, -0.06, -0.2, -0.3, -0.46, -0.54))
    )
    ring = bends(
        (middle - 0.7, -0.7),
        (middle, -1.2, middle + 0.7, -0.7),
        *zigzag(((middle + 0.7, -0.7), *teeth), 0.0),
        (middle - 0.6, -0.72, middle - 0.7, -0.7),
    )
    pen.fill(ring, pen.gleam(style.hair, 0.6))


def _side_locks(pen: Pen, style: FigureStyle) -> None:
    """Draw a strand in front of each ear."""
    length = style.down(1.75) if style.figure.who.hair_style == "hime_cut" else 0.0
    for side in (-1, 1):
        end = length or 1.02 + style.rng.uniform(-0.12, 0.12)
        width = 0.15 if length else 0.0
        lock = bends(
            (0.98, -0.35),
            (1.14, end * 0.4, 0.86, end),
            (0.8 - width, end, 0.72 - width, end - (0.02 if width else 0.12)),
            (0.82, end * 0.35, 0.7, -0.1),
        )
        pen.shape(lock if side > 0 else mirrored(lock), style.hair)


def _ahoge(pen: Pen, style: FigureStyle) -> None:
    sprig = bends(
        (-0.06, -1.24), (-0.1, -1.86, 0.5, -1.86), (0.62, -1.8, 0.66, -1.58), (0.3, -1.72, 0.1, -1.24)
    )
    pen.shape(sprig, style.hair)


def _twintails(pen: Pen, style: FigureStyle) -> None:
    end = style.down(3.3)
    outline = bends(
        (0.82, -0.72),
        (1.75, -1.1, 1.72, 0.3),
        (1.72, end * 0.62, 1.28, end),
        (1.42, end * 0.8, 1.28, end * 0.78),
        (1.2, end * 0.9, 1.0, end * 0.95),
        (1.3, end * 0.5, 1.02, 0.2),
        (0.98, -0.1, 0.82, -0.72),
    )
    for path in (outline, mirrored(outline)):
        pen.shape(path, style.hair)
    _down_strokes(pen, style, (1.38, -0.5), (1.5, end * 0.3), (1.28, end * 0.8))


def _down_strokes(pen: Pen, style: FigureStyle, *points: Point) -> None:
    ink = pen.shade(style.hair, 0.9)
    path = curve(*points)
    pen.stroke(path, ink, weight=1.4)
    pen.stroke(mirrored(path), ink, weight=1.4)


def _tie(pen: Pen, style: FigureStyle, x: float, y: float) -> None:
    pen.shape(
        ellipse(x, y, 0.16, 0.16), style.cloth if style.cloth != style.hair else pen.shade(style.hair, 1.3)
    )


def _twintail_ties(pen: Pen, style: FigureStyle) -> None:
    for x in (-0.96, 0.96):
        _tie(pen, style, x, -0.66)


def _ponytail(pen: Pen, style: FigureStyle) -> None:
    end = style.down(2.9)
    outline = bends(
        (0.1, -1.1),
        (0.9, -1.75, 1.5, -0.9),
        (1.95, 0.1, 1.62, end * 0.6),
        (1.5, end * 0.9, 1.2, end),
        (1.3, end * 0.6, 1.12, end * 0.45),
        (1.1, end * 0.2, 0.4, -0.6),
        (0.2, -0.8, 0.1, -1.1),
    )
    pen.shape(outline, style.hair)
    pen.stroke(curve((0.9, -1.0), (1.5, 0.1), (1.4, end * 0.7)), pen.shade(style.hair, 0.9), weight=1.4)


def _ponytail_tie(pen: Pen, style: FigureStyle) -> None:
    _tie(pen, style, 0.52, -1.22)


def _side_ponytail(pen: Pen, style: FigureStyle) -> None:
    end = style.down(2.6)
    outline = bends(
        (0.85, -0.6),
        (1.7, -0.7, 1.62, 0.6),
        (1.6, end * 0.7, 1.1, end),
        (1.2, end * 0.7, 1.05, end * 0.5),
        (1.0, 0.2, 0.85, -0.6),
    )
    pen.shape(outline, style.hair)
    pen.stroke(curve((1.25, -0.2), (1.35, end * 0.4), (1.2, end * 0.8)), pen.shade(style.hair, 0.9), weight=1.4)
    _tie(pen, style, 1.0, -0.52)


def _low_ponytail(pen: Pen, style: FigureStyle) -> None:
    end = style.down(3.0)
    outline = bends((0.4, 0.6), (1.3, 1.0, 1.2, end * 0.6), (1.2, end, 0.95, end), (0.9, end * 0.6, 0.4, 0.9))
    pen.shape(outline, pen.shade(style.hair, 0.4))


def _drills(pen: Pen, style: FigureStyle) -> None:
    """Draw a ringlet: a stack of rolls that narrows downwards."""
    dark = pen.shade(style.hair, 0.8)
    for side in (-1, 1):
        for step in range(6):
            size = 0.56 - 0.065 * step
            y = style.down(-0.35 + 0.5 * step)
            roll = pen.moved(side * (1.3 - 0.02 * step), y, turn=side * 16)
            roll.shape(ellipse(0, 0, size, 0.3 * max(style.length, 0.7)), style.hair)
            roll.stroke(curve((-size * 0.8, 0.02), (0, 0.16), (size * 0.8, 0.0)), dark, weight=1.5)


def _braid(pen: Pen, style: FigureStyle, top: Point, bottom: Point) -> None:
    """Draw a braid: segments alternating left and right, and a tassel below a tie."""
    count = 6
    (x0, y0), (x1, y1) = top, bottom
    dark = pen.shade(style.hair, 0.9)
    for step in range(count):
        share = step / count
        x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
        size = 0.27 - 0.012 * step
        for side in (-1, 1):
            leaf = pen.moved(x + side * 0.1, y + (0.09 if side > 0 else 0), turn=side * 38)
            leaf.shape(ellipse(0, 0, size * 0.72, size * 0.8), style.hair)
            leaf.stroke(curve((-0.1, 0.1), (0.0, 0.0), (0.08, -0.12)), dark)
    pen.shape(
        bends((x1 - 0.1, y1), (x1 - 0.24, y1 + 0.2, x1, y1 + 0.46), (x1 + 0.24, y1 + 0.2, x1 + 0.1, y1)),
        style.hair,
    )
    _tie(pen.moved(x1, y1, scale=0.9), style, 0, 0)


def _twin_braids(pen: Pen, style: FigureStyle) -> None:
    for side in (-1, 1):
        _braid(pen, style, (side * 0.92, 0.75), (side * 0.86, style.down(2.7)))


def _single_braid(pen: Pen, style: FigureStyle) -> None:
    _braid(pen, style, (0.84, 0.85), (0.5, style.down(2.9)))


def _double_bun(pen: Pen, style: FigureStyle) -> None:
    for side in (-1, 1):
        _bun(pen, style, side * 0.86, -1.12, 0.44)


def _single_bun(pen: Pen, style: FigureStyle) -> None:
    _bun(pen, style, 0.0, -1.55, 0.52)


def _bun(pen: Pen, style: FigureStyle, x: float, y: float, size: float) -> None:
    knot = pen.moved(x, y, scale=size)
    knot.shape(ellipse(0, 0, 1, 0.95), style.hair)
    dark = pen.shade(style.hair, 0.9)
    knot.stroke(curve((-0.5, 0.5), (-0.3, -0.4), (0.4, -0.5), (0.5, 0.2), (0.0, 0.35)), dark, weight=1.3)
    knot.fill(ellipse(-0.3, -0.55, 0.26, 0.12), pen.gleam(style.hair, 0.7))


_TIED_BEHIND: Mapping[str, Strand] = {
    "twintails": _twintails,
    "ponytail": _ponytail,
    "low_ponytail": _low_ponytail,
    "double_bun": _double_bun,
    "single_bun": _single_bun,
    "twin_drills": _drills,
}
_TIED_BEFORE: Mapping[str, Strand] = {
    "twintails": _twintail_ties,
    "ponytail": _ponytail_tie,
    "side_ponytail": _side_ponytail,
    "twin_braids": _twin_braids,
    "single_braid": _single_braid,
}
