"""Vocabulary options, from the command line to the tables of a dataset."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from alti2v.cli import cli
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.manifest import read_vocabulary
from alti2v.dataset.stats import StatsConfig, dataset_stats
from alti2v.errors import DataError, UsageError
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.layout import ALIASES_FILE, IMPLICATIONS_FILE
from alti2v.storage.table import write_table
from tests.dataset.helpers.building import build as small_build
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 posts, all with 1girl and hatsune_miku, every second with solo, one with smile."""
    posts = [
        TinyPost(
            id=number,
            content=encoded(drawing(number)),
            tags=["1girl", "hatsune_miku", *["solo"] * (number % 2), *["smile"] * (number == 5)],
            facts={"rating": "sensitive" if number % 3 else ""},
        )
        for number in range(1, 13)
    ]
    return write_store(tmp_path_factory.mktemp("vocabulary") / "store", posts)


build = functools.partial(small_build, size=16, test=0, validation=0)


def counts(dataset: Path) -> dict[str, int]:
    return {tag.name: tag.count for tag in read_vocabulary(dataset)}


def test_quotas_and_ratings(store: Path, tmp_path: Path) -> None:
    """The most frequent tags of each category with a quota, and the ratings, which count as meta tags."""
    build(store, tmp_path / "d", quota=("general=2", "character=1"), ratings=True)

    assert counts(tmp_path / "d") == {"1girl": 12, "hatsune_miku": 12, "rating:sensitive": 8, "solo": 6}
    assert verify_dataset(tmp_path / "d").findings == ()


def test_ratings_take_no_place_of_others(store: Path, tmp_path: Path) -> None:
    """They are added to --top-tags and to a quota of meta tags; a dropped rating stays out."""
    (tmp_path / "drop").write_text("rating:sensitive")
    build(store, tmp_path / "top", top_tags=3, ratings=True, keep_meta=True)
    build(store, tmp_path / "quota", quota=("general=1", "meta=1"), ratings=True)
    build(store, tmp_path / "drop-it", top_tags=2, ratings=True, drop=tmp_path / "drop")

    assert list(counts(tmp_path / "top")) == ["1girl", "hatsune_miku", "rating:sensitive", "solo"]
    assert list(counts(tmp_path / "quota")) == ["1girl", "rating:sensitive"]
    assert list(counts(tmp_path / "drop-it")) == ["1girl", "hatsune_miku"]


def test_what_is_left_out_is_told(store: Path, tmp_path: Path) -> None:
    """Omitted tags are counted by reason; the sums are the tags of the store, also after growth."""
    report = build(store, tmp_path / "d", quota=("general=1",), ratings=True)

    assert report.left_out == {"too rare": 2, "character": 1}
    assert (report.tags, report.categories, report.rarest) == (2, {"general": 1, "meta": 1}, 8)
    assert build(store, tmp_path / "d", quota=("general=1",), ratings=True).left_out == report.left_out


def test_files_of_tags(store: Path, tmp_path: Path) -> None:
    """Kept tags are in however rare, and rare or absent ones are reported; dropped tags are out."""
    (tmp_path / "keep").write_text("smile\n\n  no_such_tag \nsolo\n")
    (tmp_path / "drop").write_text("\ufeffhatsune_miku\n", encoding="utf-8")
    options = {"keep": tmp_path / "keep", "drop": tmp_path / "drop", "min_count": 3}
    report = build(store, tmp_path / "d", **options)

    assert counts(tmp_path / "d") == {"1girl": 12, "solo": 6, "smile": 1}
    assert report.rare == {"no_such_tag": 0, "smile": 1}
    assert build(store, tmp_path / "d", **options).rare == report.rare


