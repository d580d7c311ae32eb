"""Animal ears, tails, wings, horns, hats, ribbons, glasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.pen import Pen, arc, bends, blob, curve, ellipse, mirrored, polygon
from alti2v.demo.drawing.style import FigureStyle

_PINK: Colour = (255, 190, 196)
_GOLD: Colour = (248, 204, 84)
_DEMON: Colour = (98, 56, 104)


def draw_behind(pen: Pen, style: FigureStyle) -> None:
    """Draw wings and tails; the pen is the body's."""
    _GROWN_BEHIND.get(style.figure.who.kind, _nothing)(pen, style)


def draw_on_head(pen: Pen, style: FigureStyle) -> None:
    """Draw ears, horns and a halo, then headwear."""
    _GROWN_ON_HEAD.get(style.figure.who.kind, _nothing)(pen, style)
    _WORN.get(style.figure.headwear, _nothing)(pen, style)


def draw_elf_ears(pen: Pen, style: FigureStyle) -> None:
    """Draw pointed ears, which the hair overlaps."""
    if style.figure.who.kind == "elf":
        ear = bends((0.8, 0.0), (1.3, -0.3, 1.62, -0.36), (1.4, 0.2, 0.84, 0.42))
        for path in (ear, mirrored(ear)):
            pen.shape(path, style.skin)
        inner = bends((0.92, 0.08), (1.2, -0.12, 1.42, -0.22), (1.2, 0.14, 0.92, 0.28))
        for path in (inner, mirrored(inner)):
            pen.fill(path, style.skin_shade)


def draw_eyewear(pen: Pen, style: FigureStyle) -> None:
    """Draw glasses, sunglasses or an eyepatch."""
    _EYEWEAR.get(style.figure.who.eyewear, _nothing)(pen.moved(0.16 * style.turn, 0), style)


def _nothing(_: Pen, __: FigureStyle) -> None:
    return


# Parts of the body ------------------------------------------------------------------------------------


def _pointed_ears(pen: Pen, style: FigureStyle, *, tip: tuple[float, float], inside: Colour) -> None:
    x, y = tip
    outer = bends((0.2, -1.2), (0.5, y + 0.1, x, y), (x + 0.24, -1.1, 0.98, -0.66))
    inner = bends((0.42, -1.14), (0.6, y + 0.3, x - 0.06, y + 0.2), (x + 0.06, -1.0, 0.86, -0.8))
    for flip in (False, True):
        pen.shape(mirrored(outer) if flip else outer, style.hair)
        pen.fill(mirrored(inner) if flip else inner, inside)


def _cat_ears(pen: Pen, style: FigureStyle) -> None:
    _pointed_ears(pen, style, tip=(0.92, -1.82), inside=pen.tone(_PINK))


def _fox_ears(pen: Pen, style: FigureStyle) -> None:
    _pointed_ears(pen, style, tip=(0.82, -2.08), inside=pen.tone((255, 250, 240)))


def _dog_ears(pen: Pen, style: FigureStyle) -> None:
    ear = bends((0.4, -1.28), (0.9, -1.6, 1.24, -1.1), (1.5, -0.5, 1.3, -0.2), (1.0, -0.3, 0.92, -0.8))
    for path in (ear, mirrored(ear)):
        pen.shape(path, pen.shade(style.hair, 0.7))


def _rabbit_ears(pen: Pen, style: FigureStyle) -> None:
    for side in (-1, 1):
        ear = pen.moved(side * 0.44, -1.15, turn=side * 13)
        ear.shape(
            blob((-0.2, 0.1), (-0.3, -0.7), (-0.12, -1.35), (0.12, -1.35), (0.3, -0.7), (0.2, 0.1)), style.hair
        )
        ear.fill(
            blob((-0.09, -0.05), (-0.15, -0.65), (0.0, -1.2), (0.15, -0.65), (0.09, -0.05)), pen.tone(_PINK)
        )


def _halo(pen: Pen, _: FigureStyle) -> None:
    ring = pen.moved(0, -1.72)
    ring.rope(arc(0, 0, (0.72, 0.2), (0, 360)), pen.tone((236, 180, 60)), width=0.2)
    ring.rope(arc(0, 0, (0.72, 0.2), (0, 360)), (255, 238, 150), width=0.12)


def _horns(pen: Pen, _: FigureStyle) -> None:
    horn = bends((0.42, -1.16), (0.5, -1.75, 0.98, -1.95), (1.0, -1.4, 0.8, -0.98))
    for path in (horn, mirrored(horn)):
        pen.shape(path, pen.tone((70, 54, 66)))


