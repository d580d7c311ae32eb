"""Filters and splits of `build-shards`: which posts a dataset takes, and on which side they are."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alti2v.dataset.build_context import posts_of
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.plan.outcomes import first_outcomes
from alti2v.dataset.plan.planner import as_json
from alti2v.dataset.plan_options import plan_options
from alti2v.errors import DataError, UsageError
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.table import write_table
from tests.dataset.helpers.building import build as small_build
from tests.dataset.helpers.building import milestones, sides
from tests.dataset.helpers.tiny_store import CATEGORY_OF, TinyPost, drawing, encoded, write_store

YEAR_S = 31_536_000
RATINGS = ("general", "sensitive", "questionable", "explicit")
ARTISTS = {f"artist_{number}": "artist" for number in range(9)}


def posts(count: int = 40) -> list[TinyPost]:
    """Posts whose facts follow from their number, so that every filter has a known answer."""
    made = []
    for number in range(1, count + 1):
        facts = {
            "width": 100 * (number % 5 + 1),
            "height": 300,
            "score": None if number % 4 == 0 else number,
            "rating": RATINGS[number % 4],
            "created_at": datetime(2020 + number % 6, 3, 1, tzinfo=UTC),
        }
        tags = ["1girl", "solo", f"artist_{number % 9}"] + (["old_name"] if number % 3 == 0 else [])
        made.append(TinyPost(id=number, content=encoded(drawing(number)), tags=tags, facts=facts))
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filters") / "store"
    write_store(folder, posts(), category_of=CATEGORY_OF | ARTISTS)
    write_table(
        folder / "tag_aliases.parquet", TAG_ALIASES, [{"antecedent": "old_name", "consequent": "new_name"}]
    )
    write_table(
        folder / "tag_implications.parquet",
        TAG_IMPLICATIONS,
        [{"antecedent": "new_name", "consequent": "any_name"}],
    )
    return folder


build = functools.partial(small_build, test=2, validation=2, ids=None)


def taken(dataset: Path) -> set[int]:
    outcomes = pd.read_parquet(dataset / "outcomes.parquet")
    return set(outcomes[outcomes["outcome"] == "stored"]["id"])


CASES: dict[str, tuple[dict[str, Any], Any, str]] = {
    "side": ({"min_side": 300}, lambda n: n % 5 >= 2, "filter_min_side"),
    "aspect": ({"max_aspect": 1.5}, lambda n: 2 <= n % 5 + 1 <= 4, "filter_max_aspect"),
    "score": ({"min_score": 10}, lambda n: n % 4 != 0 and n >= 10, "filter_min_score"),
    "score of nobody": ({"min_score": 0}, lambda _: True, ""),
    "rating": ({"rating": ("general", "explicit")}, lambda n: n % 4 in (0, 3), "filter_rating"),
    "since": ({"since": "2023-03-01"}, lambda n: n % 6 >= 3, "filter_since"),
    "until": ({"until": "2022-03-01"}, lambda n: n % 6 <= 2, "filter_until"),
    "any tag": ({"any_tag": ("artist_1", "artist_2")}, lambda n: n % 9 in (1, 2), "filter_any_tag"),
    "alias": ({"any_tag": ("new_name",)}, lambda n: n % 3 == 0, "filter_any_tag"),
    "old name": ({"any_tag": ("old_name",)}, lambda n: n % 3 == 0, "filter_any_tag"),
    "implied": ({"none_of": ("any_name",)}, lambda n: n % 3 != 0, "filter_none_of"),
    "pattern": (
        {"none_of": ("artist_[1]", "*t_3", "artist_4")},
        lambda n: n % 9 not in (3, 4),
        "filter_none_of",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_filter_takes_what_it_says_and_counts_the_rest(case: str, store: Path, tmp_path: Path) -> None:
    """The pictures are exactly those; each other post has the filter as its reason; the plan names it."""
    options, holds, reason = CASES[case]
    config = BuildConfig(store=store, dataset=tmp_path, **options)

    posts, _ = posts_of(config, plan_options(config).filters)
    outcomes = first_outcomes(posts)

    expected = {number for number in range(1, 41) if holds(number)}
    assert set(posts.ids[outcomes.usable].tolist()) == expected
    assert sum(outcomes.counts().values()) == 40
    assert outcomes.counts().get(f"dropped {reason}", 0) == 40 - len(expected)
    assert set(as_json(plan_options(config))["filters"]) == set(options)


def test_a_picture_without_a_stated_size_is_measured(tmp_path: Path) -> None:
    """Filters by size use the stored picture's sides if the source states none, or only one of them."""
    sides = {1: (0, 0, 300, 200), 2: (0, 0, 90, 120), 3: (640, 480, 90, 120), 4: (700, 0, 900, 210)}
    names = ("width", "height", "stored_width", "stored_height")
    made = [
        TinyPost(id=number, content=encoded(drawing(number)), facts=dict(zip(names, known, strict=True)))
        for number, known in sides.items()
    ]
    write_store(tmp_path / "store", made)

    def taken_with(**options: Any) -> set[int]:
        config = BuildConfig(store=tmp_path / "store", dataset=tmp_path / "dataset", **options)
        found, _ = posts_of(config, plan_options(config).filters)
        return set(found.ids[first_outcomes(found).usable].tolist())

    assert taken_with(min_side=200) == {1, 3, 4}
    assert taken_with(max_aspect=2.0) == {1, 2, 3}


