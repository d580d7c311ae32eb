"""Draws one figure, layer by layer from back to front."""

from __future__ import annotations

from random import Random

from alti2v.demo.drawing.figure import accessories, face, hair, profile, props, wardrobe
from alti2v.demo.drawing.pen import Pen
from alti2v.demo.drawing.scene import Figure, Scene
from alti2v.demo.drawing.style import FigureStyle, body_pen, look_at

_SIDEWAYS = 0.74  # how wide a body is that is seen from the side


def draw_figure(pen: Pen, figure: Figure, scene: Scene, rng: Random) -> None:
    """Draw a figure whose head's centre is the pen's (0, 0)."""
    look = look_at(figure, scene, pen, rng)
    body = body_pen(pen, look)
    head = pen.moved(0, 0.9, turn=rng.uniform(-7, 7)).moved(0, -0.9)
    match scene.view:
        case "behind":
            _draw_from_behind(body, head, look)
        case "side":
            _draw_from_the_side(body.moved(-0.2, 0, stretch=_SIDEWAYS), head, look)
        case _:
            _draw_from_the_front(body, head, look)


def _draw_from_the_front(body: Pen, head: Pen, look: FigureStyle) -> None:
    props.draw_held(body, look, behind=True)
    accessories.draw_behind(body, look)
    hair.draw_hair_behind(head, look)
    _draw_body(body, look)
    accessories.draw_elf_ears(head, look)
    face.draw_head(head, look)
    face.draw_face(head, look)
    hair.draw_hair_before(head, look)
    face.draw_brows(head, look)
    accessories.draw_eyewear(head, look)
    accessories.draw_on_head(head, look)
    props.draw_held(body, look, behind=False)


def _draw_from_the_side(body: Pen, head: Pen, look: FigureStyle) -> None:
    props.draw_held(body, look, behind=True)
    accessories.draw_behind(body, look)
    profile.draw_hair_behind(head, look)
    _draw_body(body, look)
    profile.draw_profile(head, look)
    props.draw_held(body, look, behind=False)


def _draw_from_behind(body: Pen, head: Pen, look: FigureStyle) -> None:
    props.draw_held(body, look, behind=False)
    props.draw_held(body, look, behind=True)
    _draw_body(body, look)
    accessories.draw_behind(body, look)
    hair.draw_hair_over_back(head, look)
    accessories.draw_on_head(head, look)


def _draw_body(body: Pen, look: FigureStyle) -> None:
    wardrobe.draw_dressed_body(body, look)
    wardrobe.draw_front_arms(body, look)
    if look.figure.scarf:
        wardrobe.draw_scarf(body, look)
