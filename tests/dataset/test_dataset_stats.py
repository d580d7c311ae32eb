"""Statistics of a dataset: every figure is compared with an independent computation."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from alti2v.cli import main
from alti2v.dataset.build import build_shards
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.explore.counts import ASPECT_EDGES, SIZE_EDGES
from alti2v.dataset.manifest import read_vocabulary
from alti2v.dataset.stats import DatasetStats, StatsConfig, dataset_stats
from alti2v.errors import DamagedError, UsageError
from alti2v.storage.columns import METADATA
from alti2v.storage.order import random_order
from alti2v.storage.table import read_table, write_arrow_table
from tests.dataset.helpers.building import build
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store

SOURCES = (
    "https://www.pixiv.net/artworks/1",
    "HTTPS://Twitter.com/somebody/status/1",
    "http://twitter.com:80?x",
    "a book, page 7",
    "",
)


def varied_posts() -> list[TinyPost]:
    """Return 60 posts with different facts, 8 of them near-duplicates."""
    posts = []
    for post in tiny_posts(52):
        facts: dict[str, Any] = {
            "source": SOURCES[post.id % 5],
            "rating": ("general", "sensitive", "")[post.id % 3],
            "created_at": None if post.id % 4 == 0 else 1262304000 + post.id * 86400 * 40,
        }
        picture = drawing(post.id, width=40 + 10 * (post.id % 9), height=160 if post.id % 7 else 20)
        posts.append(TinyPost(id=post.id, content=encoded(picture, quality=95), tags=post.tags, facts=facts))
        if post.id <= 8:
            copy = encoded(picture, quality=70)
            posts.append(TinyPost(id=500 + post.id, content=copy, tags=["solo", "of_a_copy"], facts=facts))
    return posts


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stats")
    write_store(root / "store", [*varied_posts(), TinyPost(id=900, content=None)])
    build(root / "store", root / "ds", size=64, test=8, validation=5)
    return root / "ds"


@pytest.fixture(scope="module")
def stats(dataset: Path) -> DatasetStats:
    return dataset_stats(StatsConfig(dataset=dataset, tags=("solo", "highres", "of_a_copy"), sheet=5))


def ask(dataset: Path, query: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(query.replace("METADATA", f"'{dataset}/metadata/*.parquet'")).fetchall()


def rows(dataset: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(dataset.glob("metadata/*")) for row in read_table(path, METADATA).to_pylist()
    ]


def histogram(counts: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(counts.get(number, 0) for number in range(max(counts) + 1))


def test_tags_are_counted_in_every_split(stats: DatasetStats, dataset: Path) -> None:
    """Each tag of the vocabulary has the number of pictures that a query finds in each split."""
    query = """SELECT label, split_part(parse_filename(filename), '-', 1), count(*)
               FROM read_parquet(METADATA, filename=true), unnest(labels) AS each(label) GROUP BY ALL"""
    counted = {(label, split): count for label, split, count in ask(dataset, query)}

    assert [row.tag for row in stats.tags] == list(read_vocabulary(dataset))
    for index, row in enumerate(stats.tags):
        assert row.pictures == {
            split: counted.get((index, split), 0) for split in ("train", "validation", "test")
        }
        assert row.pictures["train"] == row.tag.count


def test_lengths_are_distributions_of_tags(stats: DatasetStats, dataset: Path) -> None:
    """Both histograms are those of counting tags and labels picture by picture."""
    found = rows(dataset)
    columns = [name for name in found[0] if name.startswith("tags_")]

    assert stats.labels_per_picture == histogram(Counter(len(row["labels"]) for row in found))
    assert stats.tags_per_picture == histogram(Counter(sum(len(row[c]) for c in columns) for row in found))


def test_sizes_and_shapes_lie_between_their_edges(stats: DatasetStats, dataset: Path) -> None:
    """Every picture is in one bin; outliers are in the outermost bins."""
    for counts, edges, what in (
        (stats.sizes, SIZE_EDGES, "source_width * source_height / 1e6"),
        (stats.aspects, ASPECT_EDGES, "source_width / source_height"),
    ):
        assert sum(counts) == 60
        for count, (low, high) in zip(counts, itertools.pairwise(edges), strict=True):
            low, high = (-99 if low == edges[0] else low), (99 if high == edges[-1] else high)
            query = f"SELECT count(*) FROM METADATA WHERE log2({what}) >= {low} AND log2({what}) < {high}"
            assert ask(dataset, query) == [(count,)]
    assert ask(dataset, "SELECT count(*) FROM METADATA WHERE greatest(source_width, source_height) < 64") == [
        (stats.enlarged,)
    ]
    assert stats.enlarged > 0


def test_origins(stats: DatasetStats, dataset: Path) -> None:
    """Hosts are counted without www., port and case; posts without a URL or a date are counted separately."""
    found = rows(dataset)
    of_site = Counter(row["source"] for row in found)
    years = Counter(row["created_at"].year for row in found if row["created_at"])

    assert stats.hosts == {
        "twitter.com": of_site[SOURCES[1]] + of_site[SOURCES[2]],
        "pixiv.net": of_site[SOURCES[0]],
    }
    assert stats.unsourced == of_site[SOURCES[3]] + of_site[SOURCES[4]]
    assert stats.years == dict(sorted(years.items()))
    assert stats.undated == 60 - years.total()
    assert stats.ratings == Counter(row["rating"] for row in found)
    assert (stats.first_id, stats.last_id) == (1, 508)
    assert stats.outcomes == {"stored": 60, "failed http_404": 1}


def test_pairs_are_counted_and_compared_with_chance(stats: DatasetStats, dataset: Path) -> None:
    """Counts and lifts of all pairs are those of counting by hand, and the highest lift comes first."""
    labels = [set(row["labels"]) for row in rows(dataset)]
    names = [row.tag.name for row in stats.tags]
    for i, j in itertools.product(range(len(names)), repeat=2):
        assert stats.together[i][j] == sum({i, j} <= one for one in labels)
    expected = {
        (names[i], names[j]): stats.together[i][j] * 60 / stats.together[i][i] / stats.together[j][j]
        for i, j in itertools.combinations(range(len(names)), 2)
        if stats.together[i][j]
    }

    assert {(pair.first, pair.second): pair.lift for pair in stats.pairs} == pytest.approx(expected)
    assert [pair.lift for pair in stats.pairs] == sorted((pair.lift for pair in stats.pairs), reverse=True)


def test_groups_are_whole(stats: DatasetStats) -> None:
    """Each copy is shown with its original, and with nothing else."""
    assert stats.group_sizes == {2: 8}
    assert stats.grouped == 16
    assert [[picture.id for picture in group] for group in stats.groups] == [[i, 500 + i] for i in range(1, 9)]
    assert all(len({picture.shard.split("-")[0] for picture in group}) == 1 for group in stats.groups)


@pytest.mark.parametrize("seed", range(6))
def test_groups_on_two_sides_are_shown_first(built_by_number: Path, seed: int) -> None:
    """With --split id-modulo, groups that leak across splits come first, then other groups."""
    stats = dataset_stats(StatsConfig(dataset=built_by_number, groups=2, seed=seed))
    groups = [[picture.id for picture in group] for group in stats.groups]

    assert stats.astray == 1
    assert [7, 2950] in groups
    assert len(groups) == 2


@pytest.fixture(scope="module")
def built_by_number(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs of near-duplicates, one of them in two splits."""
    folder = tmp_path_factory.mktemp("by_number")
    pairs = [(1, 11), (2, 12), (3, 13), (4, 14), (5, 15), (6, 16), (7, 2950), (8, 18)]
    posts = [
        TinyPost(id=post_id, content=encoded(drawing(number), quality=70 + 20 * second))
        for number, pair in enumerate(pairs)
        for second, post_id in enumerate(pair)
    ]
    store = write_store(folder / "store", posts)
    build_shards(BuildConfig(store=store, dataset=folder / "dataset", size=32, split="id-modulo", workers=1))
    return folder / "dataset"