def test_filters_are_joined_and_a_list_of_ids_is_recorded_by_its_hash(store: Path, tmp_path: Path) -> None:
    """All conditions hold; the first that fails is the reason; another list is another plan."""
    file = tmp_path / "ids.txt"
    file.write_text("# mine\n" + "\n".join(map(str, range(5, 41))))

    report = build(store, tmp_path / "dataset", ids=file, rating=("sensitive", "general"), min_side=200)

    assert taken(tmp_path / "dataset") == {n for n in range(5, 41) if n % 4 in (0, 1) and n % 5 >= 1}
    recorded = json.loads((tmp_path / "dataset/manifest.json").read_text())["options"]["filters"]
    assert set(recorded) == {"ids", "rating", "min_side"}
    card = (tmp_path / "dataset/README.md").read_text()
    assert "Only posts of the store with: `ids 36 listed (SHA-256 " in card
    assert "…), min-side 200, rating general or sensitive`." in card
    assert report.outcomes["dropped filter_ids"] == 4
    file.write_text("\n".join(map(str, range(6, 41))))
    with pytest.raises(UsageError, match="--ids"):
        build(store, tmp_path / "dataset", ids=file, rating=("sensitive", "general"), min_side=200)


def test_without_filters_nothing_is_recorded(store: Path, tmp_path: Path) -> None:
    """A plan without filters is the one that earlier versions made: equal bytes, equal hash."""
    report = build(store, tmp_path / "dataset")

    assert "filters" not in json.loads((tmp_path / "dataset/manifest.json").read_text())["options"]
    assert report.outcomes == {"stored": 40}


