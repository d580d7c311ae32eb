"""Style of one figure: its mixed colours, its proportions and its stance.

Units of a figure: the head's half-width is about 1, its centre is (0, 0), y points down; the chin is at y = 1,
the shoulders at 1.5, the hips at 3.4, the soles at 6.4. A chibi's body is shorter: see `FigureStyle.down`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from alti2v.demo.drawing import colours
from alti2v.demo.drawing.colours import Colour
from alti2v.demo.drawing.pen import Pen
from alti2v.demo.drawing.scene import Figure, Scene

CHIBI_LENGTH = 0.54
CHIBI_WIDTH = 0.74
_COLLAR = 1.0  # below this height the body is stretched or shortened


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureStyle:
    """Properties of a figure that the drawing functions share.

    Attributes:
        turn: Direction of the head, from -1 (left) to 1 (right); the features shift that way.
        view: Point of view: "front", "side" or "behind".
        length: Length of everything below the collar, relative to a full-grown figure.
        rng: Generator of strands and folds, which no tag depends on.
    """

    figure: Figure
    skin: Colour
    skin_shade: Colour
    hair: Colour
    eyes: Colour
    cloth: Colour
    turn: float
    view: str
    length: float
    rng: Random

    def down(self, y: float) -> float:
        """Convert a height of the full-grown figure to one of this figure."""
        return y if y <= _COLLAR else _COLLAR + (y - _COLLAR) * self.length


def figure_style(figure: Figure, scene: Scene, pen: Pen, rng: Random) -> FigureStyle:
    """Mix a figure's colours and choose its stance."""
    return FigureStyle(
        figure=figure,
        skin=pen.tone(colours.SKIN[figure.skin]),
        skin_shade=pen.tone(
            colours.blended(colours.SKIN[figure.skin], (206, 96, 104), 0.22 + 0.2 * pen.artist.shade)
        ),
        hair=pen.tone(colours.HAIR[figure.who.hair]),
        eyes=pen.tone(colours.EYES[figure.who.eyes]),
        cloth=pen.tone(colours.CLOTH[figure.colour]),
        turn=max(-1.0, min(1.0, 0.75 * figure.gaze + rng.uniform(-0.4, 0.4))),
        view=scene.view,
        length=CHIBI_LENGTH if scene.framing == "chibi" else 1.0,
        rng=rng,
    )


def body_pen(pen: Pen, style: FigureStyle) -> Pen:
    """Return a pen in whose units the body has its full-grown proportions."""
    if style.length == 1.0:
        return pen
    stretch = CHIBI_WIDTH / style.length
    return pen.moved(0, _COLLAR * (1 - style.length), scale=style.length, stretch=stretch)
