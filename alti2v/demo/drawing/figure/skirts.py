"""Parts of outfits below the waist. In units of a full-grown figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import DENIM, LINEN, Colour
from alti2v.demo.drawing.figure.body import both
from alti2v.demo.drawing.pen import Pen, bends, curve, ellipse
from alti2v.demo.drawing.style import FigureStyle


def _skirt(pen: Pen, colour: Colour, *, hem: float, width: float, pleats: int = 0, waist: float = 2.7) -> None:
    outline = bends(
        (-0.58, waist),
        (-0.8, waist + 0.4, -width, hem),
        (-width * 0.5, hem + 0.16, 0.0, hem + 0.14),
        (width * 0.5, hem + 0.16, width, hem),
        (0.8, waist + 0.4, 0.58, waist),
    )
    pen.shape(outline, colour)
    dark = pen.shade(colour)
    for step in range(pleats):
        x = (step + 0.5) / pleats * 2 - 1
        foot = hem + 0.12 - 0.1 * x * x
        pen.stroke(
            curve((x * 0.55, waist + 0.15), (x * 0.8, (waist + hem) / 2), (x * width, foot)), dark, weight=1.5
        )
    pen.fill(
        bends(
            (-width * 0.98, hem - 0.06),
            (-width * 0.5, hem - 0.06, -width * 0.55, hem + 0.08),
            (-width * 0.8, hem + 0.1, -width * 0.98, hem - 0.02),
        ),
        dark,
    )


def _pleated_skirt(pen: Pen, style: FigureStyle) -> None:
    _skirt(pen, style.cloth, hem=4.2, width=1.24, pleats=7)


def _plain_skirt(pen: Pen, style: FigureStyle) -> None:
    if not style.figure.who.is_boy:
        _skirt(pen, style.cloth, hem=4.15, width=1.1, pleats=2)


def _grey_skirt(pen: Pen, _: FigureStyle) -> None:
    _skirt(pen, pen.tone((118, 104, 110)), hem=4.1, width=1.05, pleats=2)


def _shorts(pen: Pen, style: FigureStyle) -> None:
    if not style.figure.who.is_boy:
        leg = bends((0.0, 3.0), (0.4, 2.9, 0.84, 3.1), (0.9, 3.6, 0.86, 3.95), (0.4, 4.05, 0.06, 3.9))
        both(pen, leg, pen.tone((84, 96, 132)))


def _gown(pen: Pen, style: FigureStyle) -> None:
    _skirt(pen, style.cloth, hem=4.65, width=1.5, pleats=5)
    is_white = style.figure.colour == "white"
    frill = pen.shade(style.cloth, 0.5) if is_white else colours.lighter(style.cloth, 0.55)
    _frill(pen, frill, y=4.7, width=1.5)


def _frill(pen: Pen, colour: Colour, *, y: float, width: float) -> None:
    count = 9
    for step in range(count):
        x = ((step + 0.5) / count * 2 - 1) * width * 0.95
        pen.shape(ellipse(x, y + 0.08 - 0.1 * (x / width) ** 2, width / count * 1.15, 0.13), colour, weight=0.7)


def _maid_skirt(pen: Pen, _: FigureStyle) -> None:
    _skirt(pen, pen.tone((58, 54, 72)), hem=4.5, width=1.5, pleats=5)
    white = pen.tone(LINEN)
    _frill(pen, white, y=4.55, width=1.5)
    apron = bends((-0.46, 2.8), (-0.72, 3.6, -0.8, 4.1), (0.0, 4.45, 0.8, 4.1), (0.72, 3.6, 0.46, 2.8))
    pen.shape(apron, white)
    for x in (-0.6, -0.3, 0.0, 0.3, 0.6):
        pen.shape(ellipse(x, 4.2 - 0.3 * x * x, 0.19, 0.11), white, weight=0.7)


def _robe(pen: Pen, style: FigureStyle) -> None:
    outline = bends((-0.62, 2.7), (-0.9, 4.0, -0.86, 6.05), (0.0, 6.2, 0.86, 6.05), (0.9, 4.0, 0.62, 2.7))
    pen.shape(outline, style.cloth)
    pen.stroke(curve((0.3, 3.1), (0.1, 4.6), (0.16, 6.1)), pen.shade(style.cloth), weight=2)
    for x, y in ((-0.5, 4.2), (-0.25, 5.3), (0.5, 4.9), (0.55, 3.7), (-0.6, 5.8)):
        draw_blossom(pen, x, y, 0.16, colours.lighter(style.cloth, 0.6))


def draw_blossom(pen: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    """Draw a flower of five petals, as printed on kimonos."""
    for dx, dy in ((0, -1), (0.95, -0.31), (0.59, 0.81), (-0.59, 0.81), (-0.95, -0.31)):
        pen.fill(ellipse(x + dx * size * 0.55, y + dy * size * 0.55, size * 0.5, size * 0.5), colour)
    pen.fill(ellipse(x, y, size * 0.3, size * 0.3), (250, 220, 110))


def _overalls_legs(pen: Pen, _: FigureStyle) -> None:
    leg = bends(
        (0.0, 3.0), (0.4, 2.9, 0.84, 3.2), (0.9, 4.5, 0.78, 5.6), (0.4, 5.7, 0.08, 5.6), (0.1, 4.4, 0.0, 3.6)
    )
    both(pen, leg, pen.tone(DENIM))


def _cape_gown(pen: Pen, _: FigureStyle) -> None:
    _skirt(pen, pen.tone((92, 76, 120)), hem=4.5, width=1.3, pleats=5)


BELOW: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "serafuku": _pleated_skirt,
    "blazer": _pleated_skirt,
    "shirt": _plain_skirt,
    "dress": _gown,
    "maid": _maid_skirt,
    "kimono": _robe,
    "hoodie": _shorts,
    "sweater": _grey_skirt,
    "armor": _plain_skirt,
    "overalls": _overalls_legs,
    "cape": _cape_gown,
}
"""How each outfit is drawn below the waist; those that are not here end at their hem."""