def test_a_post_whose_twin_is_left_out_is_taken(tmp_path: Path) -> None:
    """Posts with the same bytes are compared after the filters."""
    content = encoded(drawing(1))
    twins = [
        TinyPost(id=number, content=content, facts={"rating": rating})
        for number, rating in ((1, "explicit"), (2, "general"))
    ]
    others = [TinyPost(id=n, content=encoded(drawing(n)), facts={"rating": "general"}) for n in range(3, 20)]
    write_store(tmp_path / "store", [*twins, *others])

    build(tmp_path / "store", tmp_path / "dataset", rating=("general",))

    assert taken(tmp_path / "dataset") == set(range(2, 20))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"min_side": 0}, "--min-side 0 is out of range"),
        ({"min_score": 10**20}, "--min-score 100000000000000000000 is out of range"),
        ({"max_aspect": 0.5}, "--max-aspect 0.5 is out of range"),
        ({"rating": ("safe",)}, "--rating 'safe' is unknown: give one of general"),
        ({"since": "yesterday"}, "--since yesterday: give a day as YYYY-MM-DD"),
        ({"since": "2024-01-02", "until": "2024-01-01"}, "no day is between them"),
        ({"any_tag": ("a b",)}, "give one tag, without spaces"),
        ({"split_by": "hue"}, "'hue' is unknown: give one of artist, date"),
        ({"split_by": "date", "split": "id-modulo"}, "leave out --split id-modulo"),
    ],
)
def test_wrong_filters_are_told_in_a_line(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Before anything is read or written."""
    with pytest.raises(UsageError, match=told):
        BuildConfig(store=tmp_path, dataset=tmp_path / "dataset", **options)


def test_a_filter_by_date_needs_dates(tmp_path: Path) -> None:
    """A store of a board that lists no time of creation is not silently emptied."""
    write_store(tmp_path / "store", [TinyPost(id=n, content=encoded(drawing(n))) for n in range(1, 9)])

    with pytest.raises(DataError, match="no stored post has a time of creation"):
        build(tmp_path / "store", tmp_path / "dataset", since="2020-01-01")


def test_filters_that_leave_nothing_are_named(tmp_path: Path) -> None:
    """A filter by rating needs ratings; of other filters each is named with what it left out."""
    rated = [TinyPost(id=n, content=encoded(drawing(n)), facts={"rating": "general"}) for n in range(1, 4)]
    write_store(tmp_path / "rated", rated)
    write_store(tmp_path / "unrated", [replace(post, facts={"rating": ""}) for post in rated])

    with pytest.raises(
        DataError, match=r"^none of the 3 pictures has a rating, so --rating general leaves none"
    ):
        build(tmp_path / "unrated", tmp_path / "dataset", rating=("general",))
    with pytest.raises(DataError, match=r"\(3 left out by --min-side\): give weaker filters"):
        build(tmp_path / "rated", tmp_path / "dataset", rating=("general",), min_side=9_999)


def test_no_artist_is_on_two_sides_and_the_sizes_are_exact(tmp_path: Path) -> None:
    """Twelve artists of one to twelve pictures, collaborations, near-duplicates and pictures of nobody."""
    rng = np.random.default_rng(5)
    made, artists_of = [], {}
    for number in range(1, 121):
        artists = set(map(int, rng.choice(40, size=int(rng.integers(0, 3)), p=np.arange(1, 41) / 820)))
        artists_of[number] = artists
        picture = drawing(
            number - 1 if number % 30 == 0 else number
        )  # every thirtieth looks like the one before
        tags = ["1girl", *(f"a{artist}" for artist in artists)]
        made.append(TinyPost(id=number, content=encoded(picture, quality=80 + number % 2 * 10), tags=tags))
    write_store(tmp_path / "store", made, category_of=CATEGORY_OF | {f"a{n}": "artist" for n in range(40)})

    build(tmp_path / "store", tmp_path / "dataset", split_by="artist", test=17, validation=11)
    before = sides(tmp_path / "dataset")
    grown = [
        TinyPost(id=200 + n, content=encoded(drawing(200 + n)), tags=["1girl", f"a{n}"]) for n in range(40)
    ]
    write_store(
        tmp_path / "store", made + grown, category_of=CATEGORY_OF | {f"a{n}": "artist" for n in range(40)}
    )
    build(tmp_path / "store", tmp_path / "dataset", split_by="artist", test=17, validation=11)
    after = sides(tmp_path / "dataset")
    artists_of |= {200 + n: {n} for n in range(40)}

    assert Counter(before.values()) == {"test": 17, "validation": 11, "train": 92}
    assert before.items() <= after.items()
    for side_of in (before, after):
        seen: dict[int, set[str]] = {}
        for number, side in side_of.items():
            for artist in artists_of[number]:
                seen.setdefault(artist, set()).add(side)
        assert all(len(found) == 1 for found in seen.values())
        assert all(side_of[n] == side_of[n - 1] for n in (30, 60, 90, 120) if n in side_of)
    assert "No artist is on two sides" in (tmp_path / "dataset/README.md").read_text()


@pytest.mark.parametrize("dated", [True, False])
def test_test_is_newer_than_validation_and_training(dated: bool, tmp_path: Path) -> None:
    """By date, or by id where a board has no dates; look-alikes of another time do not cross the border."""
    made, moment_of = [], {}
    for number in range(1, 81):
        moment = (number * 37) % 80 + 1 if dated else number
        moment_of[number] = moment
        facts = {"created_at": datetime.fromtimestamp(moment * YEAR_S / 8, UTC)} if dated else {}
        picture = drawing(5 if number in (70, 71, 75) else number)
        content = encoded(picture, quality=75 + number % 15)
        made.append(TinyPost(id=number, content=content, facts=facts))
    write_store(tmp_path / "store", made)

    report = build(tmp_path / "store", tmp_path / "dataset", split_by="date", test=12, validation=9)
    side_of = sides(tmp_path / "dataset")

    moments = {side: [moment_of[n] for n in side_of if side_of[n] == side] for side in set(side_of.values())}
    assert max(moments["train"]) < min(moments["validation"])
    assert max(moments["validation"]) < min(moments["test"])
    assert (len(moments["test"]), len(moments["validation"])) == (12, 9)
    assert report.outcomes.get("dropped newer_than_held_out", 0) == 80 - len(side_of) <= 4
    alike = {side_of[n] for n in (5, 70, 71, 75) if n in side_of}
    assert len(alike) == 1


def test_a_dataset_split_by_date_grows_by_older_pictures(tmp_path: Path) -> None:
    """Test and validation stay; newer, undated and look-alike pictures stay out, and a line says so."""

    def post(number: int, day: int | None, *, looks_like: int | None = None) -> TinyPost:
        facts = {} if day is None else {"created_at": datetime.fromtimestamp(day * YEAR_S / 365, UTC)}
        content = encoded(drawing(looks_like or number), quality=80 if looks_like else 90)
        return TinyPost(id=number, content=content, facts=facts)

    first = [post(number, 1_000 + 10 * number) for number in range(1, 41)]
    write_store(tmp_path / "store", first)
    build(tmp_path / "store", tmp_path / "dataset", split_by="date", test=6, validation=5)
    before = sides(tmp_path / "dataset")
    held_out = {number for number, side in before.items() if side != "train"}
    assert held_out == set(range(30, 41))

    added = [
        post(101, 1_005),  # older than everything
        post(102, 1_299),  # newer than all training pictures, older than validation
        post(103, 1_301),  # newer than the first picture of validation
        post(104, 9_000),
        post(105, None),
        post(106, 1_001, looks_like=40),
    ]
    write_store(tmp_path / "store", first + added)
    said: list[str] = []
    options = {"test": 6, "validation": 5, "split_by": "date"}
    report = build(tmp_path / "store", tmp_path / "dataset", progress=milestones(said), **options)

    after = sides(tmp_path / "dataset")
    assert after == before | {101: "train", 102: "train"}
    assert report.outcomes["dropped newer_than_held_out"] == 4
    assert any(line.startswith("4 new pictures are not older than test and validation") for line in said)
