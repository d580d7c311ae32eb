"""Overlays: weather, sparkles, a speech bubble, a border."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing.background.canvas import DOT, Canvas, box
from alti2v.demo.drawing.pen import arc, bends, curve, ellipse, heart, polygon, star
from alti2v.demo.drawing.scene import Scene


def draw_effect(canvas: Canvas, scene: Scene) -> None:
    """Draw the effect in front of the figures."""
    if scene.background == "cherry":
        _petals(canvas)
    elif scene.background == "snow":
        _flakes(canvas, 40, 0.012)
    elif scene.background == "rain":
        _drops(canvas)
    elif scene.background == "autumn":
        _leaves(canvas, 14)
    elif scene.background == "underwater":
        _bubbles(canvas)
    effect = _EFFECTS.get(scene.effect)
    if effect is not None:
        effect(canvas)


def draw_frame(canvas: Canvas, scene: Scene) -> None:
    """Draw a border or letterbox bars, and the artist's signature."""
    pen, width = canvas.pen, canvas.width
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
            box(pen, x0, y0, x1, y1, (255, 255, 255))
    elif scene.frame == "letterbox":
        box(pen, 0, 0, width, 0.11, (12, 12, 14))
        box(pen, 0, 0.89, width, 1, (12, 12, 14))


def _petals(canvas: Canvas) -> None:
    for _ in range(20):
        petal = canvas.pen.moved(
            canvas.rng.random() * canvas.width, canvas.rng.random(), scale=0.03, turn=canvas.rng.random() * 360
        )
        petal.fill(bends((0, 0.6), (-0.6, 0, 0, -0.6), (0.6, 0, 0, 0.6)), (255, 178, 206))


def _flakes(canvas: Canvas, count: int, size: float) -> None:
    for _ in range(count):
        radius = size * canvas.rng.uniform(0.6, 1.3)
        x, y = canvas.rng.random() * canvas.width, canvas.rng.random()
        canvas.pen.stamp(DOT, (255, 255, 255), x=x, y=y, size=radius)


def _drops(canvas: Canvas) -> None:
    for _ in range(60):
        x, y = canvas.rng.random() * canvas.width * 1.1, canvas.rng.random()
        canvas.pen.rope(polygon((x, y), (x - 0.022, y + 0.08)), (206, 222, 240), width=0.005)


def _leaves(canvas: Canvas, count: int) -> None:
    for _ in range(count):
        leaf = canvas.pen.moved(
            canvas.rng.random() * canvas.width, canvas.rng.random(), scale=0.035, turn=canvas.rng.random() * 360
        )
        leaf.fill(
            star(5, 0.45), canvas.pen.tone(canvas.rng.choice(((214, 70, 40), (240, 140, 40), (250, 190, 60))))
        )


def _bubbles(canvas: Canvas) -> None:
    for _ in range(16):
        x, y, radius = canvas.rng.random() * canvas.width, canvas.rng.random(), canvas.rng.uniform(0.01, 0.03)
        canvas.pen.rope(arc(x, y, (radius, radius), (0, 360)), (226, 248, 255), width=0.006)


def _sparkles(canvas: Canvas) -> None:
    for _ in range(14):
        size = canvas.rng.uniform(0.02, 0.055)
        x, y = canvas.rng.random() * canvas.width, canvas.rng.random()
        canvas.pen.stamp(star(4, 0.22), (255, 214, 110), x=x, y=y, size=size * 1.25)
        canvas.pen.stamp(star(4, 0.22), (255, 252, 224), x=x, y=y, size=size)


def _floating_hearts(canvas: Canvas) -> None:
    for _ in range(9):
        side = canvas.rng.choice((0.12, 0.88)) + canvas.rng.uniform(-0.11, 0.11)
        size = canvas.rng.uniform(0.05, 0.1)
        canvas.pen.shape(heart(side * canvas.width, canvas.rng.random() * 0.8 + 0.08, size), (250, 84, 124))


def _speech_bubble(canvas: Canvas) -> None:
    pen, w = canvas.pen, canvas.width
    x = w * 0.8
    size = min(0.15, 0.2 * w)
    pen.shape(polygon((x - size * 0.5, 0.16), (x - size * 0.9, 0.34), (x + size * 0.1, 0.2)), (255, 255, 255))
    pen.shape(ellipse(x, 0.15, size, 0.11), (255, 255, 255))
    pen.fill(polygon((x - size * 0.44, 0.17), (x - size * 0.7, 0.28), (x, 0.2)), (255, 255, 255))
    for y, length in ((0.11, 0.55), (0.15, 0.65), (0.19, 0.45)):
        pen.stroke(
            curve((x - size * length, y), (x, y - 0.004), (x + size * length, y)), (60, 56, 70), weight=1.6
        )


def _musical_notes(canvas: Canvas) -> None:
    for _ in range(6):
        x = (canvas.rng.choice((0.13, 0.87)) + canvas.rng.uniform(-0.1, 0.1)) * canvas.width
        note = canvas.pen.moved(x, canvas.rng.uniform(0.1, 0.7), scale=0.05)
        colour = canvas.rng.choice(((60, 60, 80), (230, 90, 120), (80, 120, 220)))
        note.fill(ellipse(-0.3, 0.6, 0.36, 0.27), colour)
        note.rope(curve((0.02, 0.6), (0.02, -0.2), (0.02, -0.9), (0.4, -0.6), (0.5, -0.2)), colour, width=0.15)


_EFFECTS: Mapping[str, Callable[[Canvas], None]] = {
    "sparkle": _sparkles,
    "petals": _petals,
    "floating_hearts": _floating_hearts,
    "speech_bubble": _speech_bubble,
    "musical_notes": _musical_notes,
}
