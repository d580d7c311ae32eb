"""Backgrounds: plain colours, patterns and rooms; those of `outdoors.py` are dispatched here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.background.canvas import Canvas, box, gradient
from alti2v.demo.drawing.background.outdoors import OUTDOORS
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.pen import Pen, bends, curve, ellipse, heart, polygon
from alti2v.demo.drawing.scene import Scene


def draw_backdrop(canvas: Canvas, scene: Scene) -> None:
    """Draw the background of a scene on the whole canvas."""
    _BACKDROPS[scene.background](canvas)


def _flat(colour: Colour) -> Callable[[Canvas], None]:
    return lambda canvas: box(canvas.pen, 0, 0, canvas.width, 1, canvas.pen.tone(colour))


def _nothing(_: Canvas) -> None:
    """Draw nothing: the canvas is white, or transparent, already."""


_GRADIENTS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 214, 224), (176, 214, 255)),
    ((255, 240, 190), (255, 168, 190)),
    ((196, 240, 226), (176, 176, 246)),
    ((226, 196, 255), (255, 226, 206)),
)


def _soft_gradient(canvas: Canvas) -> None:
    gradient(canvas, *canvas.rng.choice(_GRADIENTS))


_PATTERN_COLOURS: tuple[Colour, ...] = (
    (255, 196, 212),
    (190, 222, 255),
    (255, 230, 160),
    (204, 236, 200),
    (224, 206, 250),
)


def _dots(canvas: Canvas) -> None:
    pen = canvas.pen
    colour = pen.tone(canvas.rng.choice(_PATTERN_COLOURS))
    box(pen, 0, 0, canvas.width, 1, colours.lighter(colour, 0.7))
    pitch = 0.125
    for row in range(-1, 9):
        for column in range(-1, int(canvas.width / pitch) + 2):
            pen.fill(ellipse((column + row % 2 / 2) * pitch, (row + 0.5) * pitch, 0.036, 0.036), colour)


def _stripes(canvas: Canvas) -> None:
    pen = canvas.pen
    colour = pen.tone(canvas.rng.choice(_PATTERN_COLOURS))
    box(pen, 0, 0, canvas.width, 1, colours.lighter(colour, 0.75))
    for step in range(-8, int(canvas.width / 0.16) + 2):
        x = step * 0.16
        pen.fill(polygon((x, 1.0), (x + 0.08, 1.0), (x + 1.08, 0.0), (x + 1.0, 0.0)), colour)


def _hearts(canvas: Canvas) -> None:
    pen = canvas.pen
    box(pen, 0, 0, canvas.width, 1, pen.tone((255, 226, 234)))
    pitch = 0.19
    for row in range(-1, 7):
        for column in range(-1, int(canvas.width / pitch) + 2):
            pen.fill(
                heart((column + row % 2 / 2) * pitch, (row + 0.5) * pitch, 0.12), pen.tone((255, 150, 176))
            )


def _window(pen: Pen, x: float, y: float, width: float, height: float, *, curtains: bool) -> None:
    box(pen, x - 0.015, y - 0.015, x + width + 0.015, y + height + 0.015, (250, 248, 240))
    box(pen, x, y, x + width, y + height, pen.tone((160, 214, 250)))
    pen.fill(ellipse(x + width * 0.4, y + height * 0.6, width * 0.3, height * 0.12), (245, 250, 255))
    box(pen, x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + height, (250, 248, 240))
    box(pen, x, y + height / 2 - 0.008, x + width, y + height / 2 + 0.008, (250, 248, 240))
    if curtains:
        cloth = pen.tone((250, 170, 160))
        for left, right in ((x - 0.05, x + width * 0.2), (x + width * 0.8, x + width + 0.05)):
            pen.shape(
                bends(
                    (left, y - 0.04),
                    (right, y + height * 0.5, right, y + height + 0.1),
                    (left, y + height + 0.12, left, y - 0.04),
                ),
                cloth,
                weight=0.6,
            )


def _classroom(canvas: Canvas) -> None:
    pen, w = canvas.pen, canvas.width
    box(pen, 0, 0, w, 1, pen.tone((246, 232, 200)))
    box(pen, 0, 0.8, w, 1, pen.tone((206, 156, 104)))
    box(pen, 0.03, 0.12, w * 0.68, 0.56, pen.tone((172, 118, 74)))
    box(pen, 0.05, 0.14, w * 0.68 - 0.02, 0.54, pen.tone((52, 104, 84)))
    for y in (0.22, 0.3, 0.38):
        pen.stroke(curve((0.09, y), (0.16, y - 0.012), (0.3 * w, y)), (226, 238, 230), weight=1.4)
    _window(pen, w * 0.76, 0.12, w * 0.2, 0.42, curtains=False)
    for x in (0.02, 0.68):
        box(pen, x * w, 0.72, (x + 0.3) * w, 0.76, pen.tone((226, 180, 120)))
        box(pen, (x + 0.03) * w, 0.76, (x + 0.05) * w, 0.98, pen.tone((130, 134, 146)))
        box(pen, (x + 0.25) * w, 0.76, (x + 0.27) * w, 0.98, pen.tone((130, 134, 146)))


def _room(canvas: Canvas) -> None:
    pen, w = canvas.pen, canvas.width
    box(pen, 0, 0, w, 1, pen.tone((250, 226, 214)))
    for x in range(int(w / 0.1) + 1):
        box(pen, x * 0.1, 0, x * 0.1 + 0.04, 0.78, pen.tone((248, 216, 204)))
    box(pen, 0, 0.78, w, 1, pen.tone((196, 146, 110)))
    left = w * canvas.rng.choice((0.08, 0.56))
    _window(pen, left, 0.12, w * 0.34, 0.42, curtains=True)


def _library(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    wood = pen.tone((122, 78, 52))
    box(pen, 0, 0, w, 1, pen.tone((76, 48, 40)))
    for shelf in range(5):
        y = 0.2 * (shelf + 1)
        x = 0.01
        while x < w:
            width, height = rng.uniform(0.022, 0.045), rng.uniform(0.11, 0.16)
            colour = rng.choice(
                ((190, 70, 66), (70, 110, 160), (90, 140, 100), (220, 180, 110), (140, 100, 160))
            )
            box(pen, x, y - 0.02 - height, x + width, y - 0.02, pen.tone(colour))
            x += width + 0.003
        box(pen, 0, y - 0.022, w, y, wood)


_BACKDROPS: Mapping[str, Callable[[Canvas], None]] = {
    **OUTDOORS,
    "white": _nothing,
    "transparent": _nothing,
    "grey": _flat((190, 192, 198)),
    "blue": _flat((150, 196, 246)),
    "pink": _flat((255, 196, 212)),
    "yellow": _flat((255, 232, 150)),
    "black": _flat((34, 34, 40)),
    "gradient": _soft_gradient,
    "dots": _dots,
    "stripes": _stripes,
    "hearts": _hearts,
    "classroom": _classroom,
    "room": _room,
    "library": _library,
}
