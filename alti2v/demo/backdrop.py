"""Backgrounds and what floats before them. The unit is the picture's height, (0, 0) its upper left corner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from alti2v.demo import colours
from alti2v.demo.colours import Colour, blended
from alti2v.demo.pen import Pen, arc, bends, blob, curve, ellipse, heart, polygon, star
from alti2v.demo.scene import Scene

_BANDS = 72  # of a gradient; more cannot be told apart


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a background is drawn: the pen, the width in units of the height, and the source of its details."""

    pen: Pen
    width: float
    rng: Random


def draw_backdrop(stage: Stage, scene: Scene) -> None:
    """Draw the background of a scene over the whole stage."""
    _BACKDROPS[scene.background](stage)


def draw_effect(stage: Stage, scene: Scene) -> None:
    """Draw what floats before the figures."""
    if scene.background == "cherry":
        _petals(stage)
    elif scene.background == "snow":
        _flakes(stage, 40, 0.012)
    elif scene.background == "rain":
        _drops(stage)
    elif scene.background == "autumn":
        _leaves(stage, 14)
    elif scene.background == "underwater":
        _bubbles(stage)
    effect = _EFFECTS.get(scene.effect)
    if effect is not None:
        effect(stage)


def draw_frame(stage: Stage, scene: Scene) -> None:
    """Draw a border or letterbox bars, and the artist's signature."""
    pen, width = stage.pen, stage.width
    if scene.is_signed:
        x, y = width * 0.8, 0.93
        for step in range(4):
            pen.stroke(
                curve(
                    (x + step * 0.025, y + 0.02),
                    (x + 0.012 + step * 0.025, y - 0.03),
                    (x + 0.03 + step * 0.025, y + 0.015),
                ),
                (70, 60, 80),
                weight=1.4,
            )
        pen.stroke(
            curve((x - 0.01, y + 0.04), (x + 0.06, y + 0.03), (x + 0.13, y + 0.036)), (70, 60, 80), weight=1.2
        )
    if scene.frame == "border":
        edge = 0.045
        for x0, y0, x1, y1 in (
            (0, 0, width, edge),
            (0, 1 - edge, width, 1),
            (0, 0, edge, 1),
            (width - edge, 0, width, 1),
        ):
            _box(pen, x0, y0, x1, y1, (255, 255, 255))
    elif scene.frame == "letterbox":
        _box(pen, 0, 0, width, 0.11, (12, 12, 14))
        _box(pen, 0, 0.89, width, 1, (12, 12, 14))