def test_a_group_that_lost_its_first_picture(dataset: Path, tmp_path: Path) -> None:
    """The rest is a group if it has two pictures or more: 502 and 503 are alone after 2 and 3 were removed."""
    copy = shutil.copytree(dataset, tmp_path / "copy")
    for path in copy.glob("metadata/*"):
        table = read_table(path, METADATA)
        columns = (table[name].to_pylist() for name in ("id", "group_id"))
        moved = [7777 if id_ in (2, 3) else group for id_, group in zip(*columns, strict=True)]
        at = table.column_names.index("group_id")
        write_arrow_table(path, METADATA, table.set_column(at, "group_id", pa.array(moved)))
    found = dataset_stats(StatsConfig(dataset=copy))

    assert found.group_sizes == {2: 7}
    assert [picture.id for picture in found.groups[-1]] == [2, 3]
    assert {picture.id for group in found.groups for picture in group}.isdisjoint({502, 503})


def test_sheets_show_what_was_asked_for(stats: DatasetStats, dataset: Path) -> None:
    """A sheet of all pictures, then of each tag, in the vocabulary or not; the same for the same seed."""
    tags_of = {
        row["id"]: {tag for name in row if name.startswith("tags_") for tag in row[name]}
        for row in rows(dataset)
    }

    assert [sheet.tag for sheet in stats.sheets] == ["", "solo", "highres", "of_a_copy"]
    for sheet in stats.sheets:
        carrying = {id_ for id_, tags in tags_of.items() if not sheet.tag or sheet.tag in tags}
        assert sheet.total == len(carrying)
        every = np.array(sorted(carrying))
        first = every[np.argsort(random_order(every, 0))][:5]  # however the shards are cut
        assert [picture.id for picture in sheet.pictures] == first.tolist()
        few = StatsConfig(dataset=dataset, tags=(sheet.tag,) if sheet.tag else (), sheet=1)
        (one,) = dataset_stats(few).sheets[-1].pictures
        assert one.id == first[0]
    again, other = (
        dataset_stats(StatsConfig(dataset=dataset, sheet=5, seed=seed)).sheets[0].pictures for seed in (0, 1)
    )
    assert again == stats.sheets[0].pictures != other


