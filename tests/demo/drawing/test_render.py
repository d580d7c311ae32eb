"""Drawn files: as the corpus describes them, with visible tags, and the same in every process."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from dataclasses import fields, replace
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alti2v.demo.drawing import render
from alti2v.demo.drawing import vocabulary as words
from alti2v.demo.drawing.characters import ARTISTS
from alti2v.demo.drawing.corpus import Corpus, Illustration, illustration
from alti2v.demo.drawing.figure import hair
from alti2v.demo.drawing.scene import Figure, Scene, compose

CORPUS = Corpus()
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF"}


def first(condition: Any) -> Illustration:
    return next(what for n in range(CORPUS.pictures) if condition(what := illustration(CORPUS, n)))


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def small(picture: Image.Image, side: int = 64) -> np.ndarray:
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return np.asarray(white.convert("RGB").resize((side, side), Image.Resampling.BOX), dtype=float)


KINDS = {
    "jpg": lambda what: what.file_ext == "jpg",
    "png": lambda what: what.file_ext == "png" and what.scene.background != "transparent",
    "gif": lambda what: what.file_ext == "gif",
    "transparent": lambda what: what.scene.background == "transparent" and what.edit is None,
    "greyscale": lambda what: what.scene.palette == "greyscale" and what.file_ext == "jpg",
    "cropped": lambda what: what.edit is not None and any(what.edit.crop),
    "rescaled": lambda what: what.edit is not None and what.edit.scale != 1,
    "recoloured": lambda what: what.edit is not None and what.edit.brightness != 1,
    "absurdres": lambda what: "absurdres" in what.true_tags.meta,
    "scenery": lambda what: what.scene.cast == "nobody",
    "wide": lambda what: what.width > 1000,
}


@pytest.mark.parametrize("kind", KINDS)
def test_originals_are_what_the_corpus_promises(kind: Any) -> None:
    """Every kind of original has the described format and size."""
    what = first(KINDS[kind])
    picture = opened(render.original(CORPUS, what.number))

    assert FORMATS[what.file_ext] == picture.format
    assert (what.width, what.height) == picture.size
    usual = {"P"} if what.file_ext == "gif" else {"RGB", "L"}
    assert picture.mode in {"transparent": {"RGBA"}, "greyscale": {"L"}}.get(kind, usual)


def test_transparent_pictures_show_a_figure_on_nothing() -> None:
    """On a transparent picture the corners are clear and the figure is opaque."""
    what = first(KINDS["transparent"])
    alpha = np.asarray(opened(render.original(CORPUS, what.number)).getchannel("A"))

    assert alpha[0, 0] == 0
    assert 0.1 < (alpha == 255).mean() < 0.95


def test_a_sample_is_850_pixels_wide() -> None:
    """The sample is the original, reduced and without transparency."""
    what = first(KINDS["wide"])
    picture = opened(render.sample(CORPUS, what.number))
    whole = opened(render.original(CORPUS, what.number))

    assert (picture.format, picture.width) == ("JPEG", render.SAMPLE_WIDTH)
    assert abs(picture.height - what.height * 850 / what.width) <= 1
    assert np.abs(small(picture) - small(whole)).mean() < 3


def test_a_thumbnail_has_150_pixels_on_its_longer_side() -> None:
    """Thumbnails have a longer side of 150 px and resemble the picture."""
    picture = opened(render.thumbnail(CORPUS, 0))

    assert (picture.format, max(picture.size)) == ("JPEG", 150)
    assert np.abs(small(picture, 16) - small(opened(render.original(CORPUS, 0)), 16)).mean() < 6


def test_another_process_draws_the_same_bytes() -> None:
    """A picture that is drawn again has the same bytes, in every process."""
    numbers = [4, first(KINDS["png"]).number]
    code = (
        "import hashlib, sys; from alti2v.demo.drawing import render\n"
        "from alti2v.demo.drawing.corpus import Corpus\n"
        "for n in sys.argv[1:]:\n"
        "    both = render.original(Corpus(), int(n)) + render.sample(Corpus(), int(n))\n"
        "    print(hashlib.md5(both).hexdigest())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, numbers)], capture_output=True, text=True, check=True
    )
    expected = [hashlib.md5(render.original(CORPUS, n) + render.sample(CORPUS, n)).hexdigest() for n in numbers]

    assert expected == answer.stdout.split()


def test_near_duplicates_look_alike_and_others_do_not() -> None:
    """A near-duplicate is closer to its original than any two other pictures are to each other."""
    repeated = [what for n in range(300) if (what := illustration(CORPUS, n)).edit is not None][:12]
    fresh = [what for n in range(100) if (what := illustration(CORPUS, n)).edit is None][:30]

    def seen(number: int | None) -> np.ndarray:
        assert number is not None
        return small(opened(render.original(CORPUS, number)), 24)

    near = [np.abs(seen(what.number) - seen(what.near_duplicate_of)).mean() for what in repeated]
    pictures = [seen(what.number) for what in fresh]
    far = [np.abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]

    assert max(near) < min(far)
    assert len({render.original(CORPUS, what.number) for what in repeated}) == len(repeated)


def test_recompressed_pictures_differ_in_bytes_only() -> None:
    """A lower quality gives another, smaller file of the same picture."""
    what = first(lambda what: what.edit is not None and what.edit.quality < 60)
    assert what.near_duplicate_of is not None
    again = render.original(CORPUS, what.number)
    first_file = render.original(CORPUS, what.near_duplicate_of)

    assert again != first_file
    assert len(again) < 1.1 * len(first_file)


# Visibility ------------------------------------------------------------------------------------

FIGURE_FIELDS = {
    "hair": (words.HAIR_COLOURS, "upper_body"),
    "hair_style": (words.GIRL_HAIR, "upper_body"),
    "bangs": (words.BANGS, "portrait"),
    "eyes": (words.EYE_COLOURS, "portrait"),
    "kind": (words.KINDS, "upper_body"),
    "headwear": (words.HEADWEAR, "upper_body"),
    "bow": (words.BOW_COLOURS, "upper_body"),
    "eyewear": (words.EYEWEAR, "portrait"),
    "outfit": (words.GIRL_OUTFITS, "upper_body"),
    "legwear": (words.LEGWEAR, "full_body"),
    "footwear": (words.FOOTWEAR, "full_body"),
    "scarf": (words.SCARF_COLOURS, "upper_body"),
    "expression": (words.EXPRESSIONS, "portrait"),
    "pose": (words.POSES, "upper_body"),
    "held": (words.HELD, "upper_body"),
}
SCENE_FIELDS = {
    "background": words.BACKGROUNDS,
    "framing": words.FRAMINGS,
    "view": words.VIEWS,
    "palette": words.PALETTES,
    "effect": words.EFFECTS,
    "frame": words.FRAMES,
}


@pytest.fixture(scope="module")
def plain() -> Scene:
    """An unnamed figure on white, with nothing that hides its details."""
    scene = compose(Random(5))
    figure = changed_figure(
        compose(Random(12)).figures[0],
        is_boy=False,
        skin=0,
        hair="blonde",
        hair_style="long",
        bangs="swept",
        ahoge=False,
        eyes="blue",
        kind="human",
        headwear="none",
        eyewear="none",
        outfit="serafuku",
        colour="blue",
        sleeves="short",
        legwear="bare",
        footwear="shoes",
        scarf="",
        held="",
        gloves=False,
        expression="smile",
        blush=False,
        gaze=0,
        pose="down",
    )
    return replace(
        scene,
        cast="girl",
        figures=(figure,),
        framing="upper_body",
        view="front",
        background="white",
        artist=ARTISTS[0],
        palette="colour",
        effect="none",
        frame="none",
        tilt=0.0,
        is_signed=False,
        offset=0.0,
        is_mirrored=False,
        detail=1,
    )


def changed_figure(figure: Figure, **changes: Any) -> Figure:
    own = {field.name for field in fields(Figure)}
    of_who = {name: value for name, value in changes.items() if name not in own}
    of_figure = {name: value for name, value in changes.items() if name in own}
    return replace(figure, who=replace(figure.who, **of_who), **of_figure)


def with_figure(scene: Scene, **changes: Any) -> Scene:
    return replace(scene, figures=(changed_figure(scene.figures[0], **changes),))


def seen_by_the_model(scene: Scene) -> np.ndarray:
    return small(render.paint(scene, 256, 256))


def changed_pixels(one: np.ndarray, other: np.ndarray) -> int:
    return int((np.abs(one - other).max(axis=2) > 16).sum())


def assert_all_differ(pictures: dict[str, np.ndarray], *, least: int) -> None:
    names = list(pictures)
    alike = {
        (a, b): changed
        for i, a in enumerate(names)
        for b in names[:i]
        if (changed := changed_pixels(pictures[a], pictures[b])) < least
    }
    assert alike == {}


@pytest.mark.parametrize("field", FIGURE_FIELDS)
def test_every_option_of_a_figure_can_be_seen_at_64_pixels(plain: Scene, field: Any) -> None:
    """Any two options of one choice differ at the model's resolution."""
    table, framing = FIGURE_FIELDS[field]
    scene = replace(plain, framing=framing)
    fixed = {"bow": {"headwear": "hair_bow"}, "held": {"pose": "holding"}}.get(field, {})
    pictures = {
        option.name: seen_by_the_model(with_figure(scene, **fixed, **{field: option.name}))
        for option in table.options
        if option.name != "holding"  # a pose only together with what is held
    }

    assert_all_differ(pictures, least=8)


