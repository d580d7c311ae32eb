"""Descriptions of the pictures: the same everywhere, tagged like a board, wrong at the stated rates."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alti2v.demo.drawing import vocabulary as words
from alti2v.demo.drawing.characters import CHARACTERS
from alti2v.demo.drawing.corpus import (
    MISSING_SHARE,
    NEAR_DUPLICATE_SHARE,
    WRONG_PER_POST,
    Corpus,
    Illustration,
    categories,
    illustration,
)
from alti2v.records import Category

CORPUS = Corpus()


@pytest.fixture(scope="module")
def everything() -> list[Illustration]:
    return [illustration(CORPUS, number) for number in range(CORPUS.pictures)]


def fingerprint(numbers: range) -> str:
    text = "\n".join(repr(illustration(CORPUS, number)) for number in numbers)
    return hashlib.sha256(text.encode()).hexdigest()


def share(everything: list[Illustration], tag: str, given: str = "") -> float:
    among = [what for what in everything if not given or given in what.true_tags.all]
    return sum(tag in what.true_tags.all for what in among) / len(among)


def test_pictures_stay_what_they_are() -> None:
    """A picture of the default corpus keeps its tags; a change here changes the demo's figures."""
    what = illustration(CORPUS, GOLDEN_NUMBER)

    assert GOLDEN_TAGS.split() == list(what.true_tags.all)
    assert (what.width, what.height, what.file_ext) == (GOLDEN_WIDTH, GOLDEN_HEIGHT, GOLDEN_EXT)


def test_another_process_sees_the_same_pictures() -> None:
    """A picture depends on no hash seed, clock or process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_corpus; print(test_corpus.fingerprint(range(0, 400, 7)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert fingerprint(range(0, 400, 7)) == answer.stdout.strip()


def test_a_picture_does_not_depend_on_the_size_of_its_corpus() -> None:
    """A larger corpus leaves the first pictures unchanged."""
    assert illustration(CORPUS, 77) == illustration(Corpus(pictures=78), 77)


def test_another_seed_gives_other_pictures() -> None:
    """Another seed gives other pictures."""
    same = sum(
        illustration(CORPUS, n).true_tags == illustration(Corpus(seed=1), n).true_tags for n in range(50)
    )

    assert same == 0


@pytest.mark.parametrize("number", [-1, 10])
def test_numbers_outside_the_corpus_are_refused(number: Any) -> None:
    """Numbers outside 0 to `pictures` - 1 are refused."""
    with pytest.raises(ValueError, match="outside"):
        illustration(Corpus(pictures=10), number)


def test_an_empty_corpus_is_refused() -> None:
    """A corpus without pictures is refused."""
    with pytest.raises(ValueError, match="at least 1"):
        Corpus(pictures=0)


def test_every_tag_stands_in_its_category(everything: list[Illustration]) -> None:
    """The vocabulary contains every tag of the pictures, in the same category."""
    category_of = categories()
    for what in everything:
        for tags in (what.tags, what.true_tags):
            for category in Category:
                assert list(tags.of(category)) == sorted(set(tags.of(category)))
                assert {category_of[tag] for tag in tags.of(category)} <= {category}


def test_the_vocabulary_has_the_promised_breadth() -> None:
    """There are over a hundred tags in five categories, a dozen characters and three copyrights; all occur."""
    large = Corpus(pictures=12_000)  # the rarest tags are met once in some thousand pictures
    seen = {tag for number in range(large.pictures) for tag in illustration(large, number).true_tags.all}
    sizes = Counter(categories().values())

    assert seen == set(categories())
    assert sizes[Category.GENERAL] > 100
    assert sizes[Category.CHARACTER] == 12
    assert len({character.copyright for character in CHARACTERS}) == 3
    assert sizes[Category.ARTIST] >= 8
    assert sizes[Category.META] >= 8


def test_some_tags_need_escaping(everything: list[Illustration]) -> None:
    """Some tags contain characters that boards send as HTML entities."""
    assert 0 < share(everything, ">_<") < 0.05
    assert 0 < share(everything, "jack-o'-lantern") < 0.05


def test_frequencies_fall_off_as_on_a_board(everything: list[Illustration]) -> None:
    """Frequencies follow Zipf's law: in log-log, rank and frequency are a line with a slope near -1."""
    counts = Counter(tag for what in everything for tag in (*what.true_tags.general, *what.true_tags.character))
    frequencies = np.log(sorted(counts.values(), reverse=True)[9:200])
    ranks = np.log(np.arange(10, 201))
    slope, _ = np.polyfit(ranks, frequencies, 1)

    assert -1.2 < slope < -0.75
    assert np.corrcoef(ranks, frequencies)[0, 1] ** 2 > 0.94


def test_implied_tags_are_there(everything: list[Illustration]) -> None:
    """Every tag of a picture comes with the tags that it implies."""
    for what in everything:
        tags = set(what.true_tags.all)
        for tag in tags & set(words.IMPLICATIONS):
            assert set(words.IMPLICATIONS[tag]) <= tags, (what.number, tag)


def test_characters_keep_their_looks(everything: list[Illustration]) -> None:
    """A named character comes with its copyright, and in colour pictures with its hair colour."""
    character_of = {character.name: character for character in CHARACTERS}
    for what in everything:
        for name in what.true_tags.character:
            character = character_of[name]
            assert character.copyright in what.true_tags.copyright
            if "monochrome" not in what.true_tags.general:
                assert f"{character.hair}_hair" in what.true_tags.general