def test_the_command_prints_and_writes(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has the figures, the page has the pictures, and `--json` has the whole result."""
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["stats", str(dataset), "--tag", "solo", "--html", str(page)])

    told = dict(re.split(r"(?<=\S)  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["near-duplicates"].strip() == "16 pictures in 8 groups"
    assert told["  failed: http_404"].strip() == "1"
    assert page.read_text().count("data:image/jpeg;base64,") == 24 + 24 + 16
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["stats", str(dataset), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["outcomes"] == {"stored": 60, "failed http_404": 1}
    assert told["tags"][0]["tag"]["name"] == "1girl"


def test_bad_input(dataset: Path, tmp_path: Path) -> None:
    """An unknown tag, a store, and a cut or missing table are one error each."""
    with pytest.raises(UsageError, match="has the tag 'slo': did you mean solo"):
        dataset_stats(StatsConfig(dataset=dataset, tags=("slo",)))
    with pytest.raises(UsageError, match="is a store, not a dataset"):
        dataset_stats(StatsConfig(dataset=dataset.parent / "store"))
    copy = shutil.copytree(dataset, tmp_path / "copy")
    table = sorted(copy.glob("metadata/*"))[0]
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(DamagedError, match="cannot be read as Parquet"):
        dataset_stats(StatsConfig(dataset=copy))
    table.unlink()
    with pytest.raises(DamagedError, match=f"{table.name} is missing"):
        dataset_stats(StatsConfig(dataset=copy))
