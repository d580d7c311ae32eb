"""Parts of outfits on the trunk. In units of a full-grown figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import DENIM, GOLD, LINEN, NAVY, STEEL, Colour
from alti2v.demo.drawing.figure.body import both, trunk
from alti2v.demo.drawing.figure.skirts import draw_blossom
from alti2v.demo.drawing.pen import Pen, bends, blob, curve, ellipse, heart, mirrored, polygon
from alti2v.demo.drawing.style import FigureStyle


def _shaded_trunk(
    pen: Pen, style: FigureStyle, colour: Colour, *, hem: float = 3.0, flare: float = 0.0
) -> None:
    pen.shape(trunk(style, hem=hem, flare=flare), colour)
    dark = pen.shade(colour, 0.85)
    fold = bends((0.7, 1.9), (0.4, 2.4, 0.58 + flare * 0.5, 2.85), (0.66 + flare * 0.5, 2.5, 0.72, 2.1))
    pen.fill(fold, dark)
    pen.stroke(curve((-0.6, 2.2), (-0.45, 2.32), (-0.3, 2.34)), dark, weight=1.3)
    if style.view != "behind":
        # The head casts its shadow on the collar.
        pen.fill(bends((-0.46, 1.34), (0.0, 1.56, 0.46, 1.34), (0.0, 1.86, -0.46, 1.34)), dark)


def _sailor_top(pen: Pen, style: FigureStyle) -> None:
    white = pen.tone(LINEN)
    _shaded_trunk(pen, style, white, hem=3.05)
    collar = style.cloth
    if style.view == "behind":
        pen.shape(
            bends(
                (-0.4, 1.25),
                (-0.8, 1.35, -0.86, 1.55),
                (-0.8, 2.1, -0.78, 2.25),
                (0.0, 2.35, 0.78, 2.25),
                (0.8, 2.1, 0.86, 1.55),
                (0.8, 1.35, 0.4, 1.25),
            ),
            collar,
        )
        return
    flap = bends(
        (0.24, 1.16),
        (0.8, 1.3, 0.96, 1.62),
        (0.9, 1.9, 0.74, 1.98),
        (0.4, 1.9, 0.02, 2.2),
        (0.3, 1.7, 0.24, 1.16),
    )
    both(pen, flap, collar)
    stripe = curve((0.84, 1.68), (0.7, 1.82), (0.4, 1.84), (0.14, 2.0))
    for path in (stripe, mirrored(stripe)):
        pen.stroke(path, white, weight=1.6)
    scarf = pen.tone((220, 48, 60))
    both(pen, bends((0.0, 2.1), (0.5, 1.98, 0.52, 2.3), (0.4, 2.42, 0.0, 2.24)), scarf)
    both(pen, bends((0.02, 2.2), (0.3, 2.5, 0.26, 2.86), (0.1, 2.8, 0.02, 2.6), (0.0, 2.4, 0.02, 2.2)), scarf)
    pen.shape(ellipse(0, 2.18, 0.12, 0.12), scarf)


def _collar(pen: Pen, colour: Colour) -> None:
    both(
        pen,
        bends(
            (0.0, 1.5),
            (0.16, 1.36, 0.22, 1.16),
            (0.46, 1.3, 0.44, 1.5),
            (0.3, 1.7, 0.24, 1.74),
            (0.1, 1.6, 0.0, 1.5),
        ),
        colour,
    )


def _necktie(pen: Pen, colour: Colour) -> None:
    pen.shape(
        bends(
            (0.0, 1.6),
            (0.2, 2.1, 0.2, 2.6),
            (0.1, 2.75, 0.0, 2.84),
            (-0.1, 2.75, -0.2, 2.6),
            (-0.2, 2.1, 0.0, 1.6),
        ),
        colour,
    )
    pen.shape(
        bends(
            (-0.12, 1.48),
            (0.0, 1.44, 0.12, 1.48),
            (0.12, 1.6, 0.07, 1.72),
            (0.0, 1.74, -0.07, 1.72),
            (-0.12, 1.6, -0.12, 1.48),
        ),
        colour,
    )


def _jacket(pen: Pen, style: FigureStyle, colour: Colour, tie: Colour) -> None:
    _shaded_trunk(pen, style, colour, hem=3.25)
    if style.view == "behind":
        return
    pen.shape(
        bends((-0.3, 1.28), (-0.3, 1.9, 0.0, 2.5), (0.3, 1.9, 0.3, 1.28), (0.0, 1.5, -0.3, 1.28)),
        pen.tone(LINEN),
    )
    _necktie(pen, tie)
    lapel = bends(
        (0.26, 1.22),
        (0.5, 1.34, 0.56, 1.6),
        (0.46, 1.8, 0.5, 1.86),
        (0.36, 2.2, 0.0, 2.6),
        (0.3, 2.0, 0.26, 1.22),
    )
    both(pen, lapel, colours.lighter(colour, 0.12))
    _collar(pen, pen.tone(LINEN))
    pen.stroke(curve((0.0, 2.55), (0.02, 2.9), (0.0, 3.28)), pen.shade(colour, 1.6), weight=1.3)
    for y in (2.72, 3.0):
        pen.fill(ellipse(0.12, y, 0.06, 0.06), pen.tone(GOLD))


def _blazer(pen: Pen, style: FigureStyle) -> None:
    _jacket(pen, style, pen.tone(NAVY), pen.tone((206, 50, 60)))


def _suit(pen: Pen, style: FigureStyle) -> None:
    _jacket(pen, style, pen.tone((92, 96, 112)), pen.tone((60, 90, 170)))


def _gakuran(pen: Pen, style: FigureStyle) -> None:
    black = pen.tone((52, 52, 66))
    _shaded_trunk(pen, style, black, hem=3.35)
    if style.view == "behind":
        return
    pen.shape(
        bends(
            (-0.34, 1.2),
            (0.0, 1.5, 0.34, 1.2),
            (0.36, 1.4, 0.3, 1.5),
            (0.0, 1.72, -0.3, 1.5),
            (-0.36, 1.4, -0.34, 1.2),
        ),
        black,
    )
    pen.stroke(curve((0.0, 1.6), (0.02, 2.4), (0.0, 3.3)), pen.shade(black, 2), weight=1.2)
    for y in (1.85, 2.2, 2.55, 2.9):
        pen.fill(ellipse(0.0, y, 0.085, 0.085), pen.tone(GOLD))


def _shirt_top(pen: Pen, style: FigureStyle) -> None:
    white = pen.tone(LINEN)
    _shaded_trunk(pen, style, white, hem=3.0)
    if style.view == "behind":
        return
    _collar(pen, white)
    if style.figure.who.is_boy:
        _necktie(pen, pen.tone((60, 90, 170)))
        return
    bow = pen.tone((206, 50, 60))
    both(pen, bends((0.04, 1.66), (0.3, 1.4, 0.52, 1.5), (0.54, 1.7, 0.48, 1.88), (0.3, 1.9, 0.04, 1.72)), bow)
    pen.shape(ellipse(0, 1.68, 0.11, 0.11), bow)
    for y in (2.05, 2.4, 2.7):
        pen.fill(ellipse(0, y, 0.04, 0.04), pen.shade(white, 1.6))


def _dress_top(pen: Pen, style: FigureStyle) -> None:
    _shaded_trunk(pen, style, style.cloth, hem=2.85)
    if style.figure.sleeves == "none":
        # Bare shoulders: the skin shows above a straight edge, held by straps.
        pen.shape(
            bends(
                (-0.3, 1.2),
                (-0.8, 1.36, -0.97, 1.6),
                (-0.9, 1.8, -0.78, 1.95),
                (0.0, 2.1, 0.78, 1.95),
                (0.9, 1.8, 0.97, 1.6),
                (0.8, 1.36, 0.3, 1.2),
            ),
            style.skin,
        )
        for x in (-0.5, 0.5):
            pen.rope(polygon((x, 1.3), (x * 1.1, 2.05)), style.cloth, width=0.12)
    if style.view == "behind":
        return
    band = colours.lighter(style.cloth, 0.55) if style.figure.colour != "white" else pen.tone((150, 190, 240))
    pen.shape(
        bends((-0.62, 2.6), (0.0, 2.72, 0.62, 2.6), (0.64, 2.75, 0.62, 2.86), (0.0, 2.98, -0.62, 2.86)), band
    )
    if style.figure.sleeves != "none":
        _collar(pen, band)


def _maid_top(pen: Pen, style: FigureStyle) -> None:
    _shaded_trunk(pen, style, pen.tone((58, 54, 72)), hem=2.9)
    white = pen.tone(LINEN)
    if style.view == "behind":
        pen.shape(
            bends(
                (0, 2.7), (0.6, 2.3, 0.8, 2.6), (0.7, 3.0, 0, 2.8), (-0.7, 3.0, -0.8, 2.6), (-0.6, 2.3, 0, 2.7)
            ),
            white,
        )
        return
    bib = bends(
        (-0.4, 1.5),
        (-0.46, 2.2, -0.5, 2.9),
        (0.0, 3.0, 0.5, 2.9),
        (0.46, 2.2, 0.4, 1.5),
        (0.0, 1.75, -0.4, 1.5),
    )
    pen.shape(bib, white)
    for side in (-1, 1):
        for step in range(4):
            pen.shape(ellipse(side * (0.8 - 0.1 * step), 1.45 + 0.33 * step, 0.2, 0.18), white, weight=0.7)
    _collar(pen, white)
    pen.shape(ellipse(0, 1.66, 0.12, 0.12), pen.tone((206, 50, 60)))


def _kimono_top(pen: Pen, style: FigureStyle) -> None:
    _shaded_trunk(pen, style, style.cloth, hem=3.2)
    sash = pen.tone((250, 208, 100) if style.figure.colour not in {"yellow", "white"} else (200, 70, 90))
    if style.view != "behind":
        inner = pen.tone(LINEN)
        pen.shape(
            bends((-0.4, 1.24), (-0.1, 1.7, 0.2, 2.3), (0.0, 2.4, -0.1, 2.4), (-0.4, 1.8, -0.56, 1.3)), inner
        )
        pen.shape(
            bends((0.4, 1.24), (0.1, 1.7, -0.3, 2.4), (-0.1, 2.5, 0.06, 2.4), (0.4, 1.9, 0.62, 1.32)), inner
        )
        pen.shape(
            bends((0.62, 1.3), (0.36, 1.9, -0.02, 2.42), (0.2, 2.5, 0.3, 2.4), (0.6, 1.9, 0.74, 1.36)),
            pen.shade(style.cloth, 0.9),
        )
    pen.shape(
        bends(
            (-0.66, 2.32),
            (0.0, 2.45, 0.66, 2.32),
            (0.68, 2.7, 0.64, 2.98),
            (0.0, 3.12, -0.64, 2.98),
            (-0.68, 2.7, -0.66, 2.32),
        ),
        sash,
    )
    pen.rope(curve((-0.64, 2.64), (0.0, 2.76), (0.64, 2.64)), pen.tone((206, 60, 70)), width=0.1)
    draw_blossom(pen, -0.5, 2.05, 0.16, colours.lighter(style.cloth, 0.6))


def _hoodie_top(pen: Pen, style: FigureStyle) -> None:
    hood = pen.shade(style.cloth, 0.5)
    if style.view != "behind":
        pen.shape(
            blob(
                (-0.86, 1.0),
                (-0.98, 1.4),
                (-0.5, 1.75),
                (0.0, 1.85),
                (0.5, 1.75),
                (0.98, 1.4),
                (0.86, 1.0),
                (0.0, 1.2),
            ),
            hood,
        )
    _shaded_trunk(pen, style, style.cloth, hem=3.4, flare=0.16)
    if style.view == "behind":
        pen.shape(blob((-0.7, 1.2), (-0.6, 1.9), (0.0, 2.2), (0.6, 1.9), (0.7, 1.2), (0.0, 1.1)), hood)
        return
    both(
        pen,
        bends((0.0, 1.78), (0.3, 1.6, 0.36, 1.1), (0.7, 1.06, 0.86, 1.2), (0.8, 1.7, 0.0, 1.98)),
        style.cloth,
    )
    string = pen.tone(LINEN) if style.figure.colour not in {"white", "yellow"} else pen.tone((214, 90, 90))
    for x in (-0.22, 0.22):
        pen.rope(curve((x, 1.84), (x * 1.1, 2.1), (x, 2.42)), string, width=0.07)
        pen.fill(ellipse(x, 2.46, 0.06, 0.08), string)
    pen.shape(
        bends(
            (-0.56, 2.7),
            (0.0, 2.6, 0.56, 2.7),
            (0.66, 3.0, 0.72, 3.22),
            (0.0, 3.32, -0.72, 3.22),
            (-0.66, 3.0, -0.56, 2.7),
        ),
        style.cloth,
    )


def _sweater_top(pen: Pen, style: FigureStyle) -> None:
    _shaded_trunk(pen, style, style.cloth, hem=3.35, flare=0.06)
    dark = pen.shade(style.cloth, 0.7)
    for x in (-0.5, -0.25, 0.0, 0.25, 0.5):
        pen.stroke(curve((x * 0.9, 1.75), (x, 2.5), (x * 1.1, 3.3)), dark, weight=1.2)
    pen.shape(blob((-0.36, 1.02), (-0.42, 1.3), (0.0, 1.5), (0.42, 1.3), (0.36, 1.02), (0.0, 1.1)), style.cloth)
    pen.stroke(curve((-0.3, 1.2), (0.0, 1.32), (0.3, 1.2)), dark)


def _armor_top(pen: Pen, style: FigureStyle) -> None:
    steel = pen.tone(STEEL)
    gold = pen.tone(GOLD)
    _shaded_trunk(pen, style, pen.tone((74, 78, 104)), hem=3.1)
    plate = bends(
        (-0.62, 1.42),
        (0.0, 1.62, 0.62, 1.42),
        (0.78, 1.9, 0.66, 2.3),
        (0.5, 2.6, 0.0, 2.72),
        (-0.5, 2.6, -0.66, 2.3),
        (-0.78, 1.9, -0.62, 1.42),
    )
    pen.shape(plate, steel)
    pen.fill(
        bends((-0.5, 1.6), (-0.3, 1.66, -0.2, 1.66), (-0.3, 2.2, -0.3, 2.5), (-0.52, 2.3, -0.5, 1.6)),
        colours.lighter(steel, 0.6),
    )
    pen.stroke(curve((0.0, 1.56), (0.04, 2.1), (0.0, 2.7)), pen.shade(steel, 1.6), weight=1.4)
    pen.shape(polygon((0, 1.75), (0.16, 1.98), (0, 2.24), (-0.16, 1.98)), gold)
    both(
        pen,
        bends(
            (0.1, 2.7),
            (0.5, 2.66, 0.68, 2.62),
            (0.95, 3.0, 0.92, 3.4),
            (0.6, 3.5, 0.3, 3.42),
            (0.1, 3.0, 0.1, 2.7),
        ),
        steel,
    )
    for side in (-1, 1):
        shoulder = pen.moved(side * 0.98, 1.62, stretch=side, turn=side * 14)
        shoulder.shape(
            blob((-0.36, -0.1), (0.0, -0.34), (0.42, -0.1), (0.46, 0.34), (0.1, 0.3), (-0.3, 0.24)), steel
        )
        shoulder.rope(curve((-0.28, 0.22), (0.1, 0.28), (0.44, 0.32)), gold, width=0.09)
        shoulder.fill(ellipse(0.06, -0.12, 0.2, 0.08), colours.lighter(steel, 0.7))


def _overalls_top(pen: Pen, style: FigureStyle) -> None:
    shirt, stripe = pen.tone(LINEN), pen.tone((220, 70, 80))
    _shaded_trunk(pen, style, shirt, hem=2.9)
    for y in (1.6, 1.9, 2.2, 2.5):
        pen.rope(
            curve((-0.84 + 0.14 * (y - 1.6), y), (0.0, y + 0.1), (0.84 - 0.14 * (y - 1.6), y)),
            stripe,
            width=0.12,
        )
    denim = pen.tone(DENIM)
    pen.shape(
        bends(
            (-0.5, 2.05),
            (0.0, 2.12, 0.5, 2.05),
            (0.5, 2.5, 0.64, 2.7),
            (0.8, 3.1, 0.84, 3.3),
            (0.0, 3.4, -0.84, 3.3),
            (-0.8, 3.1, -0.64, 2.7),
            (-0.5, 2.5, -0.5, 2.05),
        ),
        denim,
    )
    for x in (-0.44, 0.44):
        pen.rope(polygon((x * 1.2, 1.36), (x, 2.14)), denim, width=0.17)
        pen.fill(ellipse(x, 2.16, 0.08, 0.08), pen.tone(GOLD))


def _cape_top(pen: Pen, style: FigureStyle) -> None:
    _shaded_trunk(pen, style, pen.tone((92, 76, 120)), hem=2.9)
    cloak = bends(
        (0.2, 1.16),
        (0.9, 1.3, 1.1, 1.7),
        (1.5, 3.0, 1.55, 4.3),
        (1.3, 4.5, 1.0, 4.4),
        (0.9, 2.9, 0.24, 1.7),
        (0.2, 1.4, 0.2, 1.16),
    )
    both(pen, cloak, style.cloth)
    dark = pen.shade(style.cloth)
    for side in (-1, 1):
        pen.stroke(curve((side * 0.8, 1.9), (side * 1.1, 3.0), (side * 1.25, 4.2)), dark, weight=1.8)
    pen.shape(heart(0, 1.62, 0.34), pen.tone(GOLD))


TOPS: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "serafuku": _sailor_top,
    "blazer": _blazer,
    "gakuran": _gakuran,
    "suit": _suit,
    "shirt": _shirt_top,
    "dress": _dress_top,
    "maid": _maid_top,
    "kimono": _kimono_top,
    "hoodie": _hoodie_top,
    "sweater": _sweater_top,
    "armor": _armor_top,
    "overalls": _overalls_top,
    "cape": _cape_top,
}
"""How each outfit is drawn on the trunk."""
