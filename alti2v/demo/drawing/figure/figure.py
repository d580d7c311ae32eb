"""Draw one figure, layer by layer from back to front."""

from __future__ import annotations

from random import Random

from alti2v.demo.drawing.figure import accessories, face, hair, profile, props, wardrobe
from alti2v.demo.drawing.pen import Pen
from alti2v.demo.drawing.scene import Figure, Scene
from alti2v.demo.drawing.style import FigureStyle, body_pen, figure_style

_SIDEWAYS = 0.74  # relative width of a body seen from the side


def draw_figure(pen: Pen, figure: Figure, scene: Scene, rng: Random) -> None:
    """Draw a figure whose head's centre is the pen's (0, 0)."""
    style = figure_style(figure, scene, pen, rng)
    body = body_pen(pen, style)
    head = pen.moved(0, 0.9, turn=rng.uniform(-7, 7)).moved(0, -0.9)
    match scene.view:
        case "behind":
            _draw_from_behind(body, head, style)
        case "side":
            _draw_from_the_side(body.moved(-0.2, 0, stretch=_SIDEWAYS), head, style)
        case _:
            _draw_from_the_front(body, head, style)


def _draw_from_the_front(body: Pen, head: Pen, style: FigureStyle) -> None:
    props.draw_held(body, style, behind=True)
    accessories.draw_behind(body, style)
    hair.draw_hair_behind(head, style)
    _draw_body(body, style)
    accessories.draw_elf_ears(head, style)
    face.draw_head(head, style)
    face.draw_face(head, style)
    hair.draw_hair_before(head, style)
    face.draw_brows(head, style)
    accessories.draw_eyewear(head, style)
    accessories.draw_on_head(head, style)
    props.draw_held(body, style, behind=False)


def _draw_from_the_side(body: Pen, head: Pen, style: FigureStyle) -> None:
    props.draw_held(body, style, behind=True)
    accessories.draw_behind(body, style)
    profile.draw_hair_behind(head, style)
    _draw_body(body, style)
    profile.draw_profile(head, style)
    props.draw_held(body, style, behind=False)


def _draw_from_behind(body: Pen, head: Pen, style: FigureStyle) -> None:
    props.draw_held(body, style, behind=False)
    props.draw_held(body, style, behind=True)
    _draw_body(body, style)
    accessories.draw_behind(body, style)
    hair.draw_hair_over_back(head, style)
    accessories.draw_on_head(head, style)


def _draw_body(body: Pen, style: FigureStyle) -> None:
    wardrobe.draw_dressed_body(body, style)
    wardrobe.draw_front_arms(body, style)
    if style.figure.scarf:
        wardrobe.draw_scarf(body, style)