def test_popularity_differs(everything: list[Illustration]) -> None:
    """The most popular character and artist occur several times as often as the last."""
    for category in (Category.CHARACTER, Category.ARTIST):
        counts = Counter(tag for what in everything for tag in what.true_tags.of(category)).most_common()
        assert counts[0][1] > 3 * counts[-1][1]


@pytest.mark.parametrize(
    ("tag", "setting"),
    [("witch_hat", "halloween"), ("straw_hat", "beach"), ("school_uniform", "classroom"), ("umbrella", "rain")],
)
def test_settings_bring_what_belongs_to_them(everything: list[Illustration], tag: Any, setting: Any) -> None:
    """Some tags occur together more often than by chance."""
    assert share(everything, tag, given=setting) > 1.4 * share(everything, tag)


def test_a_picture_without_colours_is_tagged_without_them(everything: list[Illustration]) -> None:
    """Greyscale pictures have no colour tags."""
    greyscale = [what for what in everything if "monochrome" in what.true_tags.general]
    colours = set(words.HAIR_COLOURS.tags() | words.EYE_COLOURS.tags() | words.DRESS_COLOURS.tags())

    assert len(greyscale) > 20
    assert not any(colours & set(what.true_tags.general) for what in greyscale)


def test_labels_are_missing_at_the_stated_rate(everything: list[Illustration]) -> None:
    """Omissions stay within four standard deviations of MISSING_SHARE."""
    true = missing = 0
    for what in everything:
        for category in (Category.GENERAL, Category.CHARACTER, Category.COPYRIGHT):
            true += len(what.true_tags.of(category))
            missing += len(set(what.true_tags.of(category)) - set(what.tags.of(category)))

    assert abs(missing / true - MISSING_SHARE) < 4 * (MISSING_SHARE * (1 - MISSING_SHARE) / true) ** 0.5


def test_labels_are_wrong_at_the_stated_rate(everything: list[Illustration]) -> None:
    """Mistakes stay within four standard deviations of WRONG_PER_POST, and never repeat a true tag."""
    wrong = sum(len(set(what.tags.all) - set(what.true_tags.all)) for what in everything)
    deviation = (WRONG_PER_POST * (1 - WRONG_PER_POST) / len(everything)) ** 0.5

    assert abs(wrong / len(everything) - WRONG_PER_POST) < 4 * deviation


def test_near_duplicates_repeat_an_earlier_picture(everything: list[Illustration]) -> None:
    """Near-duplicates have the stated rate and the scene of an original, which is not one itself."""
    repeated = [what for what in everything if what.near_duplicate_of is not None]
    deviation = (NEAR_DUPLICATE_SHARE * (1 - NEAR_DUPLICATE_SHARE) / len(everything)) ** 0.5

    assert abs(len(repeated) / len(everything) - NEAR_DUPLICATE_SHARE) < 4 * deviation
    for what in repeated:
        assert what.near_duplicate_of is not None
        first = everything[what.near_duplicate_of]
        assert first.number < what.number
        assert first.near_duplicate_of is None
        assert first.scene == what.scene
        assert first.true_tags.general == what.true_tags.general
        assert what.edit is not None


def test_only_some_uploaders_link_parent_and_child(everything: list[Illustration]) -> None:
    """Only near-duplicates are children."""
    linked = {(what.near_duplicate_of is not None, what.is_child) for what in everything}

    assert {(False, False), (True, False), (True, True)} == linked


def test_files_have_the_sizes_of_a_board(everything: list[Illustration]) -> None:
    """Pictures are upright, wide or square, most of them 700 to 1,200 px wide; few are PNG or GIF."""
    widths = sorted(what.width for what in everything)
    ratios = [what.width / what.height for what in everything]
    kinds = Counter(what.file_ext for what in everything)

    assert widths[len(widths) // 5] < 850 < widths[len(widths) * 4 // 5] < 1300
    assert sum(ratio < 0.95 for ratio in ratios) > sum(ratio > 1.05 for ratio in ratios) > 200
    assert kinds["jpg"] > 0.8 * len(everything) > 0
    assert kinds["png"] > 100
    assert kinds["gif"] > 20


def test_sizes_earn_their_meta_tags(everything: list[Illustration]) -> None:
    """highres begins at a width of 1600 px or a height of 1200 px, as on Danbooru."""
    for what in everything:
        assert ("highres" in what.true_tags.meta) == (what.width >= 1600 or what.height >= 1200)


def test_knowing_a_picture_does_not_need_a_picture() -> None:
    """Listing posts does not import the drawing code."""
    code = "import sys, alti2v.demo.drawing.corpus; print(sorted({'PIL', 'numpy'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


GOLDEN_NUMBER = 3
GOLDEN_TAGS = (
    "1girl blazer blunt_bangs blush bob_cut cherry_blossoms closed_mouth commentary "
    "commentary_request day hairband jacket kettle_crow looking_at_viewer momosato_rin outdoors "
    "petals pink_eyes pink_hair portrait school_uniform short_hair sky smile solo spring_(season) "
    "starlit_academy tree "
)
GOLDEN_WIDTH, GOLDEN_HEIGHT, GOLDEN_EXT = 821, 1161, "jpg"
