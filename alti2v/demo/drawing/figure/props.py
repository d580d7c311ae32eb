"""Objects in the hands of figures; the pen's (0, 0) is the hand, in units of the body."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.figure.body import holding_hand
from alti2v.demo.drawing.pen import Pen, arc, bends, blob, curve, ellipse, polygon, star
from alti2v.demo.drawing.style import FigureStyle

_WOOD: Colour = (140, 92, 60)
_STEEL: Colour = (206, 214, 230)
_GOLD: Colour = (240, 192, 80)


def draw_held(pen: Pen, style: FigureStyle, *, behind: bool) -> None:
    """Draw the held object: the part behind the figure, or the part in front of it."""
    drawn = (_BEHIND if behind else _BEFORE).get(style.figure.held)
    if drawn is not None:
        drawn(pen.moved(*holding_hand(style)), style)


def _umbrella_canopy(pen: Pen, _: FigureStyle) -> None:
    colour = pen.tone((232, 86, 110))
    pen.rope(polygon((0.05, 0.6), (0.3, -3.2)), pen.tone(_WOOD), width=0.11)
    canopy = pen.moved(0.1, -2.6)
    canopy.shape(
        bends(
            (-2.5, 0.7),
            (-2.2, -1.5, 0.1, -1.55),
            (2.4, -1.5, 2.7, 0.7),
            (2.2, 0.3, 1.8, 0.6),
            (1.3, 0.2, 0.9, 0.55),
            (0.4, 0.15, 0.0, 0.5),
            (-0.5, 0.15, -0.9, 0.55),
            (-1.4, 0.2, -1.7, 0.6),
            (-2.1, 0.3, -2.5, 0.7),
        ),
        colour,
    )
    light = colours.lighter(colour, 0.4)
    canopy.fill(
        bends((-0.9, 0.5), (-0.9, -0.9, 0.1, -1.5), (-0.2, -0.8, 0.0, 0.45), (-0.5, 0.15, -0.9, 0.5)), light
    )
    canopy.fill(bends((0.9, 0.5), (1.0, -0.9, 0.1, -1.5), (1.8, -1.2, 1.8, 0.55), (1.3, 0.2, 0.9, 0.5)), light)


def _umbrella_handle(pen: Pen, style: FigureStyle) -> None:
    pen.rope(curve((0.0, 0.3), (-0.02, 0.75), (0.1, 0.95), (0.26, 0.8)), pen.tone(_WOOD), width=0.13)
    pen.shape(ellipse(0, 0, 0.18, 0.18), style.skin)


def _book(pen: Pen, style: FigureStyle) -> None:
    cover = pen.tone((70, 120, 190))
    book = pen.moved(-holding_hand(style)[0], -0.12)
    book.shape(
        polygon((-0.82, -0.46), (0, -0.34), (0.82, -0.46), (0.82, 0.52), (0, 0.64), (-0.82, 0.52)), cover
    )
    for side in (-1, 1):
        page = book.moved(0, 0, stretch=side)
        page.shape(
            bends((0, -0.38), (0.3, -0.56, 0.74, -0.5), (0.74, 0.0, 0.74, 0.4), (0.3, 0.36, 0, 0.54)),
            (255, 252, 242),
            weight=0.7,
        )
        for y in (-0.3, -0.12, 0.06, 0.24):
            page.stroke(curve((0.14, y), (0.36, y - 0.06), (0.62, y - 0.05)), (170, 160, 160), weight=1.1)
    for side in (-1, 1):
        book.shape(ellipse(side * 0.74, 0.36, 0.16, 0.15), style.skin)


def _sword(pen: Pen, style: FigureStyle) -> None:
    blade = pen.moved(0, 0, turn=14)
    steel = pen.tone(_STEEL)
    blade.shape(polygon((-0.16, -0.3), (-0.14, -3.1), (0.0, -3.5), (0.14, -3.1), (0.16, -0.3)), steel)
    blade.fill(polygon((0.0, -0.3), (0.0, -3.4), (0.11, -3.05), (0.13, -0.3)), pen.shade(steel))
    blade.shape(
        blob((-0.56, -0.26), (0, -0.36), (0.56, -0.26), (0.5, -0.1), (0, -0.14), (-0.5, -0.1)), pen.tone(_GOLD)
    )
    blade.rope(polygon((0, -0.12), (0, 0.55)), pen.tone((96, 56, 60)), width=0.18)
    blade.shape(ellipse(0, 0.62, 0.14, 0.14), pen.tone(_GOLD))
    pen.shape(ellipse(0, 0.05, 0.19, 0.18), style.skin)


def _bouquet(pen: Pen, style: FigureStyle) -> None:
    bunch = pen.moved(-holding_hand(style)[0], 0)
    bunch.shape(polygon((-0.6, -0.3), (0.6, -0.3), (0.16, 0.9), (-0.16, 0.9)), pen.tone((250, 244, 232)))
    leaf = pen.tone((90, 170, 90))
    bunch.fill(ellipse(0, -0.45, 0.86, 0.4), leaf)
    for x, y, colour in (
        (-0.55, -0.5, (255, 110, 140)),
        (0.0, -0.75, (255, 220, 90)),
        (0.55, -0.5, (255, 110, 140)),
        (-0.26, -0.3, (255, 250, 250)),
        (0.3, -0.3, (170, 120, 230)),
    ):
        _flower(bunch.moved(x, y, scale=0.34), pen.tone(colour))
    for side in (-1, 1):
        bunch.shape(ellipse(side * 0.18, 0.12, 0.17, 0.16), style.skin)


def _flower(pen: Pen, colour: Colour) -> None:
    pen.shape(star(6, 0.62), colour, weight=0.7)
    pen.fill(ellipse(0, 0, 0.3, 0.3), (255, 236, 150))


def _staff(pen: Pen, style: FigureStyle) -> None:
    pen.rope(polygon((0, 4.0), (0, -1.7)), pen.shade(pen.tone(_WOOD), 1.4), width=0.2)
    pen.rope(polygon((0, 4.0), (0, -1.7)), pen.tone(_WOOD), width=0.13)
    pen.rope(arc(0, -2.1, (0.5, 0.5), (110, 430)), pen.tone(_GOLD), width=0.16)
    pen.shape(ellipse(0, -2.1, 0.3, 0.3), pen.tone((90, 200, 250)))
    pen.fill(ellipse(-0.1, -2.2, 0.09, 0.09), (255, 255, 255))
    pen.shape(ellipse(0, 0, 0.19, 0.18), style.skin)


def _plush(pen: Pen, style: FigureStyle) -> None:
    fur = pen.tone((206, 150, 96))
    bear = pen.moved(-holding_hand(style)[0], -0.2)
    for side in (-1, 1):
        bear.shape(ellipse(side * 0.42, -0.62, 0.22, 0.22), fur)
        bear.shape(ellipse(side * 0.5, 0.98, 0.26, 0.24), fur)
    bear.shape(ellipse(0, 0.55, 0.56, 0.6), fur)
    bear.shape(ellipse(0, -0.22, 0.6, 0.52), fur)
    bear.fill(ellipse(0, -0.06, 0.27, 0.21), colours.lighter(fur, 0.55))
    for x, y, size in ((-0.24, -0.3, 0.07), (0.24, -0.3, 0.07), (0.0, -0.12, 0.09)):
        bear.fill(ellipse(x, y, size, size * 0.9), (54, 36, 32))
    for side in (-1, 1):
        bear.shape(ellipse(side * 0.42, 0.38, 0.17, 0.16), style.skin)


def _ice_cream(pen: Pen, style: FigureStyle) -> None:
    pen.shape(polygon((-0.3, -0.42), (0.3, -0.42), (0.0, 0.42)), pen.tone((232, 178, 104)))
    for x, y, colour in (
        (-0.2, -0.6, (255, 170, 190)),
        (0.2, -0.6, (255, 246, 214)),
        (0.0, -0.92, (150, 220, 190)),
    ):
        pen.shape(ellipse(x, y, 0.31, 0.28), pen.tone(colour))
    pen.shape(ellipse(0, 0.08, 0.19, 0.17), style.skin)


def _cup(pen: Pen, style: FigureStyle) -> None:
    white = pen.tone((250, 250, 252))
    cup = pen.moved(-holding_hand(style)[0], 0)
    cup.rope(arc(0.46, -0.2, (0.2, 0.2), (-90, 90)), pen.shade(white, 0.8), width=0.09)
    cup.shape(
        bends((-0.46, -0.5), (-0.46, 0.25, -0.2, 0.3), (0.0, 0.34, 0.2, 0.3), (0.46, 0.25, 0.46, -0.5)), white
    )
    cup.shape(ellipse(0, -0.5, 0.46, 0.14), pen.tone((130, 80, 50)))
    for x in (-0.16, 0.14):
        cup.stroke(
            curve((x, -0.7), (x + 0.12, -0.9), (x - 0.06, -1.1), (x + 0.06, -1.3)), (250, 250, 250), weight=2
        )
    for side in (-1, 1):
        cup.shape(ellipse(side * 0.4, 0.06, 0.16, 0.16), style.skin)


def _microphone(pen: Pen, style: FigureStyle) -> None:
    mic = pen.moved(0, 0, turn=-38)
    mic.rope(polygon((0, 0.65), (0, -0.3)), pen.tone((60, 60, 74)), width=0.2)
    mic.shape(ellipse(0, -0.44, 0.26, 0.28), pen.tone((150, 154, 170)))
    mic.stroke(curve((-0.16, -0.5), (0, -0.58), (0.16, -0.5)), (240, 240, 248), weight=1.5)
    pen.shape(ellipse(0, 0.05, 0.19, 0.18), style.skin)


def _balloon(pen: Pen, _: FigureStyle) -> None:
    pen.rope(curve((0, 0), (0.14, -0.9), (0.3, -1.9)), (120, 110, 120), width=0.045)
    for x, y, colour in ((0.05, -2.4, (250, 200, 70)), (0.75, -2.75, (240, 80, 100))):
        colour = pen.tone(colour)
        pen.shape(blob((x - 0.5, y), (x, y - 0.62), (x + 0.5, y), (x, y + 0.62)), colour)
        pen.fill(ellipse(x - 0.18, y - 0.26, 0.1, 0.15), colours.lighter(colour, 0.75))


def _lollipop(pen: Pen, style: FigureStyle) -> None:
    pen.rope(polygon((0, 0.3), (0, -0.6)), (250, 250, 250), width=0.09)
    pen.shape(ellipse(0, -0.9, 0.42, 0.42), pen.tone((250, 120, 160)))
    pen.rope(arc(0, -0.9, (0.22, 0.22), (0, 300)), (255, 250, 250), width=0.11)
    pen.shape(ellipse(0, 0.05, 0.18, 0.17), style.skin)


_BEHIND: Mapping[str, Callable[[Pen, FigureStyle], None]] = {"umbrella": _umbrella_canopy, "balloon": _balloon}
_BEFORE: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "umbrella": _umbrella_handle,
    "book": _book,
    "sword": _sword,
    "flower": _bouquet,
    "staff": _staff,
    "plush": _plush,
    "ice_cream": _ice_cream,
    "cup": _cup,
    "microphone": _microphone,
    "lollipop": _lollipop,
}
