"""Descriptions of the stand-in board's illustrations; `render.py` draws them.

A picture is a pure function of the corpus' seed and its own number, the same in every process and on every
machine. So the board lists 1.5 million posts without storing any, and tests know the true labels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from alti2v.demo.drawing import vocabulary as words
from alti2v.demo.drawing.characters import ARTISTS, CHARACTERS, COPYRIGHTS
from alti2v.demo.drawing.scene import Scene, compose, scene_tags
from alti2v.records import Category, TagGroups

MISSING_SHARE = 0.06
"""Probability that the uploader omitted a true general, copyright or character tag, independently of others."""

WRONG_PER_POST = 0.05
"""Share of posts with one wrong general tag."""

NEAR_DUPLICATE_SHARE = 0.06
"""Share of pictures that repeat an earlier one: recompressed, cropped, rescaled or recoloured."""

NEAR_DUPLICATE_REACH = 60
"""Approximate maximum distance of a near-duplicate from its original, in pictures."""

_LINKING_OWNERS = frozenset({"tidy_archivist", "gumdrop"})
_OWNERS = ("gumdrop", "night_heron", "tidy_archivist", "quiet_importer", "bramble", "autobot_7")
_FIRST_DAY = 1262304000  # 2010-01-01, when the oldest picture was uploaded
_SECONDS_BETWEEN = 10_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A set of pictures.

    Attributes:
        seed: Seed of the pictures.
        pictures: Number of pictures, > 0; they are numbered from 0.
    """

    seed: int = 2017
    pictures: int = 2000

    def __post_init__(self) -> None:
        if self.pictures <= 0:
            raise ValueError(f"a corpus of {self.pictures} pictures is not possible: give at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Difference between a near-duplicate and its original.

    Attributes:
        crop: Margins cut off at left, top, right and bottom, as fractions of the original's sides.
        scale: Factor for the sides, applied after cropping.
        brightness, saturation: Factors for the colours.
        quality: JPEG quality, 1 to 100.
    """

    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    scale: float = 1.0
    brightness: float = 1.0
    saturation: float = 1.0
    quality: int = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustration:
    """Description of one picture.

    Attributes:
        number: Number of the picture in its corpus.
        tags: Tags on the board, with the uploader's omissions and mistakes.
        true_tags: Tags of all that the picture shows.
        width, height: Size of the original, px.
        file_ext: Extension of the original: "jpg", "png" or "gif".
        rating: Rating: "general", or "sensitive" if a weapon is shown.
        score: Votes; None if nobody voted.
        source: URL of the source; "" if unknown.
        owner: Name of the uploader.
        created_at: Time of the upload, Unix seconds.
        near_duplicate_of: Number of the picture that this one repeats; None if it repeats none.
        is_child: True if the uploader linked the two as parent and child.
        scene: Scene to draw; a near-duplicate has the scene of its original.
        edit: Edit of the original; None if this is not a near-duplicate.
    """

    number: int
    tags: TagGroups
    true_tags: TagGroups
    width: int
    height: int
    file_ext: str
    rating: str
    score: int | None
    source: str
    owner: str
    created_at: int
    near_duplicate_of: int | None
    is_child: bool
    scene: Scene
    edit: Edit | None


def illustration(corpus: Corpus, number: int) -> Illustration:
    """Describe a picture; a pure function of `corpus.seed` and `number`.

    Raises:
        ValueError: `number` is outside [0, corpus.pictures).
    """
    if not 0 <= number < corpus.pictures:
        raise ValueError(f"picture {number} is outside [0, {corpus.pictures})")
    origin = _origin(corpus.seed, number)
    drawn = _stream(corpus.seed, "scene", number if origin is None else origin)
    scene = compose(drawn)
    width, height, file_ext = _file(drawn, scene)
    rng = _stream(corpus.seed, "post", number)
    edit = None
    if origin is not None:
        edit = _edit(rng)
        width, height = _edited_size(width, height, edit)
        file_ext = "jpg"
    true_tags = _true_tags(scene, _meta_tags(rng, scene, width, height, edit))
    owner = _OWNERS[int(rng.random() ** 1.6 * len(_OWNERS))]
    is_sensitive = "weapon" in true_tags.general and rng.random() < 0.6
    return Illustration(
        number=number,
        tags=_shown_tags(rng, true_tags),
        true_tags=true_tags,
        width=width,
        height=height,
        file_ext=file_ext,
        rating="sensitive" if is_sensitive else "general",
        score=None if rng.random() < 0.2 else int(rng.expovariate(0.2)),
        source=f"https://art.example/works/{rng.getrandbits(26)}" if rng.random() < 0.7 else "",
        owner=owner,
        created_at=_FIRST_DAY + number * _SECONDS_BETWEEN + int(rng.random() * _SECONDS_BETWEEN),
        near_duplicate_of=origin,
        is_child=origin is not None and owner in _LINKING_OWNERS,
        scene=scene,
        edit=edit,
    )


@cache
def categories() -> Mapping[str, Category]:
    """Category of every tag that a picture of any corpus can have."""
    return {
        **dict.fromkeys(sorted(words.general_tags()), Category.GENERAL),
        **{artist.name: Category.ARTIST for artist in ARTISTS},
        **dict.fromkeys(COPYRIGHTS, Category.COPYRIGHT),
        **{character.name: Category.CHARACTER for character in CHARACTERS},
        **dict.fromkeys(words.META_TAGS, Category.META),
    }


def _stream(seed: int, purpose: str, number: int) -> Random:
    return Random(_fingerprint(seed, purpose, number))  # noqa: S311 - pictures, not secrets


def _fingerprint(seed: int, purpose: str, number: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{purpose}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _origin(seed: int, number: int) -> int | None:
    """Number of the picture that this one repeats, never a repetition itself; None if it repeats none."""
    if not _is_repetition(seed, number):
        return None
    distance = 1 + _fingerprint(seed, "distance", number) % NEAR_DUPLICATE_REACH
    origin = max(0, number - distance)
    while _is_repetition(seed, origin):
        origin -= 1
    return origin


def _is_repetition(seed: int, number: int) -> bool:
    return number > 0 and _fingerprint(seed, "repetition", number) < NEAR_DUPLICATE_SHARE * 2**64


# Width over height; illustrations are mostly upright, scenery and groups mostly wide.
_UPRIGHT = (0.65, 0.7, 0.707, 0.707, 0.75, 0.8, 0.85)
_WIDE = (1.2, 1.25, 1.333, 1.414, 1.5, 1.6)


def _file(rng: Random, scene: Scene) -> tuple[int, int, str]:
    width = round(500 + 1100 * rng.betavariate(2.4, 5.0))
    upright = {"girls": 0.25, "couple": 0.3, "nobody": 0.1}.get(scene.cast, 0.85)
    chance = rng.random()
    if chance < 0.12:
        ratio = 1.0
    elif chance < 0.12 + 0.88 * upright:
        ratio = rng.choice(_UPRIGHT)
    else:
        ratio = rng.choice(_WIDE)
        width = max(width, 700)
    if rng.random() < 0.008:
        width = max(2 * width, 1900)
    chance = rng.random()
    if scene.background == "transparent":
        return width, round(width / ratio), "png"
    file_ext = "gif" if chance < 0.03 else "png" if chance < 0.15 else "jpg"
    if file_ext == "gif":
        width = min(width, 720)
    return width, round(width / ratio), file_ext


def _edit(rng: Random) -> Edit:
    kind = rng.randrange(4)
    if kind == 0:
        return Edit(quality=rng.randint(35, 70))
    if kind == 1:
        cuts = (rng.random(), rng.random(), rng.random(), rng.random())
        left, top, right, bottom = (0.05 * cut for cut in cuts)
        return Edit(crop=(left, top, right, bottom))
    if kind == 2:
        return Edit(scale=rng.choice((0.5, 0.6, 0.75, 0.8, 1.2)))
    return Edit(brightness=rng.uniform(0.86, 1.12), saturation=rng.uniform(0.75, 1.2))


def _edited_size(width: int, height: int, edit: Edit) -> tuple[int, int]:
    left, top, right, bottom = edit.crop
    return round(width * (1 - left - right) * edit.scale), round(height * (1 - top - bottom) * edit.scale)


_UPLOADERS_META = (
    ("commentary_request", 0.25),
    ("commentary", 0.15),
    ("bad_id", 0.08),
    ("translated", 0.04),
    ("tagme", 0.03),
)


def _meta_tags(rng: Random, scene: Scene, width: int, height: int, edit: Edit | None) -> list[str]:
    tags = [tag for tag, share in _UPLOADERS_META if rng.random() < share]
    # The sizes are Danbooru's: help:highres, help:absurdres.
    if width >= 1600 or height >= 1200:
        tags.append("highres")
    if width >= 3200 or height >= 2400:
        tags.append("absurdres")
    if edit is not None:
        tags += _edit_tags(edit)
    elif scene.background == "transparent":
        tags.append("transparent_background")
    return tags


def _edit_tags(edit: Edit) -> list[str]:
    if edit.quality < 60:
        return ["jpeg_artifacts"]
    if edit.scale != 1:
        return ["resized"]
    return ["third-party_edit"] if edit.brightness != 1 else []


def _true_tags(scene: Scene, meta: list[str]) -> TagGroups:
    return TagGroups(
        general=tuple(sorted(scene_tags(scene))),
        artist=(scene.artist.name,),
        copyright=tuple(sorted({figure.who.copyright for figure in scene.figures if figure.who.copyright})),
        character=tuple(sorted({figure.who.name for figure in scene.figures if figure.who.name})),
        meta=tuple(sorted(meta)),
    )


@cache
def _mistakable() -> tuple[str, ...]:
    return tuple(sorted(words.general_tags()))


def _shown_tags(rng: Random, true_tags: TagGroups) -> TagGroups:
    general = _forget(rng, true_tags.general)
    if rng.random() < WRONG_PER_POST:
        wrong = rng.choice(_mistakable())
        while wrong in true_tags.general:
            wrong = rng.choice(_mistakable())
        general = tuple(sorted((*general, wrong)))
    return TagGroups(
        general=general,
        artist=true_tags.artist,
        copyright=_forget(rng, true_tags.copyright),
        character=_forget(rng, true_tags.character),
        meta=true_tags.meta,
    )


_LOG_KEPT = math.log(1 - MISSING_SHARE)


def _forget(rng: Random, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Omit each tag with probability MISSING_SHARE, independently of the others."""
    # The gap to the next omission is geometric, so one draw per omission is enough.
    missing = int(math.log(1 - rng.random()) / _LOG_KEPT)
    if missing >= len(tags):
        return tags
    kept = list(tags)
    while missing < len(kept):
        del kept[missing]
        missing += int(math.log(1 - rng.random()) / _LOG_KEPT)
    return tuple(kept)