def test_the_command_names_rare_tags(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output names kept tags that are rare or impossible, and tags that were left out."""
    (tmp_path / "keep").write_text("smile\nno_such_tag\n")
    (tmp_path / "drop").write_text("hatsune_miku\nhatsune_niku\n")
    numbers = ["--size", "16", "--test", "0", "--validation", "0", "--workers", "1", "--min-count", "2"]
    files = ["--keep", str(tmp_path / "keep"), "--drop", str(tmp_path / "drop")]
    arguments = [str(store), str(tmp_path / "d"), *numbers, *files]
    cli.main(["build-shards", *arguments], standalone_mode=False)
    printed = capsys.readouterr().out

    rows = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in printed.splitlines())
    assert rows["tags"] == "3: 3 general; the rarest on 1 training picture"
    assert rows["left out"] == "1 dropped"
    assert rows["kept although rare"] == "smile (1)"
    assert rows["not kept, in no training picture"] == "no_such_tag"
    assert rows["to drop, but in no post"] == "hatsune_niku"
    cli.main(["build-shards", *arguments, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["rare"] == {"no_such_tag": 0, "smile": 1}
    assert (told["left_out"], told["unmet"]) == ({"dropped": 1}, ["hatsune_niku"])


def test_aliases_and_implications_of_the_store(store: Path, tmp_path: Path) -> None:
    """Counts, labels and tags of every sample follow the tables of the crawl."""
    pairs = {
        ALIASES_FILE: (TAG_ALIASES, [("solo", "alone"), ("1girl", "one_girl")]),
        IMPLICATIONS_FILE: (TAG_IMPLICATIONS, [("hatsune_miku", "vocaloid"), ("solo", "quiet")]),
    }
    copy = write_store(tmp_path / "store", [])
    for path in store.rglob("*.*"):
        (copy / path.relative_to(store)).write_bytes(path.read_bytes())
    for file, (table, ends) in pairs.items():
        rows = [{"antecedent": first, "consequent": second} for first, second in ends]
        write_table(copy / file, table, rows)
    build(copy, tmp_path / "d", min_count=2)

    assert counts(tmp_path / "d") == {
        "hatsune_miku": 12,
        "one_girl": 12,
        "vocaloid": 12,
        "alone": 6,
        "quiet": 6,
    }
    assert [tag.category.value for tag in read_vocabulary(tmp_path / "d")][2] == "copyright"
    assert verify_dataset(tmp_path / "d").findings == ()
    (tmp_path / "keep").write_text("1girl\nsolo\nsmile\n")
    (tmp_path / "drop").write_text("1girl\nnobody\n")
    (tmp_path / "keep-solo").write_text("solo\n")
    by_alias = build(copy, tmp_path / "kept", min_count=7, keep=tmp_path / "keep")
    dropped = build(copy, tmp_path / "dropped", keep=tmp_path / "keep-solo", drop=tmp_path / "drop")

    assert by_alias.rare == {"solo": 6, "smile": 1}
    assert "alone" in counts(tmp_path / "kept")
    assert "one_girl" not in counts(tmp_path / "dropped")
    assert (dropped.rare, dropped.unmet) == ({}, ("nobody",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quota": ("general",)}, "--quota general: give CATEGORY=N"),
        ({"quota": ("general=0",)}, "--quota general=0: give CATEGORY=N"),
        ({"quota": ("hair=5",)}, "categories are general, artist"),
        ({"quota": ("meta=5", "meta=6")}, "--quota contains meta twice"),
        ({"min_count": 0}, "--min-count 0 is out of range"),
        ({"keep": "nowhere"}, "nowhere cannot be read: No such file or directory"),
        ({"keep": "empty"}, "empty contains no tag"),
        ({"keep": "latin"}, "latin is not UTF-8 text"),
        ({"keep": "one", "drop": "one"}, "--keep and --drop both contain 'solo'"),
    ],
)
def test_vocabularies_that_cannot_be(
    store: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """Invalid options are refused before anything is read, with advice."""
    for name, content in (("empty", b" \n"), ("latin", b"caf\xe9"), ("one", b"solo")):
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / value for name, value in options.items() if isinstance(value, str)}

    with pytest.raises(UsageError, match=message):
        build(store, tmp_path / "d", **(options | paths))
    assert not (tmp_path / "d").exists()


COMPOSED, DECOMPOSED = "caf\u00e9_(x)", "cafe\u0301_(x)"


@pytest.mark.parametrize("listed", [COMPOSED, DECOMPOSED], ids=["composed", "decomposed"])
@pytest.mark.parametrize("stored", [(COMPOSED,), (DECOMPOSED,), (COMPOSED, DECOMPOSED)], ids=len)
def test_unicode_forms_are_one_tag(tmp_path: Path, stored: tuple[str, ...], listed: str) -> None:
    """A decomposed name, as macOS writes it, and its composed form are one tag everywhere.

    Full-width letters are tags of their own.
    """
    posts = [
        TinyPost(
            id=number,
            content=encoded(drawing(number)),
            tags=["1girl", stored[number % len(stored)], *(stored if number == 3 else ()), "\uff41"],
        )
        for number in range(1, 9)
    ]
    store = write_store(tmp_path / "store", posts)
    (tmp_path / "list").write_text(f"\ufeff{listed}\r\n", encoding="utf-8")
    build(store, tmp_path / "all")
    dropped = build(store, tmp_path / "dropped", drop=tmp_path / "list")
    kept = build(store, tmp_path / "kept", keep=tmp_path / "list", top_tags=1)
    with pytest.raises(DataError, match="8 left out by --none-of"):
        build(store, tmp_path / "none", none_of=(listed,), any_tag=("1girl",))

    assert counts(tmp_path / "all") == {"1girl": 8, COMPOSED: 8, "\uff41": 8}
    assert (dropped.unmet, set(counts(tmp_path / "dropped"))) == ((), {"1girl", "\uff41"})
    assert (kept.rare, set(counts(tmp_path / "kept"))) == ({COMPOSED: 8}, {"1girl", COMPOSED})
    assert verify_dataset(tmp_path / "all").findings == ()
    assert dataset_stats(StatsConfig(dataset=tmp_path / "all", tags=(listed,))).sheets[1].total == 8