@pytest.mark.parametrize("field", SCENE_FIELDS)
def test_every_option_of_a_scene_can_be_seen_at_64_pixels(plain: Scene, field: Any) -> None:
    """Any two settings, framings or palettes differ at the model's resolution."""
    pictures = {
        option.name: seen_by_the_model(replace(plain, **dict[str, Any]({field: option.name})))
        for option in SCENE_FIELDS[field].options
        if option.name != "transparent"  # white, once it is flattened
    }

    assert_all_differ(pictures, least=40)


@pytest.mark.parametrize("outfit", words.COLOURED_OUTFITS)
def test_clothes_show_their_colour(plain: Scene, outfit: Any) -> None:
    """Two colours of one outfit differ."""
    pictures = {
        option.name: seen_by_the_model(with_figure(plain, outfit=outfit, colour=option.name))
        for option in words.COLOURED_OUTFITS[outfit].options
    }

    assert_all_differ(pictures, least=100)


@pytest.mark.parametrize("style", [option.name for option in words.GIRL_HAIR.options])
def test_every_hair_style_is_more_than_bangs(plain: Scene, style: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hair style differs from the others in the hair around the face."""
    whole = seen_by_the_model(with_figure(plain, hair_style=style))
    for name in ("_LOOSE", "_TIED_BEHIND", "_TIED_BEFORE"):
        monkeypatch.setattr(hair, name, {})
    bare = seen_by_the_model(with_figure(plain, hair_style=style))

    assert changed_pixels(whole, bare) >= 40


def test_every_artist_has_a_hand_of_their_own(plain: Scene) -> None:
    """Two artists draw the same scene differently."""
    pictures = {artist.name: seen_by_the_model(replace(plain, artist=artist)) for artist in ARTISTS}

    assert_all_differ(pictures, least=60)


@pytest.mark.parametrize(
    "change", [{"ahoge": True}, {"blush": True}, {"gloves": True}, {"sleeves": "long"}, {"gaze": 1}]
)
def test_every_detail_can_be_seen_at_64_pixels(plain: Scene, change: Any) -> None:
    """Every optional detail changes the picture."""
    framing = "upper_body" if {"gloves", "sleeves"} & set(change) else "portrait"
    scene = replace(plain, framing=framing)
    changed = changed_pixels(seen_by_the_model(scene), seen_by_the_model(with_figure(scene, **change)))

    assert changed >= 8


@pytest.mark.parametrize("style", [option.name for option in words.BOY_HAIR.options])
@pytest.mark.parametrize("view", ["front", "side", "behind"])
def test_boys_can_be_drawn_from_everywhere(plain: Scene, style: Any, view: Any) -> None:
    """Options that only boys have are visible in every view."""
    outfits = {
        option.name: seen_by_the_model(
            replace(
                with_figure(plain, is_boy=True, hair_style=style, outfit=option.name, sleeves="long"), view=view
            )
        )
        for option in words.BOY_OUTFITS.options
    }

    assert_all_differ(outfits, least=40)


def test_a_contact_sheet_shows_each_picture_once() -> None:
    """Six pictures in two columns form three rows."""
    numbers = render.showcase(CORPUS, 6)
    sheet = render.contact_sheet(CORPUS, numbers, columns=2, cell_px=40)

    assert len(set(numbers)) == 6
    assert sheet.size == (2 * 42 + 2, 3 * 42 + 2)
    assert all(illustration(CORPUS, number).near_duplicate_of is None for number in numbers)
