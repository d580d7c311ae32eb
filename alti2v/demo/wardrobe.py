"""Clothes: what each outfit puts on the trunk and below it. Units of a full-grown figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alti2v.demo import colours
from alti2v.demo.body import both, draw_arms, draw_legs, draw_neck, trunk
from alti2v.demo.colours import Colour
from alti2v.demo.look import Look
from alti2v.demo.pen import Pen, bends, blob, curve, ellipse, heart, mirrored, polygon

_SHIRT: Colour = (250, 250, 254)
_STEEL: Colour = (172, 180, 198)
_NAVY: Colour = (56, 70, 126)
_GOLD: Colour = (236, 190, 84)
_DENIM: Colour = (84, 116, 180)


@dataclass(frozen=True, slots=True)
class Garment:
    """How an outfit is drawn.

    Attributes:
        below: from the waist down, behind the trunk's hem.
        top: on the trunk.
        sleeve: colour of the sleeves, already toned.
    """

    below: Callable[[Pen, Look], None]
    top: Callable[[Pen, Look], None]
    sleeve: Callable[[Pen, Look], Colour]


def draw_dressed_body(pen: Pen, look: Look) -> None:
    """Draw everything from the neck down but the arms before the trunk."""
    garment = _GARMENTS[look.figure.outfit]
    draw_arms(pen, look, behind=True, sleeve=garment.sleeve(pen, look))
    draw_legs(pen, look)
    garment.below(pen, look)
    draw_neck(pen, look)
    garment.top(pen, look)


def draw_front_arms(pen: Pen, look: Look) -> None:
    """Draw the arms before the trunk."""
    draw_arms(pen, look, behind=False, sleeve=_GARMENTS[look.figure.outfit].sleeve(pen, look))


def draw_scarf(pen: Pen, look: Look) -> None:
    """Wind a scarf around the neck, one end hanging down."""
    colour = pen.tone(colours.CLOTH[look.figure.scarf])
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


# Skirts and trousers --------------------------------------------------------------------------


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


def _pleated_skirt(pen: Pen, look: Look) -> None:
    _skirt(pen, look.cloth, hem=4.2, width=1.24, pleats=7)


def _plain_skirt(pen: Pen, look: Look) -> None:
    if not look.figure.is_boy:
        _skirt(pen, look.cloth, hem=4.15, width=1.1, pleats=2)


def _grey_skirt(pen: Pen, _: Look) -> None:
    _skirt(pen, pen.tone((118, 104, 110)), hem=4.1, width=1.05, pleats=2)


def _shorts(pen: Pen, look: Look) -> None:
    if not look.figure.is_boy:
        leg = bends((0.0, 3.0), (0.4, 2.9, 0.84, 3.1), (0.9, 3.6, 0.86, 3.95), (0.4, 4.05, 0.06, 3.9))
        both(pen, leg, pen.tone((84, 96, 132)))


def _nothing(_: Pen, __: Look) -> None:
    return


def _gown(pen: Pen, look: Look) -> None:
    _skirt(pen, look.cloth, hem=4.65, width=1.5, pleats=5)
    is_white = look.figure.colour == "white"
    frill = pen.shade(look.cloth, 0.5) if is_white else colours.lighter(look.cloth, 0.55)
    _frill(pen, frill, y=4.7, width=1.5)


def _frill(pen: Pen, colour: Colour, *, y: float, width: float) -> None:
    count = 9
    for step in range(count):
        x = ((step + 0.5) / count * 2 - 1) * width * 0.95
        pen.shape(ellipse(x, y + 0.08 - 0.1 * (x / width) ** 2, width / count * 1.15, 0.13), colour, weight=0.7)


def _maid_skirt(pen: Pen, _: Look) -> None:
    _skirt(pen, pen.tone((58, 54, 72)), hem=4.5, width=1.5, pleats=5)
    white = pen.tone(_SHIRT)
    _frill(pen, white, y=4.55, width=1.5)
    apron = bends((-0.46, 2.8), (-0.72, 3.6, -0.8, 4.1), (0.0, 4.45, 0.8, 4.1), (0.72, 3.6, 0.46, 2.8))
    pen.shape(apron, white)
    for x in (-0.6, -0.3, 0.0, 0.3, 0.6):
        pen.shape(ellipse(x, 4.2 - 0.3 * x * x, 0.19, 0.11), white, weight=0.7)


def _robe(pen: Pen, look: Look) -> None:
    outline = bends((-0.62, 2.7), (-0.9, 4.0, -0.86, 6.05), (0.0, 6.2, 0.86, 6.05), (0.9, 4.0, 0.62, 2.7))
    pen.shape(outline, look.cloth)
    pen.stroke(curve((0.3, 3.1), (0.1, 4.6), (0.16, 6.1)), pen.shade(look.cloth), weight=2)
    for x, y in ((-0.5, 4.2), (-0.25, 5.3), (0.5, 4.9), (0.55, 3.7), (-0.6, 5.8)):
        _blossom(pen, x, y, 0.16, colours.lighter(look.cloth, 0.6))


def _blossom(pen: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    for dx, dy in ((0, -1), (0.95, -0.31), (0.59, 0.81), (-0.59, 0.81), (-0.95, -0.31)):
        pen.fill(ellipse(x + dx * size * 0.55, y + dy * size * 0.55, size * 0.5, size * 0.5), colour)
    pen.fill(ellipse(x, y, size * 0.3, size * 0.3), (250, 220, 110))


# On the trunk --------------------------------------------------------------------------------


def _shaded_trunk(pen: Pen, look: Look, colour: Colour, *, hem: float = 3.0, flare: float = 0.0) -> None:
    pen.shape(trunk(look, hem=hem, flare=flare), colour)
    dark = pen.shade(colour, 0.85)
    fold = bends((0.7, 1.9), (0.4, 2.4, 0.58 + flare * 0.5, 2.85), (0.66 + flare * 0.5, 2.5, 0.72, 2.1))
    pen.fill(fold, dark)
    pen.stroke(curve((-0.6, 2.2), (-0.45, 2.32), (-0.3, 2.34)), dark, weight=1.3)
    if look.view != "behind":
        # The head throws its shadow on the collar.
        pen.fill(bends((-0.5, 1.36), (0.0, 1.2, 0.5, 1.36), (0.0, 1.86, -0.5, 1.36)), dark)


def _sailor_top(pen: Pen, look: Look) -> None:
    white = pen.tone(_SHIRT)
    _shaded_trunk(pen, look, white, hem=3.05)
    collar = look.cloth
    if look.view == "behind":
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


def _jacket(pen: Pen, look: Look, colour: Colour, tie: Colour) -> None:
    _shaded_trunk(pen, look, colour, hem=3.25)
    if look.view == "behind":
        return
    pen.shape(
        bends((-0.3, 1.28), (-0.3, 1.9, 0.0, 2.5), (0.3, 1.9, 0.3, 1.28), (0.0, 1.5, -0.3, 1.28)),
        pen.tone(_SHIRT),
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
    _collar(pen, pen.tone(_SHIRT))
    pen.stroke(curve((0.0, 2.55), (0.02, 2.9), (0.0, 3.28)), pen.shade(colour, 1.6), weight=1.3)
    for y in (2.72, 3.0):
        pen.fill(ellipse(0.12, y, 0.06, 0.06), pen.tone(_GOLD))


def _blazer(pen: Pen, look: Look) -> None:
    _jacket(pen, look, pen.tone(_NAVY), pen.tone((206, 50, 60)))


def _suit(pen: Pen, look: Look) -> None:
    _jacket(pen, look, pen.tone((92, 96, 112)), pen.tone((60, 90, 170)))


def _gakuran(pen: Pen, look: Look) -> None:
    black = pen.tone((52, 52, 66))
    _shaded_trunk(pen, look, black, hem=3.35)
    if look.view == "behind":
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
        pen.fill(ellipse(0.0, y, 0.085, 0.085), pen.tone(_GOLD))


def _shirt_top(pen: Pen, look: Look) -> None:
    white = pen.tone(_SHIRT)
    _shaded_trunk(pen, look, white, hem=3.0)
    if look.view == "behind":
        return
    _collar(pen, white)
    if look.figure.is_boy:
        _necktie(pen, pen.tone((60, 90, 170)))
        return
    bow = pen.tone((206, 50, 60))
    both(pen, bends((0.04, 1.66), (0.3, 1.4, 0.52, 1.5), (0.54, 1.7, 0.48, 1.88), (0.3, 1.9, 0.04, 1.72)), bow)
    pen.shape(ellipse(0, 1.68, 0.11, 0.11), bow)
    for y in (2.05, 2.4, 2.7):
        pen.fill(ellipse(0, y, 0.04, 0.04), pen.shade(white, 1.6))


def _dress_top(pen: Pen, look: Look) -> None:
    _shaded_trunk(pen, look, look.cloth, hem=2.85)
    if look.figure.sleeves == "none":
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
            look.skin,
        )
        for x in (-0.5, 0.5):
            pen.rope(polygon((x, 1.3), (x * 1.1, 2.05)), look.cloth, width=0.12)
    if look.view == "behind":
        return
    band = colours.lighter(look.cloth, 0.55) if look.figure.colour != "white" else pen.tone((150, 190, 240))
    pen.shape(
        bends((-0.62, 2.6), (0.0, 2.72, 0.62, 2.6), (0.64, 2.75, 0.62, 2.86), (0.0, 2.98, -0.62, 2.86)), band
    )
    if look.figure.sleeves != "none":
        _collar(pen, band)


def _maid_top(pen: Pen, look: Look) -> None:
    _shaded_trunk(pen, look, pen.tone((58, 54, 72)), hem=2.9)
    white = pen.tone(_SHIRT)
    if look.view == "behind":
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


def _kimono_top(pen: Pen, look: Look) -> None:
    _shaded_trunk(pen, look, look.cloth, hem=3.2)
    sash = pen.tone((250, 208, 100) if look.figure.colour not in {"yellow", "white"} else (200, 70, 90))
    if look.view != "behind":
        inner = pen.tone(_SHIRT)
        pen.shape(
            bends((-0.4, 1.24), (-0.1, 1.7, 0.2, 2.3), (0.0, 2.4, -0.1, 2.4), (-0.4, 1.8, -0.56, 1.3)), inner
        )
        pen.shape(
            bends((0.4, 1.24), (0.1, 1.7, -0.3, 2.4), (-0.1, 2.5, 0.06, 2.4), (0.4, 1.9, 0.62, 1.32)), inner
        )
        pen.shape(
            bends((0.62, 1.3), (0.36, 1.9, -0.02, 2.42), (0.2, 2.5, 0.3, 2.4), (0.6, 1.9, 0.74, 1.36)),
            pen.shade(look.cloth, 0.9),
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
    _blossom(pen, -0.5, 2.05, 0.16, colours.lighter(look.cloth, 0.6))


def _hoodie_top(pen: Pen, look: Look) -> None:
    hood = pen.shade(look.cloth, 0.5)
    if look.view != "behind":
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
    _shaded_trunk(pen, look, look.cloth, hem=3.4, flare=0.16)
    if look.view == "behind":
        pen.shape(blob((-0.7, 1.2), (-0.6, 1.9), (0.0, 2.2), (0.6, 1.9), (0.7, 1.2), (0.0, 1.1)), hood)
        return
    both(
        pen,
        bends((0.0, 1.78), (0.3, 1.6, 0.36, 1.1), (0.7, 1.06, 0.86, 1.2), (0.8, 1.7, 0.0, 1.98)),
        look.cloth,
    )
    string = pen.tone(_SHIRT) if look.figure.colour not in {"white", "yellow"} else pen.tone((214, 90, 90))
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
        look.cloth,
    )


def _sweater_top(pen: Pen, look: Look) -> None:
    _shaded_trunk(pen, look, look.cloth, hem=3.35, flare=0.06)
    dark = pen.shade(look.cloth, 0.7)
    for x in (-0.5, -0.25, 0.0, 0.25, 0.5):
        pen.stroke(curve((x * 0.9, 1.75), (x, 2.5), (x * 1.1, 3.3)), dark, weight=1.2)
    pen.shape(blob((-0.36, 1.02), (-0.42, 1.3), (0.0, 1.5), (0.42, 1.3), (0.36, 1.02), (0.0, 1.1)), look.cloth)
    pen.stroke(curve((-0.3, 1.2), (0.0, 1.32), (0.3, 1.2)), dark)


def _armor_top(pen: Pen, look: Look) -> None:
    steel = pen.tone(_STEEL)
    gold = pen.tone(_GOLD)
    _shaded_trunk(pen, look, pen.tone((74, 78, 104)), hem=3.1)
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


def _overalls_top(pen: Pen, look: Look) -> None:
    shirt, stripe = pen.tone(_SHIRT), pen.tone((220, 70, 80))
    _shaded_trunk(pen, look, shirt, hem=2.9)
    for y in (1.6, 1.9, 2.2, 2.5):
        pen.rope(
            curve((-0.84 + 0.14 * (y - 1.6), y), (0.0, y + 0.1), (0.84 - 0.14 * (y - 1.6), y)),
            stripe,
            width=0.12,
        )
    denim = pen.tone(_DENIM)
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
        pen.fill(ellipse(x, 2.16, 0.08, 0.08), pen.tone(_GOLD))


def _overalls_legs(pen: Pen, _: Look) -> None:
    leg = bends(
        (0.0, 3.0), (0.4, 2.9, 0.84, 3.2), (0.9, 4.5, 0.78, 5.6), (0.4, 5.7, 0.08, 5.6), (0.1, 4.4, 0.0, 3.6)
    )
    both(pen, leg, pen.tone(_DENIM))


def _cape_top(pen: Pen, look: Look) -> None:
    _shaded_trunk(pen, look, pen.tone((92, 76, 120)), hem=2.9)
    cloak = bends(
        (0.2, 1.16),
        (0.9, 1.3, 1.1, 1.7),
        (1.5, 3.0, 1.55, 4.3),
        (1.3, 4.5, 1.0, 4.4),
        (0.9, 2.9, 0.24, 1.7),
        (0.2, 1.4, 0.2, 1.16),
    )
    both(pen, cloak, look.cloth)
    dark = pen.shade(look.cloth)
    for side in (-1, 1):
        pen.stroke(curve((side * 0.8, 1.9), (side * 1.1, 3.0), (side * 1.25, 4.2)), dark, weight=1.8)
    pen.shape(heart(0, 1.62, 0.34), pen.tone(_GOLD))


def _cape_gown(pen: Pen, _: Look) -> None:
    _skirt(pen, pen.tone((92, 76, 120)), hem=4.5, width=1.3, pleats=5)


def _cloth(_: Pen, look: Look) -> Colour:
    return look.cloth


def _plain(colour: Colour) -> Callable[[Pen, Look], Colour]:
    return lambda pen, _: pen.tone(colour)


_GARMENTS: Mapping[str, Garment] = {
    "serafuku": Garment(_pleated_skirt, _sailor_top, _plain(_SHIRT)),
    "blazer": Garment(_pleated_skirt, _blazer, _plain(_NAVY)),
    "gakuran": Garment(_nothing, _gakuran, _plain((52, 52, 66))),
    "suit": Garment(_nothing, _suit, _plain((92, 96, 112))),
    "shirt": Garment(_plain_skirt, _shirt_top, _plain(_SHIRT)),
    "dress": Garment(_gown, _dress_top, _cloth),
    "maid": Garment(_maid_skirt, _maid_top, _plain((58, 54, 72))),
    "kimono": Garment(_robe, _kimono_top, _cloth),
    "hoodie": Garment(_shorts, _hoodie_top, _cloth),
    "sweater": Garment(_grey_skirt, _sweater_top, _cloth),
    "armor": Garment(_plain_skirt, _armor_top, _plain((74, 78, 104))),
    "overalls": Garment(_overalls_legs, _overalls_top, _plain(_SHIRT)),
    "cape": Garment(_cape_gown, _cape_top, _plain((92, 76, 120))),
}
