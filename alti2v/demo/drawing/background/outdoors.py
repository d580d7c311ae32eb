"""Backgrounds under the open sky, and one under water."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing.background.canvas import Canvas, box, draw_clouds, draw_hills, draw_night_sky, gradient
from alti2v.demo.drawing.colours import Colour, blended
from alti2v.demo.drawing.pen import Pen, bends, blob, curve, ellipse, polygon, star


def _sky(canvas: Canvas) -> None:
    gradient(canvas, (70, 150, 240), (196, 232, 255))
    draw_clouds(canvas, (255, 255, 255), (206, 226, 246), count=5)


def _sunset(canvas: Canvas) -> None:
    gradient(canvas, (118, 84, 168), (255, 150, 84))
    gradient(canvas, (255, 150, 84), (255, 214, 120), start=0.62)
    x = canvas.width * canvas.rng.uniform(0.15, 0.85)
    canvas.pen.fill(ellipse(x, 0.7, 0.13, 0.13), canvas.pen.tone((255, 244, 190)))
    draw_clouds(canvas, (255, 176, 150), (206, 110, 140), lowest=0.5)
    draw_hills(canvas, (86, 58, 98), 0.86)


def _starry_night(canvas: Canvas) -> None:
    draw_night_sky(canvas)
    draw_hills(canvas, (24, 26, 62), 0.9)


def _fireworks(canvas: Canvas) -> None:
    draw_night_sky(canvas, moon=False, stars=14)
    for colour in ((255, 120, 150), (255, 220, 110), (120, 220, 255), (170, 255, 170)):
        x, y = canvas.rng.random() * canvas.width, 0.1 + canvas.rng.random() * 0.42
        radius = canvas.rng.uniform(0.12, 0.2)
        for turn in range(0, 360, 24):
            ray = canvas.pen.moved(x, y, turn=turn)
            ray.rope(polygon((radius * 0.3, 0), (radius, 0)), colour, width=0.009)
            ray.fill(ellipse(radius, 0, 0.012, 0.012), colour)
    _skyline(canvas, (20, 20, 46), 0.8, lit=False)


def _halloween(canvas: Canvas) -> None:
    pen = canvas.pen
    gradient(canvas, (56, 24, 84), (236, 120, 50))
    x = canvas.width * canvas.rng.choice((0.2, 0.8))
    pen.fill(ellipse(x, 0.2, 0.13, 0.13), (255, 232, 150))
    draw_hills(canvas, (38, 22, 50), 0.84)
    for _ in range(4):
        bat = pen.moved(canvas.rng.random() * canvas.width, canvas.rng.uniform(0.08, 0.5), scale=0.05)
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
        _lantern(pen.moved(x * canvas.width, 0.9, scale=size))


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


def _beach(canvas: Canvas) -> None:
    pen, w = canvas.pen, canvas.width
    gradient(canvas, (74, 168, 246), (206, 240, 255), end=0.5)
    draw_clouds(canvas, (255, 255, 255), (210, 230, 248), lowest=0.3, count=3)
    gradient(canvas, (20, 108, 190), (80, 204, 220), start=0.48, end=0.8)
    for y in (0.56, 0.64, 0.71):
        x = canvas.rng.random() * w * 0.6
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


def _cherry(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    gradient(canvas, (150, 206, 250), (250, 240, 250))
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
            pen.stamp(_PUFF, pen.tone(shade), x=x, y=y, size=radius)


_PUFF = blob((-1, 0), (-0.8, -0.7), (0, -0.9), (0.8, -0.7), (1, 0), (0.7, 0.7), (0, 0.85), (-0.75, 0.65))


def _forest(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    gradient(canvas, (214, 240, 190), (120, 190, 120))
    for shade, base, count in (((112, 176, 112), 0.7, 7), ((66, 134, 84), 0.86, 6)):
        for step in range(count):
            x = (step + rng.random()) / count * w
            pen.fill(
                polygon((x - 0.022, base + 0.2), (x - 0.016, 0.0), (x + 0.016, 0.0), (x + 0.022, base + 0.2)),
                pen.tone(blended((96, 66, 54), shade, 0.35)),
            )
        for _ in range(9):
            size = rng.uniform(0.1, 0.17)
            pen.stamp(_PUFF, pen.tone(shade), x=rng.random() * w, y=rng.uniform(-0.02, 0.26), size=size)
    draw_hills(canvas, (84, 156, 76), 0.86)


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


def _snow(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    gradient(canvas, (150, 176, 214), (232, 240, 250))
    for _ in range(7):
        _pine(pen, rng.random() * w, rng.uniform(0.72, 0.84), rng.uniform(0.24, 0.42), pen.tone((92, 128, 142)))
    draw_hills(canvas, (246, 250, 255), 0.8)


def _rain(canvas: Canvas) -> None:
    gradient(canvas, (92, 104, 128), (156, 168, 186))
    draw_clouds(canvas, (124, 134, 154), (98, 108, 130), lowest=0.25, count=5)
    draw_hills(canvas, (108, 120, 136), 0.88)


def _autumn(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    gradient(canvas, (255, 236, 200), (246, 190, 120))
    for x in (0.08, 0.9):
        pen.fill(
            polygon(((x - 0.04) * w, 1.0), ((x - 0.02) * w, 0.0), ((x + 0.02) * w, 0.0), ((x + 0.04) * w, 1.0)),
            pen.tone((112, 74, 56)),
        )
    for shade in ((206, 84, 40), (236, 132, 44), (248, 180, 66)):
        for _ in range(10):
            size = rng.uniform(0.06, 0.13)
            pen.stamp(_PUFF, pen.tone(shade), x=rng.random() * w, y=rng.random() * 0.32, size=size)
    draw_hills(canvas, (206, 120, 60), 0.88)


def _skyline(canvas: Canvas, colour: Colour, y: float, *, lit: bool) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    x = -0.05
    while x < w:
        width, top = rng.uniform(0.1, 0.19), y - rng.uniform(0.05, 0.5)
        box(pen, x, top, x + width, 1.0, pen.tone(blended(colour, (255, 255, 255), rng.uniform(0, 0.16))))
        pane = (255, 226, 130) if lit else blended(colour, (210, 230, 250), 0.45)
        for row in range(int((1 - top) / 0.07)):
            for column in range(3):
                if lit and rng.random() < 0.35:
                    continue
                left, upper = x + width * (0.14 + 0.28 * column), top + 0.025 + row * 0.07
                box(pen, left, upper, left + width * 0.16, upper + 0.035, pane)
        x += width + 0.006


def _city(canvas: Canvas) -> None:
    gradient(canvas, (96, 170, 244), (220, 240, 255))
    draw_clouds(canvas, (255, 255, 255), (214, 230, 246), lowest=0.2, count=2)
    _skyline(canvas, (140, 152, 176), 0.72, lit=False)


def _night_city(canvas: Canvas) -> None:
    draw_night_sky(canvas, moon=False, stars=24)
    _skyline(canvas, (34, 36, 74), 0.7, lit=True)


def _flower_field(canvas: Canvas) -> None:
    pen, rng = canvas.pen, canvas.rng
    gradient(canvas, (110, 190, 250), (224, 244, 255), end=0.62)
    draw_clouds(canvas, (255, 255, 255), (214, 232, 248), lowest=0.3, count=3)
    draw_hills(canvas, (112, 188, 92), 0.6)
    for row in range(9):
        y = 0.6 + 0.045 * row
        for _ in range(7):
            size = 0.012 + 0.0035 * row
            colour = rng.choice(((255, 110, 140), (255, 210, 80), (255, 250, 250), (190, 130, 240)))
            x, lower = rng.random() * canvas.width, y + rng.random() * 0.03
            pen.stamp(star(6, 0.6), pen.tone(colour), x=x, y=lower, size=size)


def _underwater(canvas: Canvas) -> None:
    pen, rng, w = canvas.pen, canvas.rng, canvas.width
    gradient(canvas, (120, 226, 240), (16, 70, 150))
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


OUTDOORS: Mapping[str, Callable[[Canvas], None]] = {
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
    "underwater": _underwater,
}
"""How each of these backgrounds is drawn."""
