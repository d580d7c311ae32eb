"""Draws one figure, layer by layer from back to front."""

from __future__ import annotations

from random import Random

from alti2v.demo import accessories, face, hair, props, wardrobe
from alti2v.demo.look import body_pen, look_at
from alti2v.demo.pen import Pen
from alti2v.demo.scene import Figure, Scene


def draw_figure(pen: Pen, figure: Figure, scene: Scene, rng: Random) -> None:
    """Draw a figure whose head's centre is the pen's (0, 0)."""
    look = look_at(figure, scene, pen, rng)
    body = body_pen(pen, look)
    head = pen.moved(0, 0.9, turn=rng.uniform(-7, 7)).moved(0, -0.9)
    seen_from_behind = scene.view == "behind"
    props.draw_held(body, look, behind=not seen_from_behind)
    if not seen_from_behind:
        accessories.draw_behind(body, look)
        hair.draw_hair_behind(head, look)
    wardrobe.draw_dressed_body(body, look)
    wardrobe.draw_front_arms(body, look)
    if figure.scarf:
        wardrobe.draw_scarf(body, look)
    if seen_from_behind:
        accessories.draw_behind(body, look)
        hair.draw_hair_over_back(head, look)
        hair.draw_hair_before(head, look)
        accessories.draw_on_head(head, look)
        return
    accessories.draw_elf_ears(head, look)
    face.draw_head(head, look)
    face.draw_face(head, look)
    hair.draw_hair_before(head, look)
    face.draw_brows(head, look)
    accessories.draw_eyewear(head, look)
    accessories.draw_on_head(head, look)
    props.draw_held(body, look, behind=seen_from_behind)
