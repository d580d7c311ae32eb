"""Scenes: figures, clothes and setting of a picture, and the tags that follow from them. No drawing."""

from __future__ import annotations

import re
from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random

from alti2v.demo.drawing import vocabulary as words
from alti2v.demo.drawing.characters import ARTISTS, CHARACTERS, Artist, Character


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One character on a picture; strings are option names of `vocabulary.py`, "" for none.

    Attributes:
        who: Character; one made up for this picture has the name "".
        in_usual_outfit: True if a named character wears its usual outfit.
        colour: Colour of the outfit, or of the skirt below it.
        gaze: Direction of the eyes: -1 left, 0 at the viewer, 1 right.
        skin: Tone of the skin, 0 (fair) to 2 (dark).
    """

    who: Character
    skin: int
    headwear: str
    bow: str
    outfit: str
    in_usual_outfit: bool
    colour: str
    sleeves: str
    legwear: str
    footwear: str
    scarf: str
    gloves: bool
    expression: str
    blush: bool
    gaze: int
    pose: str
    held: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that is needed to draw a picture.

    Attributes:
        cast: Option of `CASTS`, which determines the number of figures.
        tilt: Rotation of the whole picture in degrees; 0 unless at a dutch angle.
        offset: Distance of the figures from the centre, as a fraction of the width.
        is_mirrored: True if figures are drawn with left and right exchanged.
        detail: Seed of untagged details, such as the positions of clouds and strands.
    """

    cast: str
    figures: tuple[Figure, ...]
    framing: str
    view: str
    background: str
    artist: Artist
    palette: str
    effect: str
    frame: str
    tilt: float
    is_signed: bool
    offset: float
    is_mirrored: bool
    detail: int


_LANDSCAPES = ("sky", "sunset", "beach", "flower_field", "city", "forest")


def compose(rng: Random) -> Scene:
    """Compose a random scene."""
    artist = _pick_artist(rng)
    cast = words.CASTS.pick(rng)
    characters = _characters(rng, cast)
    background = _background(rng, artist, characters)
    figures = tuple(_figure(rng, character, background) for character in characters)
    framing = words.FRAMINGS.pick(rng)
    if cast in {"girls", "couple"} and framing == "portrait":
        framing = "upper_body"  # two heads alone are not a picture
    view = words.VIEWS.pick(rng) if cast in {"girl", "boy"} else "front"
    return Scene(
        cast=cast,
        figures=figures,
        framing=framing,
        view=view,
        background=background,
        artist=artist,
        palette="colour" if background == "transparent" else words.PALETTES.pick(rng),
        effect=words.EFFECTS.pick(rng) if figures else "none",
        frame="none" if background == "transparent" else words.FRAMES.pick(rng),
        tilt=rng.choice((-16.0, 16.0)) if figures and rng.random() < 0.05 else 0.0,
        is_signed=rng.random() < 0.04,
        offset=(rng.random() - 0.5) * 0.12,
        is_mirrored=rng.random() < 0.5,
        detail=rng.getrandbits(32),
    )


def scene_tags(scene: Scene) -> set[str]:
    """General tags of all that is visible in the scene."""
    tags = {
        *words.CASTS[scene.cast].tags,
        *words.BACKGROUNDS[scene.background].tags,
        *words.EFFECTS[scene.effect].tags,
        *words.FRAMES[scene.frame].tags,
    }
    if scene.figures:
        tags.update(words.FRAMINGS[scene.framing].tags)
        tags.update(words.VIEWS[scene.view].tags)
    for figure in scene.figures:
        _add_figure_tags(tags, figure, scene)
    if scene.tilt:
        tags.add("dutch_angle")
    if scene.is_signed:
        tags.add("signature")
    if scene.palette != "colour":
        tags = {tag for tag in tags if not _needs_colour(tag)}
        tags.update(words.PALETTES[scene.palette].tags)
    return tags


def _characters(rng: Random, cast: str) -> tuple[Character, ...]:
    if cast == "girl":
        return (_pick_character(rng, is_boy=False),)
    if cast == "boy":
        return (_pick_character(rng, is_boy=True),)
    if cast == "nobody":
        return ()
    first = _pick_character(rng, is_boy=False)
    return first, _pick_companion(rng, first, is_boy=cast == "couple")


def _background(rng: Random, artist: Artist, characters: tuple[Character, ...]) -> str:
    if not characters:
        return rng.choice(_LANDSCAPES)
    chance = rng.random()
    if characters[0].setting and chance < _HOME_SHARE:
        return characters[0].setting
    return artist.favourite if chance > 1 - _FAVOURITE_SHARE else words.BACKGROUNDS.pick(rng)