def _white_wings(pen: Pen, _: FigureStyle) -> None:
    _feathers(pen, pen.tone((252, 252, 255)))


def _feathers(pen: Pen, colour: Colour) -> None:
    for side in (-1, 1):
        for length, turn in ((2.7, -58), (2.5, -36), (2.2, -14), (1.8, 8)):
            feather = pen.moved(side * 0.4, 2.0, stretch=side, turn=side * turn)
            feather.shape(
                bends((0, -0.2), (length * 0.6, -0.75, length, 0.1), (length * 0.6, 0.5, 0, 0.35)), colour
            )


def _bat_wings(pen: Pen, _: FigureStyle) -> None:
    wing = bends(
        (0.4, 2.1),
        (1.2, 0.6, 2.5, 0.35),
        (2.3, 0.9, 2.6, 1.7),
        (2.1, 1.5, 1.9, 2.3),
        (1.5, 1.9, 1.2, 2.7),
        (0.9, 2.3, 0.4, 2.6),
    )
    colour = pen.tone(_DEMON)
    for side in (-1, 1):
        half = pen.moved(0, 0, stretch=side)
        half.shape(wing, colour)
        for x, y in ((2.3, 0.75), (1.9, 2.1), (1.25, 2.5)):
            half.stroke(curve((0.5, 2.2), (x * 0.6, y * 0.6 + 0.6), (x, y)), pen.shade(colour, 1.4), weight=1.2)
    tail = curve((0.3, 3.2), (1.4, 3.9), (1.9, 3.1), (1.6, 2.7))
    pen.rope(tail, pen.shade(colour, 0.8), width=0.13)
    pen.shape(polygon((1.35, 2.75), (1.6, 2.2), (1.86, 2.75)), pen.shade(colour, 0.8))


def _cat_tail(pen: Pen, style: FigureStyle) -> None:
    tail = curve((0.3, 3.2), (1.3, 3.7), (1.75, 2.9), (1.5, 2.2), (1.9, 1.75))
    pen.rope(tail, pen.shade(style.hair, 1.6), width=0.4)
    pen.rope(tail, style.hair, width=0.3)


def _fox_tail(pen: Pen, style: FigureStyle) -> None:
    tail = bends(
        (0.3, 3.3), (1.4, 3.9, 1.75, 2.9), (1.8, 2.2, 2.3, 1.7), (3.0, 2.9, 2.3, 3.7), (1.6, 4.5, 0.3, 3.7)
    )
    pen.shape(tail, style.hair)
    pen.fill(
        bends((1.86, 2.3), (2.0, 2.0, 2.28, 1.78), (2.75, 2.4, 2.62, 3.0), (2.3, 2.5, 1.86, 2.3)),
        pen.tone((255, 250, 240)),
    )


def _dog_tail(pen: Pen, style: FigureStyle) -> None:
    pen.shape(
        bends(
            (0.3, 3.3), (1.3, 3.6, 1.4, 2.6), (1.5, 2.1, 1.8, 2.2), (2.2, 3.2, 1.6, 3.7), (1.0, 4.0, 0.3, 3.6)
        ),
        pen.shade(style.hair, 0.4),
    )


_GROWN_BEHIND: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "angel": _white_wings,
    "demon": _bat_wings,
    "cat": _cat_tail,
    "fox": _fox_tail,
    "dog": _dog_tail,
}
_GROWN_ON_HEAD: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "cat": _cat_ears,
    "fox": _fox_ears,
    "dog": _dog_ears,
    "rabbit": _rabbit_ears,
    "angel": _halo,
    "demon": _horns,
}

# Worn objects ----------------------------------------------------------------------------------


def _hair_bow(pen: Pen, style: FigureStyle) -> None:
    colour = pen.tone(colours.CLOTH[style.figure.bow])
    bow = pen.moved(0.0, -1.32)
    wing = bends((0.06, 0.0), (0.5, -0.75, 1.0, -0.5), (1.12, 0.0, 0.96, 0.34), (0.5, 0.4, 0.06, 0.1))
    fold = curve((0.2, 0.02), (0.5, -0.12), (0.76, -0.18))
    for flip in (False, True):
        bow.shape(mirrored(wing) if flip else wing, colour)
        bow.stroke(mirrored(fold) if flip else fold, pen.shade(colour), weight=1.6)
    bow.shape(ellipse(0, 0.04, 0.19, 0.2), colour)