def _box(pen: Pen, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
    pen.fill(polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)


def _gradient(stage: Stage, top: Colour, bottom: Colour, *, start: float = 0.0, end: float = 1.0) -> None:
    top, bottom = stage.pen.tone(top), stage.pen.tone(bottom)
    height = (end - start) / _BANDS
    for band in range(_BANDS):
        y = start + height * band
        colour = blended(top, bottom, (band + 0.5) / _BANDS)
        stage.pen.fill(_BAND * (stage.width, height * 1.2) + (0, y), colour)  # no gap where edges are rounded


_BAND = polygon((0, 0), (1, 0), (1, 1), (0, 1))


def _flat(colour: Colour) -> Callable[[Stage], None]:
    return lambda stage: _box(stage.pen, 0, 0, stage.width, 1, stage.pen.tone(colour))


def _nothing(_: Stage) -> None:
    """The canvas is white, or transparent, already."""


# Patterns --------------------------------------------------------------------------------------

_GRADIENTS: tuple[tuple[Colour, Colour], ...] = (
    ((255, 214, 224), (176, 214, 255)),
    ((255, 240, 190), (255, 168, 190)),
    ((196, 240, 226), (176, 176, 246)),
    ((226, 196, 255), (255, 226, 206)),
)


def _soft_gradient(stage: Stage) -> None:
    _gradient(stage, *stage.rng.choice(_GRADIENTS))


_PATTERN_COLOURS: tuple[Colour, ...] = (
    (255, 196, 212),
    (190, 222, 255),
    (255, 230, 160),
    (204, 236, 200),
    (224, 206, 250),
)


def _dots(stage: Stage) -> None:
    pen = stage.pen
    colour = pen.tone(stage.rng.choice(_PATTERN_COLOURS))
    _box(pen, 0, 0, stage.width, 1, colours.lighter(colour, 0.7))
    pitch = 0.125
    for row in range(-1, 9):
        for column in range(-1, int(stage.width / pitch) + 2):
            pen.fill(ellipse((column + row % 2 / 2) * pitch, (row + 0.5) * pitch, 0.036, 0.036), colour)


def _stripes(stage: Stage) -> None:
    pen = stage.pen
    colour = pen.tone(stage.rng.choice(_PATTERN_COLOURS))
    _box(pen, 0, 0, stage.width, 1, colours.lighter(colour, 0.75))
    for step in range(-8, int(stage.width / 0.16) + 2):
        x = step * 0.16
        pen.fill(polygon((x, 1.0), (x + 0.08, 1.0), (x + 1.08, 0.0), (x + 1.0, 0.0)), colour)


def _hearts(stage: Stage) -> None:
    pen = stage.pen
    _box(pen, 0, 0, stage.width, 1, pen.tone((255, 226, 234)))
    pitch = 0.19
    for row in range(-1, 7):
        for column in range(-1, int(stage.width / pitch) + 2):
            pen.fill(
                heart((column + row % 2 / 2) * pitch, (row + 0.5) * pitch, 0.12), pen.tone((255, 150, 176))
            )


# Skies -----------------------------------------------------------------------------------------


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


def _clouds(stage: Stage, colour: Colour, shadow: Colour, *, lowest: float = 0.75, count: int = 4) -> None:
    for _ in range(count):
        x, y = stage.rng.random() * stage.width, 0.08 + stage.rng.random() * lowest
        size = 0.1 + 0.1 * stage.rng.random()
        _cloud(stage.pen, x, y + size * 0.16, size, stage.pen.tone(shadow))
        _cloud(stage.pen, x, y, size, stage.pen.tone(colour))


def _sky(stage: Stage) -> None:
    _gradient(stage, (70, 150, 240), (196, 232, 255))
    _clouds(stage, (255, 255, 255), (206, 226, 246), count=5)


def _sunset(stage: Stage) -> None:
    _gradient(stage, (118, 84, 168), (255, 150, 84))
    _gradient(stage, (255, 150, 84), (255, 214, 120), start=0.62)
    x = stage.width * stage.rng.uniform(0.15, 0.85)
    stage.pen.fill(ellipse(x, 0.7, 0.13, 0.13), stage.pen.tone((255, 244, 190)))
    _clouds(stage, (255, 176, 150), (206, 110, 140), lowest=0.5)
    _hills(stage, (86, 58, 98), 0.86)


def _hills(stage: Stage, colour: Colour, y: float) -> None:
    w = stage.width
    stage.pen.fill(
        bends(
            (0, 1.02),
            (0, y, 0, y),
            (0.2 * w, y - 0.08, 0.45 * w, y + 0.02),
            (0.75 * w, y + 0.1, w, y - 0.03),
            (w, 1, w, 1.02),
        ),
        stage.pen.tone(colour),
    )


def _night_sky(stage: Stage, *, moon: bool = True, stars: int = 46) -> None:
    pen, rng = stage.pen, stage.rng
    _gradient(stage, (14, 18, 58), (66, 72, 140))
    for _ in range(stars):
        size = rng.choice((0.004, 0.005, 0.006, 0.011))
        shape = star(4, 0.3) * (size * 2.4) if size > 0.01 else _DOT * size
        pen.fill(shape + (rng.random() * stage.width, rng.random() * 0.9), (255, 250, 214))
    if moon:
        x = stage.width * rng.choice((0.16, 0.84))
        pen.fill(ellipse(x, 0.17, 0.15, 0.15), blended(pen.tone((66, 72, 140)), (255, 246, 200), 0.22))
        pen.fill(ellipse(x, 0.17, 0.105, 0.105), (255, 246, 206))
        pen.fill(ellipse(x + 0.03, 0.15, 0.022, 0.02), (240, 224, 170))
        pen.fill(ellipse(x - 0.03, 0.2, 0.03, 0.026), (240, 224, 170))


_DOT = ellipse(0, 0, 1, 1)


def _starry_night(stage: Stage) -> None:
    _night_sky(stage)
    _hills(stage, (24, 26, 62), 0.9)


def _fireworks(stage: Stage) -> None:
    _night_sky(stage, moon=False, stars=14)
    for colour in ((255, 120, 150), (255, 220, 110), (120, 220, 255), (170, 255, 170)):
        x, y = stage.rng.random() * stage.width, 0.1 + stage.rng.random() * 0.42
        radius = stage.rng.uniform(0.12, 0.2)
        for turn in range(0, 360, 24):
            ray = stage.pen.moved(x, y, turn=turn)
            ray.rope(polygon((radius * 0.3, 0), (radius, 0)), colour, width=0.009)
            ray.fill(ellipse(radius, 0, 0.012, 0.012), colour)
    _skyline(stage, (20, 20, 46), 0.8, lit=False)


def _halloween(stage: Stage) -> None:
    pen = stage.pen
    _gradient(stage, (56, 24, 84), (236, 120, 50))
    x = stage.width * stage.rng.choice((0.2, 0.8))
    pen.fill(ellipse(x, 0.2, 0.13, 0.13), (255, 232, 150))
    _hills(stage, (38, 22, 50), 0.84)
    for _ in range(4):
        bat = pen.moved(stage.rng.random() * stage.width, stage.rng.uniform(0.08, 0.5), scale=0.05)
        bat.fill(
            bends(
                (0, 0.3),
                (-0.8, -0.3, -1.6, 0.1),
                (-1.0, -0.8, -0.3, -0.3),
                (0, -0.5, 0.3, -0.3),
                (1.0, -0.8, 1.6, 0.1),
                (0.8, -0.3, 0, 0.3),
            ),
            (30, 16, 40),
        )
    for x, size in ((0.13, 0.11), (0.87, 0.13)):
        _lantern(pen.moved(x * stage.width, 0.9, scale=size))


def _lantern(pen: Pen) -> None:
    skin = pen.tone((240, 130, 36))
    pen.rope(curve((0, -0.7), (0.06, -1.0), (0.24, -1.1)), (80, 110, 50), width=0.2)
    for x in (-0.55, 0.55, 0.0):
        pen.shape(ellipse(x, 0, 0.62, 0.8), skin)
    for side in (-1, 1):
        pen.fill(polygon((side * 0.2, -0.1), (side * 0.62, -0.1), (side * 0.42, -0.46)), (255, 236, 120))
    pen.fill(
        bends((-0.7, 0.14), (0, 0.5, 0.7, 0.14), (0.4, 0.7, 0, 0.66), (-0.4, 0.7, -0.7, 0.14)), (255, 236, 120)
    )


# Places ----------------------------------------------------------------------------------------


def _beach(stage: Stage) -> None:
    pen, w = stage.pen, stage.width
    _gradient(stage, (74, 168, 246), (206, 240, 255), end=0.5)
    _clouds(stage, (255, 255, 255), (210, 230, 248), lowest=0.3, count=3)
    _gradient(stage, (20, 108, 190), (80, 204, 220), start=0.48, end=0.8)
    for y in (0.56, 0.64, 0.71):
        x = stage.rng.random() * w * 0.6
        pen.stroke(curve((x, y), (x + 0.12, y - 0.008), (x + 0.3, y)), (230, 248, 255), weight=1.6)
    pen.fill(
        bends(
            (0, 0.8),
            (0.3 * w, 0.74, 0.6 * w, 0.8),
            (0.85 * w, 0.85, w, 0.79),
            (w, 1, w, 1.02),
            (0, 1.02, 0, 0.8),
        ),
        (250, 252, 255),
    )
    pen.fill(
        bends(
            (0, 0.82),
            (0.3 * w, 0.76, 0.6 * w, 0.82),
            (0.85 * w, 0.87, w, 0.81),
            (w, 1, w, 1.02),
            (0, 1.02, 0, 0.82),
        ),
        pen.tone((250, 226, 170)),
    )


def _petals(stage: Stage) -> None:
    for _ in range(20):
        petal = stage.pen.moved(
            stage.rng.random() * stage.width, stage.rng.random(), scale=0.03, turn=stage.rng.random() * 360
        )
        petal.fill(bends((0, 0.6), (-0.6, 0, 0, -0.6), (0.6, 0, 0, 0.6)), (255, 178, 206))


def _cherry(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    _gradient(stage, (150, 206, 250), (250, 240, 250))
    trunk = pen.tone((112, 72, 66))
    pen.fill(
        bends(
            (0.02 * w, 1.02),
            (0.12 * w, 0.6, 0.0, 0.2),
            (0.1 * w, 0.2, 0.12 * w, 0.3),
            (0.2 * w, 0.6, 0.2 * w, 1.02),
        ),
        trunk,
    )
    pen.rope(curve((0.06 * w, 0.5), (0.3 * w, 0.24), (0.7 * w, 0.14)), trunk, width=0.035)
    for shade in ((246, 146, 182), (255, 184, 208), (255, 214, 228)):
        for _ in range(13):
            x = rng.random() ** 1.3 * w * 1.1
            y = rng.random() * 0.34 * (1.15 - 0.6 * x / w)
            radius = rng.uniform(0.05, 0.1)
            pen.fill(_PUFF * radius + (x, y), pen.tone(shade))


_PUFF = blob((-1, 0), (-0.8, -0.7), (0, -0.9), (0.8, -0.7), (1, 0), (0.7, 0.7), (0, 0.85), (-0.75, 0.65))


def _forest(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    _gradient(stage, (214, 240, 190), (120, 190, 120))
    for shade, base, count in (((112, 176, 112), 0.7, 7), ((66, 134, 84), 0.86, 6)):
        for step in range(count):
            x = (step + rng.random()) / count * w
            pen.fill(
                polygon((x - 0.022, base + 0.2), (x - 0.016, 0.0), (x + 0.016, 0.0), (x + 0.022, base + 0.2)),
                pen.tone(blended((96, 66, 54), shade, 0.35)),
            )
        for _ in range(9):
            pen.fill(
                _PUFF * rng.uniform(0.1, 0.17) + (rng.random() * w, rng.uniform(-0.02, 0.26)), pen.tone(shade)
            )
    _hills(stage, (84, 156, 76), 0.86)


def _pine(pen: Pen, x: float, base: float, size: float, colour: Colour) -> None:
    for step, width in ((0, 0.42), (1, 0.34), (2, 0.25)):
        y = base - size * 0.3 * step
        pen.fill(polygon((x - width * size, y), (x + width * size, y), (x, y - 0.52 * size)), colour)
        pen.fill(
            polygon(
                (x - width * size * 0.5, y - 0.26 * size),
                (x + width * size * 0.5, y - 0.26 * size),
                (x, y - 0.52 * size),
            ),
            (250, 252, 255),
        )


def _snow(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    _gradient(stage, (150, 176, 214), (232, 240, 250))
    for _ in range(7):
        _pine(pen, rng.random() * w, rng.uniform(0.72, 0.84), rng.uniform(0.24, 0.42), pen.tone((92, 128, 142)))
    _hills(stage, (246, 250, 255), 0.8)
    _flakes(stage, 50, 0.007)


def _flakes(stage: Stage, count: int, size: float) -> None:
    for _ in range(count):
        radius = size * stage.rng.uniform(0.6, 1.3)
        stage.pen.fill(
            _DOT * radius + np.array([stage.rng.random() * stage.width, stage.rng.random()]), (255, 255, 255)
        )


def _rain(stage: Stage) -> None:
    _gradient(stage, (92, 104, 128), (156, 168, 186))
    _clouds(stage, (124, 134, 154), (98, 108, 130), lowest=0.25, count=5)
    _hills(stage, (108, 120, 136), 0.88)


def _drops(stage: Stage) -> None:
    for _ in range(60):
        x, y = stage.rng.random() * stage.width * 1.1, stage.rng.random()
        stage.pen.rope(_DROP + np.array([x, y]), (206, 222, 240), width=0.005)


_DROP = polygon((0.0, 0.0), (-0.022, 0.08))


def _autumn(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    _gradient(stage, (255, 236, 200), (246, 190, 120))
    for x in (0.08, 0.9):
        pen.fill(
            polygon(((x - 0.04) * w, 1.0), ((x - 0.02) * w, 0.0), ((x + 0.02) * w, 0.0), ((x + 0.04) * w, 1.0)),
            pen.tone((112, 74, 56)),
        )
    for shade in ((206, 84, 40), (236, 132, 44), (248, 180, 66)):
        for _ in range(10):
            pen.fill(_PUFF * rng.uniform(0.06, 0.13) + (rng.random() * w, rng.random() * 0.32), pen.tone(shade))
    _hills(stage, (206, 120, 60), 0.88)


def _leaves(stage: Stage, count: int) -> None:
    for _ in range(count):
        leaf = stage.pen.moved(
            stage.rng.random() * stage.width, stage.rng.random(), scale=0.035, turn=stage.rng.random() * 360
        )
        leaf.fill(
            star(5, 0.45), stage.pen.tone(stage.rng.choice(((214, 70, 40), (240, 140, 40), (250, 190, 60))))
        )


def _skyline(stage: Stage, colour: Colour, y: float, *, lit: bool) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    x = -0.05
    while x < w:
        width, top = rng.uniform(0.1, 0.19), y - rng.uniform(0.05, 0.5)
        _box(pen, x, top, x + width, 1.0, pen.tone(blended(colour, (255, 255, 255), rng.uniform(0, 0.16))))
        pane = (255, 226, 130) if lit else blended(colour, (210, 230, 250), 0.45)
        for row in range(int((1 - top) / 0.07)):
            for column in range(3):
                if lit and rng.random() < 0.35:
                    continue
                left, upper = x + width * (0.14 + 0.28 * column), top + 0.025 + row * 0.07
                _box(pen, left, upper, left + width * 0.16, upper + 0.035, pane)
        x += width + 0.006


def _city(stage: Stage) -> None:
    _gradient(stage, (96, 170, 244), (220, 240, 255))
    _clouds(stage, (255, 255, 255), (214, 230, 246), lowest=0.2, count=2)
    _skyline(stage, (140, 152, 176), 0.72, lit=False)


def _night_city(stage: Stage) -> None:
    _night_sky(stage, moon=False, stars=24)
    _skyline(stage, (34, 36, 74), 0.7, lit=True)


def _flower_field(stage: Stage) -> None:
    pen, rng = stage.pen, stage.rng
    _gradient(stage, (110, 190, 250), (224, 244, 255), end=0.62)
    _clouds(stage, (255, 255, 255), (214, 232, 248), lowest=0.3, count=3)
    _hills(stage, (112, 188, 92), 0.6)
    for row in range(9):
        y = 0.6 + 0.045 * row
        for _ in range(7):
            size = 0.012 + 0.0035 * row
            colour = rng.choice(((255, 110, 140), (255, 210, 80), (255, 250, 250), (190, 130, 240)))
            flower = star(6, 0.6) * size + (rng.random() * stage.width, y + rng.random() * 0.03)
            pen.fill(flower, pen.tone(colour))


def _window(pen: Pen, x: float, y: float, width: float, height: float, *, curtains: bool) -> None:
    _box(pen, x - 0.015, y - 0.015, x + width + 0.015, y + height + 0.015, (250, 248, 240))
    _box(pen, x, y, x + width, y + height, pen.tone((160, 214, 250)))
    pen.fill(ellipse(x + width * 0.4, y + height * 0.6, width * 0.3, height * 0.12), (245, 250, 255))
    _box(pen, x + width / 2 - 0.008, y, x + width / 2 + 0.008, y + height, (250, 248, 240))
    _box(pen, x, y + height / 2 - 0.008, x + width, y + height / 2 + 0.008, (250, 248, 240))
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


def _classroom(stage: Stage) -> None:
    pen, w = stage.pen, stage.width
    _box(pen, 0, 0, w, 1, pen.tone((246, 232, 200)))
    _box(pen, 0, 0.8, w, 1, pen.tone((206, 156, 104)))
    _box(pen, 0.03, 0.12, w * 0.68, 0.56, pen.tone((172, 118, 74)))
    _box(pen, 0.05, 0.14, w * 0.68 - 0.02, 0.54, pen.tone((52, 104, 84)))
    for y in (0.22, 0.3, 0.38):
        pen.stroke(curve((0.09, y), (0.16, y - 0.012), (0.3 * w, y)), (226, 238, 230), weight=1.4)
    _window(pen, w * 0.76, 0.12, w * 0.2, 0.42, curtains=False)
    for x in (0.02, 0.68):
        _box(pen, x * w, 0.72, (x + 0.3) * w, 0.76, pen.tone((226, 180, 120)))
        _box(pen, (x + 0.03) * w, 0.76, (x + 0.05) * w, 0.98, pen.tone((130, 134, 146)))
        _box(pen, (x + 0.25) * w, 0.76, (x + 0.27) * w, 0.98, pen.tone((130, 134, 146)))


def _room(stage: Stage) -> None:
    pen, w = stage.pen, stage.width
    _box(pen, 0, 0, w, 1, pen.tone((250, 226, 214)))
    for x in range(int(w / 0.1) + 1):
        _box(pen, x * 0.1, 0, x * 0.1 + 0.04, 0.78, pen.tone((248, 216, 204)))
    _box(pen, 0, 0.78, w, 1, pen.tone((196, 146, 110)))
    left = w * stage.rng.choice((0.08, 0.56))
    _window(pen, left, 0.12, w * 0.34, 0.42, curtains=True)


def _library(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    wood = pen.tone((122, 78, 52))
    _box(pen, 0, 0, w, 1, pen.tone((76, 48, 40)))
    for shelf in range(5):
        y = 0.2 * (shelf + 1)
        x = 0.01
        while x < w:
            width, height = rng.uniform(0.022, 0.045), rng.uniform(0.11, 0.16)
            colour = rng.choice(
                ((190, 70, 66), (70, 110, 160), (90, 140, 100), (220, 180, 110), (140, 100, 160))
            )
            _box(pen, x, y - 0.02 - height, x + width, y - 0.02, pen.tone(colour))
            x += width + 0.003
        _box(pen, 0, y - 0.022, w, y, wood)


def _underwater(stage: Stage) -> None:
    pen, rng, w = stage.pen, stage.rng, stage.width
    _gradient(stage, (120, 226, 240), (16, 70, 150))
    for step in range(3):
        x = (0.15 + 0.32 * step) * w
        pen.fill(
            polygon((x, 0), (x + 0.07, 0), (x - 0.1, 0.9), (x - 0.24, 0.9)),
            pen.tone((140, 226, 240) if step % 2 else (104, 206, 232)),
        )
    for colour in ((255, 150, 70), (255, 214, 80), (250, 110, 130)):
        fish = pen.moved(rng.random() * w, rng.uniform(0.1, 0.85), scale=0.055, stretch=rng.choice((-1, 1)))
        fish.shape(bends((-0.9, 0), (0, -1.0, 1.0, 0), (0, 1.0, -0.9, 0)), colour)
        fish.shape(polygon((-0.7, 0), (-1.4, -0.5), (-1.4, 0.5)), colour)
        fish.fill(ellipse(0.55, -0.12, 0.12, 0.12), (30, 30, 50))


def _bubbles(stage: Stage) -> None:
    for _ in range(16):
        x, y, radius = stage.rng.random() * stage.width, stage.rng.random(), stage.rng.uniform(0.01, 0.03)
        stage.pen.rope(arc(x, y, (radius, radius), (0, 360)), (226, 248, 255), width=0.006)


_BACKDROPS: Mapping[str, Callable[[Stage], None]] = {
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
    "sky": _sky,
    "sunset": _sunset,
    "night": _starry_night,
    "fireworks": _fireworks,
    "halloween": _halloween,
    "beach": _beach,
    "cherry": _cherry,
    "forest": _forest,
    "snow": _snow,
    "rain": _rain,
    "autumn": _autumn,
    "city": _city,
    "night_city": _night_city,
    "flower_field": _flower_field,
    "classroom": _classroom,
    "room": _room,
    "library": _library,
    "underwater": _underwater,
}

# Effects ---------------------------------------------------------------------------------------


def _sparkles(stage: Stage) -> None:
    for _ in range(14):
        size = stage.rng.uniform(0.02, 0.055)
        at = (stage.rng.random() * stage.width, stage.rng.random())
        stage.pen.fill(star(4, 0.22) * (size * 1.25) + at, (255, 214, 110))
        stage.pen.fill(star(4, 0.22) * size + at, (255, 252, 224))


def _floating_hearts(stage: Stage) -> None:
    for _ in range(9):
        side = stage.rng.choice((0.12, 0.88)) + stage.rng.uniform(-0.11, 0.11)
        size = stage.rng.uniform(0.05, 0.1)
        stage.pen.shape(heart(side * stage.width, stage.rng.random() * 0.8 + 0.08, size), (250, 84, 124))


def _speech_bubble(stage: Stage) -> None:
    pen, w = stage.pen, stage.width
    x = w * 0.8
    size = min(0.15, 0.2 * w)
    pen.shape(polygon((x - size * 0.5, 0.16), (x - size * 0.9, 0.34), (x + size * 0.1, 0.2)), (255, 255, 255))
    pen.shape(ellipse(x, 0.15, size, 0.11), (255, 255, 255))
    pen.fill(polygon((x - size * 0.44, 0.17), (x - size * 0.7, 0.28), (x, 0.2)), (255, 255, 255))
    for y, length in ((0.11, 0.55), (0.15, 0.65), (0.19, 0.45)):
        pen.stroke(
            curve((x - size * length, y), (x, y - 0.004), (x + size * length, y)), (60, 56, 70), weight=1.6
        )


def _musical_notes(stage: Stage) -> None:
    for _ in range(6):
        x = (stage.rng.choice((0.13, 0.87)) + stage.rng.uniform(-0.1, 0.1)) * stage.width
        note = stage.pen.moved(x, stage.rng.uniform(0.1, 0.7), scale=0.05)
        colour = stage.rng.choice(((60, 60, 80), (230, 90, 120), (80, 120, 220)))
        note.fill(ellipse(-0.3, 0.6, 0.36, 0.27), colour)
        note.rope(curve((0.02, 0.6), (0.02, -0.2), (0.02, -0.9), (0.4, -0.6), (0.5, -0.2)), colour, width=0.15)


_EFFECTS: Mapping[str, Callable[[Stage], None]] = {
    "sparkle": _sparkles,
    "petals": _petals,
    "floating_hearts": _floating_hearts,
    "speech_bubble": _speech_bubble,
    "musical_notes": _musical_notes,
}