_NAMED_SHARE = 0.85  # share of named figures
_USUAL_OUTFIT_SHARE = 0.93  # share of named figures in their usual outfit
_HABIT_SHARE = 0.8  # share of named figures with their usual expression or held object
_HOME_SHARE = 0.5  # share of a character's pictures in its own setting
_FAVOURITE_SHARE = 0.1  # share of pictures with the artist's favourite background
_ORIGINAL_SHARE = 0.5  # share of unnamed figures that are tagged "original"


def _cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(accumulate(weights))


_GIRLS = tuple(character for character in CHARACTERS if not character.is_boy)
_BOYS = tuple(character for character in CHARACTERS if character.is_boy)
_GIRLS_CUMULATIVE = _cumulative(tuple(character.weight for character in _GIRLS))
_ARTISTS_CUMULATIVE = _cumulative(tuple(artist.weight for artist in ARTISTS))


def _pick_artist(rng: Random) -> Artist:
    return ARTISTS[bisect(_ARTISTS_CUMULATIVE, rng.random() * _ARTISTS_CUMULATIVE[-1])]


def _pick_character(rng: Random, *, is_boy: bool) -> Character:
    if rng.random() >= _NAMED_SHARE:
        return _somebody(rng, is_boy=is_boy)
    if is_boy:
        return rng.choice(_BOYS)
    return _GIRLS[bisect(_GIRLS_CUMULATIVE, rng.random() * _GIRLS_CUMULATIVE[-1])]


def _pick_companion(rng: Random, first: Character, *, is_boy: bool) -> Character:
    of_the_same_story = [
        character
        for character in CHARACTERS
        if character.copyright == first.copyright and character.is_boy == is_boy and character is not first
    ]
    return rng.choice(of_the_same_story) if of_the_same_story else _somebody(rng, is_boy=is_boy)


def _figure(rng: Random, who: Character, background: str) -> Figure:
    chance = rng.random
    is_named = bool(who.name)
    is_usual = is_named and chance() < _USUAL_OUTFIT_SHARE
    has_habit = is_named and chance() < _HABIT_SHARE
    outfit = who.outfit if is_usual else _outfit(rng, background, is_boy=who.is_boy)
    pose, held = _pose(rng, who, outfit, background)
    return Figure(
        who=who,
        skin=0 if is_named else (0, 0, 0, 0, 1, 2)[int(chance() * 6)],
        headwear=_headwear(rng, who, outfit, background),
        bow=who.bow or words.BOW_COLOURS.pick(rng),
        outfit=outfit,
        in_usual_outfit=is_usual,
        colour=who.colour if is_usual and who.colour else _outfit_colour(rng, outfit),
        sleeves=_sleeves(rng, outfit, is_usual=is_usual),
        legwear=who.legwear if is_usual or who.is_boy else words.LEGWEAR.pick(rng),
        footwear="barefoot" if background == "beach" and chance() < 0.6 else words.FOOTWEAR.pick(rng),
        scarf=words.SCARF_COLOURS.pick(rng) if chance() < (0.5 if background == "snow" else 0.03) else "",
        gloves=outfit == "armor" or chance() < 0.03,
        expression=who.expression if has_habit else words.EXPRESSIONS.pick(rng),
        blush=who.blushes if has_habit else chance() < 0.36,
        gaze=0 if chance() < 0.88 else (-1 if chance() < 0.5 else 1),
        pose=pose,
        held=held,
    )


def _pose(rng: Random, who: Character, outfit: str, background: str) -> tuple[str, str]:
    """Choose a pose and the held object, "" for none."""
    if who.held and rng.random() < _HABIT_SHARE:
        return "holding", who.held
    pose = words.POSES.pick(rng)
    if pose != "holding":
        return pose, ""
    likely = words.SETTING_HELD.get(background) or words.OUTFIT_HELD.get(outfit)
    return pose, likely if likely and rng.random() < 0.6 else words.HELD.pick(rng)


def _somebody(rng: Random, *, is_boy: bool) -> Character:
    return Character(
        name="",
        copyright="original" if rng.random() < _ORIGINAL_SHARE else "",
        weight=1,
        hair=words.HAIR_COLOURS.pick(rng),
        hair_style=(words.BOY_HAIR if is_boy else words.GIRL_HAIR).pick(rng),
        eyes=words.EYE_COLOURS.pick(rng),
        outfit="",
        bangs=words.BANGS.pick(rng),
        ahoge=rng.random() < 0.13,
        kind=words.KINDS.pick(rng),
        headwear=(words.BOY_HEADWEAR if is_boy else words.HEADWEAR).pick(rng),
        eyewear=words.EYEWEAR.pick(rng),
        is_boy=is_boy,
    )


def _outfit(rng: Random, background: str, *, is_boy: bool) -> str:
    if is_boy:
        return words.BOY_OUTFITS.pick(rng)
    if background in words.SETTING_OUTFITS and rng.random() < 0.5:
        return rng.choice(words.SETTING_OUTFITS[background])
    return words.GIRL_OUTFITS.pick(rng)


