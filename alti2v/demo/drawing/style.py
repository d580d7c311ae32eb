"""One figure as it is about to be drawn: its colours mixed, its stance decided.

Units of a figure: the head's half-width is about 1, its centre is (0, 0), y points down; the chin is at y = 1,
the shoulders at 1.5, the hips at 3.4, the soles at 6.4. A chibi's body is shorter: `Look.down` shortens it.
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
_COLLAR = 1.0  # the body is stretched and shortened from here downwards


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureStyle:
    """What the drawing functions share about a figure.

    Attributes:
        turn: where the head is turned to, from -1 (left) to 1 (right); the features shift that way.
        view: "front", "side" or "behind".
        length: of everything below the collar, relative to a full-grown figure.
        rng: for strands and folds; nothing that earns a tag is drawn from it.
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
        """Where a height of the full-grown figure lies on this one."""
        return y if y <= _COLLAR else _COLLAR + (y - _COLLAR) * self.length


def look_at(figure: Figure, scene: Scene, pen: Pen, rng: Random) -> FigureStyle:
    """Mix a figure's colours and decide how it stands."""
    return FigureStyle(
        figure=figure,
        skin=pen.tone(colours.SKIN[figure.skin]),
        skin_shade=pen.tone(
            colours.blended(colours.SKIN[figure.skin], (206, 96, 104), 0.22 + 0.2 * pen.artist.shade)
        ),
        hair=pen.tone(colours.HAIR[figure.hair]),
        eyes=pen.tone(colours.EYES[figure.eyes]),
        cloth=pen.tone(colours.CLOTH[figure.colour]),
        turn=max(-1.0, min(1.0, 0.75 * figure.gaze + rng.uniform(-0.4, 0.4))),
        view=scene.view,
        length=CHIBI_LENGTH if scene.framing == "chibi" else 1.0,
        rng=rng,
    )


def body_pen(pen: Pen, look: FigureStyle) -> Pen:
    """A pen in whose units the body has its full-grown proportions."""
    if look.length == 1.0:
        return pen
    stretch = CHIBI_WIDTH / look.length
    return pen.moved(0, _COLLAR * (1 - look.length), scale=look.length, stretch=stretch)
