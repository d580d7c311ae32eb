"""Bodies: neck, trunk, arms with sleeves, legs with legwear. In units of a full-grown figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.pen import Path, Pen, Point, bends, blob, curve, ellipse, limb, mirrored
from alti2v.demo.drawing.style import FigureStyle


@dataclass(frozen=True, slots=True)
class Reach:
    """Position of one arm: its elbow and hand, and whether it is behind the trunk."""

    elbow: Point
    hand: Point
    is_behind: bool = False


_DOWN = Reach((1.16, 2.35), (1.08, 3.2))
_FORWARD = Reach((1.14, 2.45), (0.42, 2.35))

# The arms of each pose, right and left as the viewer sees them; the left one is mirrored.
_POSES: Mapping[str, tuple[Reach, Reach]] = {
    "down": (_DOWN, _DOWN),
    "behind": (Reach((1.2, 2.35), (0.6, 2.9), is_behind=True),) * 2,
    "wave": (Reach((1.55, 2.1), (1.6, 0.95)), _DOWN),
    "clasped": (Reach((1.1, 2.5), (0.1, 2.3)),) * 2,
    "arms_up": (Reach((1.6, 1.0), (1.42, -0.15)),) * 2,
    "hip": (Reach((1.62, 2.3), (0.74, 2.85)), _DOWN),
    "outstretched": (Reach((1.75, 1.72), (2.45, 1.55)),) * 2,
}
# The right hand holds things; some take both hands.
HOLDS: Mapping[str, tuple[Reach, Reach]] = {
    "book": (_FORWARD, _FORWARD),
    "umbrella": (Reach((1.5, 2.2), (1.25, 1.55)), _DOWN),
    "sword": (Reach((1.5, 2.2), (1.5, 1.6)), _DOWN),
    "flower": (Reach((1.12, 2.5), (0.2, 2.45)),) * 2,
    "staff": (Reach((1.5, 2.3), (1.5, 1.8)), _DOWN),
    "plush": (Reach((1.12, 2.5), (0.36, 2.55)),) * 2,
    "ice_cream": (Reach((1.5, 2.3), (1.2, 1.5)), _DOWN),
    "cup": (Reach((1.14, 2.5), (0.3, 2.2)),) * 2,
    "microphone": (Reach((1.42, 2.2), (0.72, 1.42)), _DOWN),
    "balloon": (Reach((1.45, 2.2), (1.3, 1.5)), _DOWN),
    "lollipop": (Reach((1.5, 2.3), (1.2, 1.4)), _DOWN),
}


def reaches(style: FigureStyle) -> tuple[Reach, Reach]:
    """Positions of the right and the left arm."""
    figure = style.figure
    return HOLDS[figure.held] if figure.held else _POSES[figure.pose]


def holding_hand(style: FigureStyle) -> Point:
    """Position of the hand that holds something."""
    return HOLDS[style.figure.held][0].hand


def draw_arms(pen: Pen, style: FigureStyle, *, behind: bool, sleeve: Colour) -> None:
    """Draw the arms behind the trunk, or those in front of it."""
    for reach, side in zip(reaches(style), (1, -1), strict=True):
        if reach.is_behind is behind:
            _arm(pen.moved(0, 0, stretch=side), style, reach, sleeve)


def _arm(pen: Pen, style: FigureStyle, reach: Reach, sleeve: Colour) -> None:
    figure = style.figure
    shoulder = (0.84, 1.62)
    joints = (shoulder, reach.elbow, reach.hand)
    glove = pen.tone(colours.CLOTH["white"] if figure.outfit != "armor" else (150, 156, 172))
    hand = glove if figure.gloves else style.skin
    width = 0.4 if figure.who.is_boy else 0.34
    _bent(pen, joints, (width, width * 0.82, width * 0.66), style.skin)
    _hand(pen, reach, hand)
    if figure.gloves:
        near = _between(reach.elbow, reach.hand, 0.45)
        pen.shape(limb((near, _between(near, reach.hand, 0.5), reach.hand), (width, width, width * 0.8)), glove)
    if figure.sleeves == "none":
        return
    if figure.outfit == "kimono":
        _wide_sleeve(pen, reach, sleeve)
    elif figure.sleeves == "short":
        end = _between(shoulder, reach.elbow, 0.55)
        pen.shape(
            limb((shoulder, _between(shoulder, end, 0.5), end), (width + 0.16, width + 0.3, width + 0.2)),
            sleeve,
        )
    else:
        _long_sleeve(pen, shoulder, reach, sleeve, width)


def _bent(
    pen: Pen, joints: tuple[Point, Point, Point], widths: tuple[float, float, float], colour: Colour
) -> None:
    """Draw two straight parts and the joint between them, bent at any angle."""
    first, joint, last = joints
    paths = (
        limb((first, joint), widths[:2]),
        ellipse(*joint, widths[1] / 2, widths[1] / 2),
        limb((joint, last), widths[1:]),
    )
    pen.union(paths, colour)


def _long_sleeve(pen: Pen, shoulder: Point, reach: Reach, sleeve: Colour, width: float) -> None:
    wrist = _between(reach.elbow, reach.hand, 0.86)
    _bent(pen, (shoulder, reach.elbow, wrist), (width + 0.14, width + 0.1, width + 0.12), sleeve)
    dark = pen.shade(sleeve, 1.0)
    x, y = reach.elbow
    pen.stroke(curve((x - 0.14, y - 0.04), (x, y + 0.02), (x + 0.1, y - 0.1)), dark, weight=1.2)
    cuff = _between(reach.elbow, reach.hand, 0.74)
    pen.stroke(curve((cuff[0] - 0.18, cuff[1]), (cuff[0], cuff[1] + 0.05), (cuff[0] + 0.18, cuff[1])), dark)


def _wide_sleeve(pen: Pen, reach: Reach, sleeve: Colour) -> None:
    (ex, ey), (hx, hy) = reach.elbow, _between(reach.elbow, reach.hand, 0.8)
    hang = max(ey, hy) + 0.85
    outline = bends(
        (0.7, 1.45),
        ((0.9 + ex) / 2 + 0.2, (1.45 + ey) / 2 - 0.1, hx + 0.16, hy - 0.2),
        (hx + 0.3, hy + 0.4, hx + 0.2, hang),
        (hx - 0.2, hang + 0.1, min(hx, ex) - 0.3, hang - 0.15),
        (min(hx, ex) - 0.3, ey, 0.66, 2.2),
    )
    pen.shape(outline, sleeve)
    pen.stroke(
        curve((hx + 0.1, hy), (hx + 0.12, hang - 0.3), (hx + 0.05, hang - 0.05)), pen.shade(sleeve), weight=1.4
    )


def _hand(pen: Pen, reach: Reach, colour: Colour) -> None:
    (ex, ey), (hx, hy) = reach.elbow, reach.hand
    pen.shape(ellipse(hx + (hx - ex) * 0.05, hy + (hy - ey) * 0.05, 0.17, 0.18), colour)


def _between(one: Point, other: Point, share: float) -> Point:
    return one[0] + (other[0] - one[0]) * share, one[1] + (other[1] - one[1]) * share


def draw_neck(pen: Pen, style: FigureStyle) -> None:
    """Draw the skin of neck and shoulders; clothes cover it later."""
    broad = 1.1 if style.figure.who.is_boy else 1.0
    neck = bends(
        (-0.2, 0.7),
        (-0.22, 1.2, -0.3, 1.28),
        (-0.8, 1.4, -0.92 * broad, 1.62),
        (-0.6, 2.2, 0.0, 2.3),
        (0.6, 2.2, 0.92 * broad, 1.62),
        (0.8, 1.4, 0.3, 1.28),
        (0.22, 1.2, 0.2, 0.7),
    )
    pen.shape(neck, style.skin)
    if style.view != "behind":
        pen.fill(
            bends(
                (-0.2, 0.8),
                (0.0, 1.02, 0.2, 0.8),
                (0.22, 1.1, 0.24, 1.2),
                (0.0, 1.34, -0.24, 1.2),
                (-0.22, 1.1, -0.2, 0.8),
            ),
            style.skin_shade,
        )


def trunk(style: FigureStyle, *, hem: float = 3.3, flare: float = 0.0) -> Path:
    """Outline of a garment on the trunk, from the shoulders to the hem."""
    broad, waist = (1.1, 0.72) if style.figure.who.is_boy else (1.0, 0.6)
    hip = 0.82 + flare
    return bends(
        (-0.26, 1.26),
        (-0.8, 1.36, -0.95 * broad, 1.6),
        (-0.82, 1.9, -0.74, 2.1),
        (-waist - 0.04, 2.5, -waist - flare * 0.5, 2.75),
        (-waist - 0.05 - flare * 0.5, 3.0, -hip, hem),
        (0.0, hem + 0.1, hip, hem),
        (waist + 0.05 + flare * 0.5, 3.0, waist + flare * 0.5, 2.75),
        (waist + 0.04, 2.5, 0.74, 2.1),
        (0.82, 1.9, 0.95 * broad, 1.6),
        (0.8, 1.36, 0.26, 1.26),
        (0.0, 1.5, -0.26, 1.26),
    )


def draw_legs(pen: Pen, style: FigureStyle) -> None:
    """Draw legs, legwear and shoes."""
    figure = style.figure
    pants = pen.tone((64, 66, 84)) if figure.who.is_boy and figure.outfit != "kimono" else None
    for side in (-1, 1):
        leg = pen.moved(0, 0, stretch=side)
        leg.shape(limb(((0.4, 3.1), (0.42, 4.5), (0.4, 6.0)), (0.74, 0.52, 0.34)), style.skin)
        if pants is not None:
            leg.shape(limb(((0.42, 3.1), (0.44, 4.5), (0.44, 6.0)), (0.84, 0.66, 0.56)), pants)
        else:
            _legwear(leg, style)
        _shoe(leg, style)


_LEGWEAR: Mapping[str, tuple[float, Colour]] = {
    "black_thighhighs": (4.05, (54, 50, 62)),
    "white_thighhighs": (4.05, (248, 248, 252)),
    "black_pantyhose": (3.1, (78, 66, 78)),
    "kneehighs": (4.85, (60, 66, 100)),
    "socks": (5.55, (250, 250, 252)),
}


def _legwear(pen: Pen, style: FigureStyle) -> None:
    if style.figure.legwear not in _LEGWEAR:
        return
    top, colour = _LEGWEAR[style.figure.legwear]
    colour = pen.tone(colour)
    width = 0.74 - 0.16 * (top - 3.1)
    pen.shape(limb(((0.41, top), (0.41, (top + 6.0) / 2), (0.4, 6.0)), (width, width * 0.82, 0.36)), colour)
    pen.stroke(
        curve((0.3, top + 0.2), (0.3, (top + 6) / 2), (0.34, 5.8)), colours.lighter(colour, 0.25), weight=1.6
    )


def _shoe(pen: Pen, style: FigureStyle) -> None:
    figure = style.figure
    if figure.footwear == "barefoot":
        pen.shape(blob((0.24, 5.9), (0.22, 6.25), (0.44, 6.36), (0.66, 6.26), (0.56, 5.95)), style.skin)
        return
    leather = pen.tone((96, 58, 44) if figure.footwear == "shoes" else (120, 70, 44))
    if figure.outfit in {"maid", "dress", "cape", "gakuran"}:
        leather = pen.tone((62, 52, 62))
    if figure.footwear == "boots":
        pen.shape(limb(((0.41, 4.95), (0.41, 5.5), (0.41, 6.2)), (0.62, 0.5, 0.52)), leather)
        pen.stroke(curve((0.14, 5.08), (0.4, 5.15), (0.68, 5.08)), colours.lighter(leather, 0.3), weight=1.5)
    pen.shape(
        bends(
            (0.2, 6.0),
            (0.1, 6.42, 0.3, 6.42),
            (0.8, 6.46, 0.8, 6.3),
            (0.7, 6.05, 0.6, 6.0),
            (0.4, 5.94, 0.2, 6.0),
        ),
        leather,
    )
    pen.stroke(curve((0.3, 6.34), (0.5, 6.38), (0.72, 6.32)), colours.lighter(leather, 0.35))


def both(pen: Pen, path: Path, colour: Colour) -> None:
    """Draw a shape and its mirror image."""
    pen.shape(path, colour)
    pen.shape(mirrored(path), colour)