def _outfit_colour(rng: Random, outfit: str) -> str:
    return words.COLOURED_OUTFITS.get(outfit, words.SKIRT_COLOURS).pick(rng)


def _headwear(rng: Random, who: Character, outfit: str, background: str) -> str:
    if who.is_boy:
        return who.headwear
    if outfit == "maid":
        return "maid_headdress"
    if outfit == "cape" and rng.random() < 0.5:
        return "witch_hat"
    if background in words.SETTING_HEADWEAR and rng.random() < 0.35:
        return words.SETTING_HEADWEAR[background]
    return "none" if who.headwear == "maid_headdress" else who.headwear


_USUAL_SLEEVES = {"dress": "none", "serafuku": "short", "maid": "short", "overalls": "short"}


def _sleeves(rng: Random, outfit: str, *, is_usual: bool) -> str:
    usual = _USUAL_SLEEVES.get(outfit, "long")
    if is_usual or outfit not in {"dress", "serafuku", "maid", "overalls", "shirt", "sweater"}:
        return usual
    return usual if rng.random() < 0.7 else rng.choice(("none", "short", "long"))


def _add_figure_tags(tags: set[str], figure: Figure, scene: Scene) -> None:
    reach = words.REACH[scene.framing]
    for option in _options(figure):
        tags.update(option.tags)
        if reach >= 1:
            tags.update(option.torso)
        if reach >= 2:
            tags.update(option.lower)
    if scene.view != "behind":
        _add_face_tags(tags, figure, scene)
    _add_body_tags(tags, figure, reach)
    if reach >= 2 and not figure.who.is_boy:
        _add_leg_tags(tags, figure)
    if reach >= 3:
        tags.update(words.FOOTWEAR[figure.footwear].tags)


def _options(figure: Figure) -> list[words.Option]:
    options = [
        words.HAIR_COLOURS[figure.who.hair],
        (words.BOY_HAIR if figure.who.is_boy else words.GIRL_HAIR)[figure.who.hair_style],
        words.KINDS[figure.who.kind],
        words.HEADWEAR[figure.headwear],
        (words.BOY_OUTFITS if figure.who.is_boy else words.GIRL_OUTFITS)[figure.outfit],
        words.POSES[figure.pose],
    ]
    if figure.held:
        options.append(words.HELD[figure.held])
    if figure.outfit in words.COLOURED_OUTFITS:
        options.append(words.COLOURED_OUTFITS[figure.outfit][figure.colour])
    if figure.scarf:
        options.append(words.SCARF_COLOURS[figure.scarf])
    if figure.headwear == "hair_bow":
        options.append(words.BOW_COLOURS[figure.bow])
    return options


def _add_face_tags(tags: set[str], figure: Figure, scene: Scene) -> None:
    expression = words.EXPRESSIONS[figure.expression].tags
    tags.update(expression)
    tags.update(words.BANGS[figure.who.bangs].tags)
    tags.update(words.EYEWEAR[figure.who.eyewear].tags)
    if "closed_eyes" not in expression and figure.who.eyewear != "sunglasses":
        tags.update(words.EYE_COLOURS[figure.who.eyes].tags)
        if scene.view == "front":
            tags.add("looking_to_the_side" if figure.gaze else "looking_at_viewer")
    if figure.blush:
        tags.add("blush")


def _add_body_tags(tags: set[str], figure: Figure, reach: int) -> None:
    if figure.who.ahoge:
        tags.add("ahoge")
    if figure.who.name and not figure.in_usual_outfit:
        tags.add("alternate_costume")
    if figure.sleeves == "none":
        tags.update(("bare_shoulders", "sleeveless"))
    elif figure.sleeves == "long" and reach >= 1:
        tags.add("long_sleeves")
    if reach >= 1 and figure.gloves:
        tags.add("gloves")


def _add_leg_tags(tags: set[str], figure: Figure) -> None:
    if figure.outfit in words.SKIRTED_OUTFITS:
        tags.update(words.SKIRT_COLOURS[figure.colour].tags)
    if figure.outfit != "kimono":  # it reaches down to the feet
        tags.update(words.LEGWEAR[figure.legwear].lower)


_COLOUR_OF_A_THING = re.compile(
    "(aqua|black|blonde|blue|brown|green|grey|orange|pink|purple|red|white|yellow)_"
    "(hair|eyes|dress|skirt|kimono|hoodie|sweater|cape|scarf|bow|background|jacket|shirt|sky|wings"
    "|thighhighs|pantyhose)"
)


@cache
def _needs_colour(tag: str) -> bool:
    # Boards tag no colours on a greyscale picture.
    return _COLOUR_OF_A_THING.fullmatch(tag) is not None