def _hair_ribbon(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((232, 66, 84))
    for side in (-1, 1):
        knot = pen.moved(side * 0.98, -0.62, stretch=side)
        knot.shape(bends((0, 0), (0.3, -0.5, 0.56, -0.3), (0.5, 0.1, 0, 0.06)), colour)
        knot.shape(bends((0, 0), (-0.3, -0.46, -0.42, -0.2), (-0.3, 0.14, 0, 0.06)), colour)
        knot.shape(
            bends((0, 0.04), (0.4, 0.4, 0.36, 0.95), (0.2, 0.8, 0.14, 0.86), (0.16, 0.4, 0, 0.04)), colour
        )


def _hairband(pen: Pen, style: FigureStyle) -> None:
    colour = pen.tone((226, 70, 90) if style.figure.who.hair != "red" else (250, 250, 252))
    pen.rope(arc(0, -0.1, (1.0, 1.06), (196, 344)), pen.shade(colour, 1.4), width=0.24)
    pen.rope(arc(0, -0.1, (1.0, 1.06), (196, 344)), colour, width=0.18)


def _hair_flower(pen: Pen, _: FigureStyle) -> None:
    flower = pen.moved(0.78, -0.78, scale=0.46)
    petal = pen.tone((255, 120, 150))
    for turn in range(0, 360, 72):
        leaf = flower.moved(0, 0, turn=turn)
        leaf.shape(blob((0, -0.1), (-0.42, -0.7), (0.0, -1.05), (0.42, -0.7)), petal, weight=0.8)
    flower.fill(ellipse(0, 0, 0.3, 0.3), pen.tone(_GOLD))


def _beret(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((196, 60, 66))
    pen.shape(
        blob(
            (-1.15, -0.8), (-1.1, -1.35), (-0.2, -1.75), (0.95, -1.5), (1.2, -0.95), (0.6, -0.92), (-0.2, -0.95)
        ),
        colour,
    )
    pen.stroke(curve((-0.9, -1.1), (-0.3, -1.45), (0.5, -1.45)), colours.lighter(colour, 0.35), weight=2)
    pen.rope(curve((0.1, -1.68), (0.14, -1.86), (0.24, -1.94)), colour, width=0.1)


def _witch_hat(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((84, 62, 124))
    cone = bends(
        (-0.86, -0.9),
        (-0.4, -2.2, -0.05, -2.5),
        (0.3, -2.9, 0.95, -2.35),
        (0.5, -2.3, 0.45, -2.1),
        (0.7, -1.5, 0.86, -0.9),
    )
    pen.shape(cone, colour)
    pen.shape(
        bends((-0.84, -0.95), (0.0, -0.72, 0.84, -0.95), (0.8, -1.15, 0.76, -1.26), (0.0, -1.05, -0.76, -1.26)),
        pen.tone((240, 170, 60)),
    )
    pen.shape(
        blob(
            (-1.8, -0.66),
            (-1.0, -1.0),
            (0.0, -0.86),
            (1.0, -1.0),
            (1.8, -0.66),
            (1.0, -0.58),
            (0.0, -0.56),
            (-1.0, -0.58),
        ),
        colour,
    )


def _straw_hat(pen: Pen, _: FigureStyle) -> None:
    straw = pen.tone((246, 212, 132))
    pen.shape(
        blob((-0.92, -0.85), (-0.78, -1.5), (0.0, -1.75), (0.78, -1.5), (0.92, -0.85), (0.0, -0.7)), straw
    )
    pen.rope(curve((-0.92, -0.98), (0.0, -0.84), (0.92, -0.98)), pen.tone((206, 60, 70)), width=0.2)
    pen.shape(
        blob(
            (-1.75, -0.55),
            (-1.0, -0.9),
            (0.0, -0.78),
            (1.0, -0.9),
            (1.75, -0.55),
            (0.9, -0.5),
            (0.0, -0.5),
            (-0.9, -0.5),
        ),
        straw,
    )
    pen.stroke(curve((-1.4, -0.62), (0.0, -0.64), (1.4, -0.62)), pen.shade(straw), weight=1.4)


def _baseball_cap(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((50, 110, 190))
    pen.shape(
        bends((-1.06, -0.6), (-1.05, -1.6, 0.0, -1.6), (1.05, -1.6, 1.06, -0.6), (0.0, -0.8, -1.06, -0.6)),
        colour,
    )
    pen.shape(
        bends(
            (-0.8, -0.72),
            (0.0, -0.95, 0.8, -0.72),
            (1.0, -0.45, 0.86, -0.34),
            (0.0, -0.62, -0.86, -0.34),
            (-1.0, -0.45, -0.8, -0.72),
        ),
        pen.shade(colour),
    )
    pen.fill(ellipse(0, -1.16, 0.24, 0.22), (250, 250, 252))


def _crown(pen: Pen, _: FigureStyle) -> None:
    gold = pen.tone(_GOLD)
    pen.shape(
        polygon(
            (-0.6, -1.1), (-0.72, -1.85), (-0.36, -1.45), (0, -2.0), (0.36, -1.45), (0.72, -1.85), (0.6, -1.1)
        ),
        gold,
    )
    for x, y, colour in (
        (-0.72, -1.88, (226, 60, 70)),
        (0, -2.02, (60, 110, 220)),
        (0.72, -1.88, (226, 60, 70)),
    ):
        pen.shape(ellipse(x, y, 0.11, 0.11), colour, weight=0.7)
    pen.rope(polygon((-0.58, -1.18), (0.58, -1.18)), colours.lighter(gold, 0.5), width=0.1)


def _santa_hat(pen: Pen, _: FigureStyle) -> None:
    red, white = pen.tone((214, 44, 54)), (252, 252, 255)
    pen.shape(
        bends((-0.95, -0.8), (-0.6, -2.2, 0.5, -2.15), (1.5, -2.0, 1.5, -1.2), (1.1, -1.6, 0.95, -0.8)), red
    )
    pen.shape(ellipse(1.5, -1.05, 0.26, 0.26), white)
    pen.shape(
        blob(
            (-1.12, -0.7),
            (-0.9, -1.02),
            (0.0, -1.14),
            (0.9, -1.02),
            (1.12, -0.7),
            (0.7, -0.68),
            (0.0, -0.82),
            (-0.7, -0.68),
        ),
        white,
    )


def _headphones(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((64, 64, 80))
    pen.rope(arc(0, 0.0, (1.12, 1.4), (184, 356)), colour, width=0.2)
    for side in (-1, 1):
        pen.shape(ellipse(side * 1.08, 0.1, 0.24, 0.4), colour)
        pen.fill(ellipse(side * 1.12, 0.1, 0.11, 0.24), pen.tone((70, 200, 230)))


def _maid_headdress(pen: Pen, _: FigureStyle) -> None:
    for step in range(9):
        x = (step - 4) * 0.19
        pen.shape(ellipse(x, -1.32 + 0.42 * x * x, 0.17, 0.22), (252, 252, 255), weight=0.8)
    pen.rope(curve((-0.84, -0.92), (0.0, -1.22), (0.84, -0.92)), pen.tone((58, 54, 72)), width=0.1)


_WORN: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "hair_bow": _hair_bow,
    "hair_ribbon": _hair_ribbon,
    "hairband": _hairband,
    "hair_flower": _hair_flower,
    "beret": _beret,
    "witch_hat": _witch_hat,
    "straw_hat": _straw_hat,
    "baseball_cap": _baseball_cap,
    "crown": _crown,
    "santa_hat": _santa_hat,
    "headphones": _headphones,
    "maid_headdress": _maid_headdress,
}


def _glasses(pen: Pen, _: FigureStyle) -> None:
    frame = pen.tone((60, 44, 60))
    for side in (-1, 1):
        pen.rope(arc(side * 0.43, 0.22, (0.37, 0.33), (0, 360)), frame, width=0.075)
        pen.stroke(curve((side * 0.43 - 0.14, 0.06), (side * 0.43 - 0.2, 0.2)), (255, 255, 255), weight=1.6)
        pen.rope(polygon((side * 0.8, 0.16), (side * 0.98, 0.06)), frame, width=0.06)
    pen.rope(curve((-0.08, 0.2), (0.0, 0.15), (0.08, 0.2)), frame, width=0.06)


def _sunglasses(pen: Pen, _: FigureStyle) -> None:
    for side in (-1, 1):
        pen.fill(ellipse(side * 0.43, 0.2, 0.4, 0.32), (44, 40, 54))
        pen.fill(ellipse(side * 0.43 - 0.12, 0.1, 0.12, 0.08), (130, 130, 160))
        pen.rope(polygon((side * 0.8, 0.14), (side * 0.98, 0.04)), (44, 40, 54), width=0.07)
    pen.rope(polygon((-0.1, 0.14), (0.1, 0.14)), (44, 40, 54), width=0.08)


def _eyepatch(pen: Pen, _: FigureStyle) -> None:
    pen.rope(polygon((-0.95, -0.4), (0.44, 0.1), (0.95, 0.4)), (250, 250, 252), width=0.07)
    pen.shape(
        blob((0.1, 0.0), (0.44, -0.16), (0.78, 0.0), (0.74, 0.4), (0.44, 0.54), (0.14, 0.4)), (250, 250, 252)
    )


_EYEWEAR: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "glasses": _glasses,
    "sunglasses": _sunglasses,
    "eyepatch": _eyepatch,
}
