"""Outfits, assembled layer by layer. In units of a full-grown figure."""

from __future__ import annotations

from collections.abc import Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import LINEN, NAVY, Colour
from alti2v.demo.drawing.figure.body import draw_arms, draw_legs, draw_neck
from alti2v.demo.drawing.figure.skirts import BELOW
from alti2v.demo.drawing.figure.tops import TOPS
from alti2v.demo.drawing.pen import Pen, bends, blob, curve
from alti2v.demo.drawing.style import FigureStyle


def draw_dressed_body(pen: Pen, style: FigureStyle) -> None:
    """Draw everything below the head except the arms in front of the trunk."""
    outfit = style.figure.outfit
    draw_arms(pen, style, behind=True, sleeve=_sleeve(pen, style))
    draw_legs(pen, style)
    if outfit in BELOW:
        BELOW[outfit](pen, style)
    draw_neck(pen, style)
    TOPS[outfit](pen, style)


def draw_front_arms(pen: Pen, style: FigureStyle) -> None:
    """Draw the arms in front of the trunk."""
    draw_arms(pen, style, behind=False, sleeve=_sleeve(pen, style))


# Outfits whose sleeves have another colour than the outfit.
_SLEEVES: Mapping[str, Colour] = {
    "serafuku": LINEN,
    "blazer": NAVY,
    "gakuran": (52, 52, 66),
    "suit": (92, 96, 112),
    "shirt": LINEN,
    "maid": (58, 54, 72),
    "armor": (74, 78, 104),
    "overalls": LINEN,
    "cape": (92, 76, 120),
}


def _sleeve(pen: Pen, style: FigureStyle) -> Colour:
    outfit = style.figure.outfit
    return pen.tone(_SLEEVES[outfit]) if outfit in _SLEEVES else style.cloth


def draw_scarf(pen: Pen, style: FigureStyle) -> None:
    """Wind a scarf around the neck, one end hanging down."""
    colour = pen.tone(colours.CLOTH[style.figure.scarf])
    dark = pen.shade(colour)
    end = bends((0.18, 1.4), (0.4, 1.9, 0.3, 2.75), (0.55, 2.85, 0.78, 2.72), (0.8, 1.8, 0.62, 1.3))
    pen.shape(end, colour)
    for x in (0.4, 0.52, 0.64):
        pen.stroke(curve((x, 2.5), (x, 2.62), (x, 2.76)), dark, weight=1.3)
    pen.shape(
        blob(
            (-0.72, 1.05),
            (-0.8, 1.35),
            (-0.4, 1.62),
            (0.0, 1.68),
            (0.4, 1.62),
            (0.8, 1.35),
            (0.72, 1.05),
            (0.0, 1.3),
        ),
        colour,
    )
    pen.stroke(curve((-0.6, 1.3), (-0.1, 1.5), (0.5, 1.42)), dark, weight=1.6)
    pen.stroke(curve((-0.4, 1.18), (0.1, 1.36), (0.62, 1.22)), dark, weight=1.2)
