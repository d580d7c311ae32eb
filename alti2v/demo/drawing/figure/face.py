"""Faces: the head, eyes, brows, mouths, blush and tears; from the front and in profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.pen import Path, Pen, arc, bends, blob, curve, ellipse, polygon
from alti2v.demo.drawing.style import FigureStyle

_EYE_X, _EYE_Y = 0.41, 0.2
_MOUTH_Y = 0.66
_LASH: Colour = (46, 30, 40)
_MOUTH: Colour = (186, 62, 74)
_TONGUE: Colour = (244, 130, 136)
_BLUSH: Colour = (255, 128, 140)
_TEAR: Colour = (130, 206, 255)


def draw_head(pen: Pen, style: FigureStyle) -> None:
    """Draw the bare head: its contour and its human ears."""
    cheek = 0.6 + 0.08 * pen.artist.cheeks
    half = (
        (0.3, 1.02, cheek, 0.68),
        (0.88, 0.42, 0.87, -0.05),
        (0.9, -1.1, 0.0, -1.12),
        (-0.9, -1.1, -0.87, -0.05),
        (-0.88, 0.42, -cheek, 0.68),
        (-0.3, 1.02, 0.0, 1.04),
    )
    if style.figure.who.kind in {"human", "angel", "demon"}:
        for side in (-1, 1):
            pen.shape(ellipse(side * 0.9, 0.22, 0.15, 0.22), style.skin)
            pen.fill(ellipse(side * 0.9, 0.24, 0.07, 0.12), style.skin_shade)
    pen.shape(bends((0.0, 1.04), *half), style.skin)


def draw_face(pen: Pen, style: FigureStyle) -> None:
    """Draw eyes, nose, mouth, blush and tears."""
    face = pen.moved(0.16 * style.turn, 0)
    figure = style.figure
    if figure.blush:
        draw_blush(face)
    for side in (-1, 1):
        # The far eye of a turned head is seen at an angle.
        squeeze = 1 - 0.16 * max(0.0, style.turn * side)
        eye = face.moved(side * _EYE_X * squeeze, _EYE_Y, scale=pen.artist.eye_scale, stretch=side * squeeze)
        draw_eye(eye, style, side)
    nose = 0.04 * style.turn
    face.fill(
        bends((nose, 0.42), (nose + 0.06, 0.5, nose, 0.5), (nose - 0.03, 0.49, nose, 0.42)),
        pen.shade(style.skin_shade),
    )
    draw_mouth(face.moved(0, _MOUTH_Y), style)
    if figure.expression == "crying":
        draw_tears(face)


def draw_eye(pen: Pen, style: FigureStyle, side: int = 1) -> None:
    """Draw one eye around (0, 0), its outer corner on the right; for the left eye the pen is mirrored."""
    _EYES.get(style.figure.expression, _open_eye)(pen, style, side)


def draw_mouth(pen: Pen, style: FigureStyle) -> None:
    """Draw the mouth around (0, 0)."""
    _MOUTHS[style.figure.expression](pen, style)


def draw_brows(pen: Pen, style: FigureStyle) -> None:
    """Draw the brows over the hair, as anime does."""
    face = pen.moved(0.16 * style.turn, 0)
    for side in (-1, 1):
        draw_brow(face.moved(side * _EYE_X, 0, stretch=side), style)


def draw_brow(pen: Pen, style: FigureStyle) -> None:
    """Draw one brow above an eye at (0, 0.2), its outer end on the right."""
    inner, outer = _BROWS.get(style.figure.expression, (-0.25, -0.2))
    colour = pen.shade(style.hair, 1.6)
    pen.stroke(curve((-0.19, inner), (0.04, (inner + outer) / 2 - 0.08), (0.24, outer)), colour, weight=1.3)


_BROWS: Mapping[str, tuple[float, float]] = {
    "angry": (-0.06, -0.32),
    "crying": (-0.36, -0.16),
    "gasp": (-0.36, -0.34),
    "squeezed": (-0.16, -0.3),
    "closed_eyes": (-0.22, -0.18),
}


def _open_eye(pen: Pen, style: FigureStyle, side: int) -> None:
    slant = pen.artist.eye_slant
    pen.fill(_EYE_WHITE, (255, 255, 255))
    gaze = 0.05 * style.figure.gaze * side
    iris = pen.moved(gaze, 0.02)
    dark = colours.darker(style.eyes, 0.85)
    iris.fill(ellipse(0, 0, 0.2, 0.27), dark)
    iris.fill(ellipse(0, 0.05, 0.175, 0.21), style.eyes)
    iris.fill(ellipse(0, 0.14, 0.13, 0.11), colours.lighter(style.eyes, 0.45))
    iris.fill(ellipse(0, -0.01, 0.075, 0.12), colours.darker(style.eyes, 1.4))
    iris.fill(_EYE_SHADOW, colours.darker(style.eyes, 1.2))
    # Both eyes catch the light from the same side, though the left one is drawn mirrored.
    iris.fill(ellipse(-0.08 * side, -0.12, 0.075, 0.085), (255, 255, 255))
    iris.fill(ellipse(0.09 * side, 0.12, 0.04, 0.045), (255, 255, 255))
    lash = bends(
        (-0.25, -0.1),
        (-0.12, -0.36 - slant, 0.1, -0.32 - slant),
        (0.26, -0.28 - slant, 0.34, -0.14 - slant * 2),
        (0.3, -0.08 - slant, 0.26, 0.02 - slant),
        (0.2, -0.2, 0.06, -0.23),
        (-0.12, -0.26, -0.25, -0.1),
    )
    pen.fill(lash, _LASH)
    pen.stroke(curve((-0.06, 0.3), (0.08, 0.315), (0.2, 0.23)), _LASH, weight=0.6)
    pen.stroke(curve((-0.16, -0.38), (0.06, -0.43), (0.24, -0.36)), pen.shade(style.skin, 2.0), weight=0.8)


_EYE_WHITE = blob(
    (-0.24, -0.06), (-0.12, -0.26), (0.1, -0.3), (0.27, -0.12), (0.22, 0.2), (0.02, 0.3), (-0.17, 0.22)
)
_EYE_SHADOW = bends(
    (-0.19, -0.06), (-0.14, -0.26, 0.0, -0.27), (0.14, -0.26, 0.19, -0.06), (0.0, -0.16, -0.19, -0.06)
)


def _happy_eye(pen: Pen, _: FigureStyle, __: int) -> None:
    pen.rope(arc(0, 0.16, (0.26, 0.28), (190, 350)), _LASH, width=0.075)
    pen.rope(curve((0.22, 0.02), (0.34, -0.02)), _LASH, width=0.05)


def _winking_eye(pen: Pen, style: FigureStyle, side: int) -> None:
    (_happy_eye if side > 0 else _open_eye)(pen, style, side)


def _squeezed_eye(pen: Pen, _: FigureStyle, __: int) -> None:
    pen.rope(polygon((0.26, -0.2), (-0.2, 0.04), (0.26, 0.28)), _LASH, width=0.085)


def _wide_eye(pen: Pen, style: FigureStyle, side: int) -> None:
    _open_eye(pen.moved(0, 0, scale=1.12), style, side)


_EYES: Mapping[str, Callable[[Pen, FigureStyle, int], None]] = {
    "closed_eyes": _happy_eye,
    "wink": _winking_eye,
    "squeezed": _squeezed_eye,
    "gasp": _wide_eye,
}


def _smile(pen: Pen, _: FigureStyle) -> None:
    pen.rope(arc(0, -0.1, (0.22, 0.16), (25, 155)), _MOUTH, width=0.05)


def _calm(pen: Pen, _: FigureStyle) -> None:
    pen.rope(curve((-0.11, 0.02), (0.0, 0.0), (0.11, 0.02)), _MOUTH, width=0.045)


def _grin(pen: Pen, style: FigureStyle) -> None:
    _open_mouth(pen, style, _GRIN)


_GRIN = bends((-0.26, -0.08), (0.0, -0.02, 0.26, -0.08), (0.2, 0.26, 0.0, 0.26), (-0.2, 0.26, -0.26, -0.08))


def _open_mouth(pen: Pen, style: FigureStyle, path: Path) -> None:
    pen.fill(path, _MOUTH)
    pen.fill(ellipse(0, 0.16, 0.13, 0.07), _TONGUE)
    pen.outline(path, pen.shade(style.skin, 2.6), weight=0.8)


def _gasp(pen: Pen, style: FigureStyle) -> None:
    pen.fill(ellipse(0, 0.06, 0.13, 0.18), _MOUTH)
    pen.outline(ellipse(0, 0.06, 0.13, 0.18), pen.shade(style.skin, 2.6), weight=0.8)


def _frown(pen: Pen, _: FigureStyle) -> None:
    pen.rope(arc(0, 0.14, (0.2, 0.14), (200, 340)), _MOUTH, width=0.055)


def _fang(pen: Pen, style: FigureStyle) -> None:
    _grin(pen, style)
    for side in (-1, 1):
        pen.fill(polygon((side * 0.05, -0.05), (side * 0.23, -0.07), (side * 0.14, 0.13)), (255, 255, 255))


def _sob(pen: Pen, style: FigureStyle) -> None:
    path = bends((-0.2, 0.14), (-0.14, -0.1, 0.0, -0.06), (0.14, -0.1, 0.2, 0.14), (0.0, 0.06, -0.2, 0.14))
    pen.fill(path, _MOUTH)
    pen.outline(path, pen.shade(style.skin, 2.6), weight=0.8)


def _cat_mouth(pen: Pen, _: FigureStyle) -> None:
    for side in (-1, 1):
        pen.rope(arc(side * 0.12, -0.04, (0.12, 0.11), (0, 180)), _MOUTH, width=0.05)


def _tongue_out(pen: Pen, style: FigureStyle) -> None:
    _smile(pen, style)
    pen.shape(bends((-0.04, 0.03), (-0.06, 0.24, 0.07, 0.24), (0.18, 0.22, 0.16, 0.0)), _TONGUE, weight=0.7)


_MOUTHS: Mapping[str, Callable[[Pen, FigureStyle], None]] = {
    "smile": _smile,
    "grin": _grin,
    "calm": _calm,
    "gasp": _gasp,
    "closed_eyes": _smile,
    "wink": _grin,
    "angry": _frown,
    "fang": _fang,
    "crying": _sob,
    "squeezed": _grin,
    "cat_mouth": _cat_mouth,
    "tongue": _tongue_out,
}


def draw_blush(pen: Pen, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Draw rosy cheeks."""
    soft = colours.blended(pen.tone(colours.SKIN[0]), _BLUSH, 0.5)
    for side in sides:
        pen.fill(ellipse(side * 0.53, 0.54, 0.22, 0.13), soft)
        for step in (-1, 0, 1):
            x = side * 0.53 + 0.1 * step
            pen.stroke(curve((x + 0.04, 0.48), (x, 0.54), (x - 0.04, 0.6)), _BLUSH, weight=0.9)


def draw_tears(pen: Pen, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Draw streams of tears below the eyes."""
    for side in sides:
        x = side * 0.46
        pen.fill(
            bends(
                (x - 0.1, 0.42),
                (x - 0.16, 0.7, x - 0.1, 0.86),
                (x, 0.98, x + 0.1, 0.86),
                (x + 0.1, 0.6, x + 0.1, 0.42),
            ),
            _TEAR,
        )
        pen.fill(ellipse(x - 0.03, 0.76, 0.035, 0.09), (235, 248, 255))
        pen.fill(ellipse(x, 0.42, 0.2, 0.07), _TEAR)
