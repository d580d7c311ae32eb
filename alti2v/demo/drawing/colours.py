"""Named colours, and the tones that an artist mixes from them. RGB, 0 to 255."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from functools import lru_cache

from alti2v.demo.drawing.characters import Artist

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (24, 22, 28)

HAIR: Mapping[str, Colour] = {
    "blonde": (250, 216, 104),
    "brown": (146, 92, 58),
    "black": (54, 51, 66),
    "blue": (72, 116, 222),
    "pink": (252, 152, 190),
    "purple": (150, 96, 208),
    "white": (240, 240, 248),
    "red": (214, 48, 52),
    "green": (84, 182, 98),
    "grey": (156, 160, 174),
    "aqua": (104, 222, 220),
    "orange": (246, 140, 48),
}
EYES: Mapping[str, Colour] = {
    "blue": (38, 104, 236),
    "red": (226, 28, 44),
    "brown": (136, 78, 40),
    "green": (24, 170, 76),
    "purple": (142, 54, 214),
    "yellow": (244, 190, 20),
    "pink": (250, 92, 160),
    "aqua": (24, 206, 214),
    "orange": (250, 124, 20),
}
CLOTH: Mapping[str, Colour] = {
    "white": (246, 246, 250),
    "black": (58, 56, 70),
    "grey": (150, 154, 166),
    "red": (214, 52, 60),
    "blue": (60, 96, 190),
    "pink": (250, 160, 190),
    "green": (72, 152, 98),
    "yellow": (250, 214, 92),
    "purple": (140, 92, 190),
    "brown": (152, 104, 70),
}
SKIN: tuple[Colour, ...] = ((255, 226, 208), (246, 204, 176), (196, 140, 104))

LINEN: Colour = (250, 250, 254)
STEEL: Colour = (172, 180, 198)
NAVY: Colour = (56, 70, 126)
GOLD: Colour = (236, 190, 84)
DENIM: Colour = (84, 116, 180)


@lru_cache(maxsize=2048)
def toned(colour: Colour, artist: Artist) -> Colour:
    """Mix a colour as this artist does."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    lightness = min(0.98, max(0.04, lightness + artist.lightness * (1 - lightness)))
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, min(1.0, saturation * artist.saturation))
    warmth = artist.warmth * 0.12
    return _rgb(red * (1 + warmth), green * (1 + warmth / 4), blue * (1 - warmth))


@lru_cache(maxsize=2048)
def darker(colour: Colour, amount: float) -> Colour:
    """Make a shadow tone, darker and shifted to violet; `amount` is in [0, 1]."""
    red, green, blue = (channel / 255 for channel in colour)
    return _rgb(red * (1 - 0.50 * amount), green * (1 - 0.60 * amount), blue * (1 - 0.36 * amount))


@lru_cache(maxsize=2048)
def lighter(colour: Colour, amount: float) -> Colour:
    """Make a highlight tone, shifted to white; `amount` is in [0, 1]."""
    return blended(colour, WHITE, amount)


def blended(one: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours, with the given share of the second, in [0, 1]."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return round(red), round(green), round(blue)


@lru_cache(maxsize=2048)
def inked(colour: Colour, artist: Artist) -> Colour:
    """Choose the outline colour for an area of this colour."""
    match artist.ink:
        case "black":
            return BLACK
        case "brown":
            return (92, 52, 40)
        case "white":
            return blended(darker(colour, 0.9), (120, 90, 110), 0.3)
        case "soft":
            return darker(colour, 0.75)
        case _:
            return darker(darker(colour, 1.0), 0.6)


def _rgb(red: float, green: float, blue: float) -> Colour:
    return (
        min(255, max(0, round(red * 255))),
        min(255, max(0, round(green * 255))),
        min(255, max(0, round(blue * 255))),
    )
