"""The page about a dataset: hostile tags stay text, everything is on it, it can be read on any screen."""

from __future__ import annotations

import dataclasses
import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from alti2v.dataset.explore.file_names import file_names
from alti2v.dataset.explore.samples import PictureAt
from alti2v.dataset.stats import DatasetStats, StatsConfig, TagCount, dataset_stats
from alti2v.errors import DamagedError
from alti2v.output import print_result
from alti2v.report.charts import decades, steps
from alti2v.report.dataset import (
    median,
    read_pictures,
    short,
    stats_page,
    stats_table,
    summary,
    write_stats_page,
)
from alti2v.storage.columns import METADATA
from alti2v.storage.layout import FIRST_DERIVED_ID, parse_shard_name
from alti2v.storage.table import read_table, write_arrow_table
from tests.model.helpers.tiny_dataset import Drawn, write_dataset
from tests.report.conftest import HOSTILE, PLAIN
from tests.report.helpers import browser

SIZE = 300  # more than the page shows
WHEN = datetime(2026, 3, 1, tzinfo=UTC)


def jpeg(number: int, size: int = SIZE) -> bytes:
    file = io.BytesIO()
    colours = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(colours).resize((size, size)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> DatasetStats:
    """Pictures whose tags would do harm if the page let them, in a folder that would, too."""
    root = tmp_path_factory.mktemp("page") / "<b>mine"
    names = (*PLAIN, *HOSTILE)
    samples = [
        Drawn(id=number, jpeg=jpeg(number), tags=tuple(sorted(names[number % 7 :: 1 + number % 5])))
        for number in range(1, 31)
    ]
    write_dataset(root, {"train": samples[:24], "test": samples[24:]}, size=SIZE, tags=names)
    return dataset_stats(StatsConfig(dataset=root, tags=(HOSTILE[0], HOSTILE[1]), sheet=6))


@pytest.fixture(scope="module")
def page(stats: DatasetStats) -> str:
    return stats_page(stats, read_pictures(stats.dataset, shown(stats)), generated_at=WHEN)


def shown(stats: DatasetStats) -> list[PictureAt]:
    return [picture for sheet in stats.sheets for picture in sheet.pictures]


PROBE = """{
const seen = {title: document.title, images: document.images.length};
seen.handlers = [...document.querySelectorAll("*")].flatMap((e) => [...e.attributes])
  .filter((a) => a.name.startsWith("on")).length;
seen.broken = [...document.images].filter((image) => image.complete && !image.naturalWidth).length;
seen.names = [...document.querySelectorAll("table.tags tbody tr")].map((row) => row.cells[0].textContent);
seen.square = [...document.querySelectorAll("table.square tbody th")].map((cell) => cell.textContent);
seen.sheets = [...document.querySelectorAll("[id^=sheet-] h2")].map((head) => head.textContent);
document.querySelectorAll("table.tags thead button")[2].click();
seen.falling = [...document.querySelectorAll("table.tags tbody tr")].map((row) => +row.cells[2].dataset.value);
seen.lines = [...document.querySelectorAll("svg path.line")].length;
seen.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result); }
"""


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("policy", [True, False])
def test_hostile_tags_stay_text_in_a_browser(
    page: str, stats: DatasetStats, tmp_path: Path, policy: bool
) -> None:
    """With the page's policy and without it; in a narrow window nothing sticks out."""
    text = page if policy else re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert policy == (text == page)
    seen: dict[str, Any] = browser.seen_in_browser(text, tmp_path, PROBE)

    assert seen["title"] == "<b>mine: what is in it"
    assert (seen["handlers"], seen["broken"], seen["overflow"]) == (0, 0, 0)
    assert seen["images"] == 6 + sum(len(sheet.pictures) for sheet in stats.sheets[1:])
    assert seen["names"] == [row.tag.name for row in stats.tags]
    assert seen["square"] == seen["names"][:20]
    assert seen["sheets"] == ["Random sample", HOSTILE[0], HOSTILE[1]]
    assert seen["falling"] == sorted((row.total for row in stats.tags), reverse=True)
    assert seen["lines"] >= 4


def test_pictures_are_made_small(stats: DatasetStats) -> None:
    """300 px become 256; the page stays light whatever the dataset's size."""
    at = stats.sheets[0].pictures[0]
    found = read_pictures(stats.dataset, [at])

    assert Image.open(io.BytesIO(found[at.id])).size == (256, 256)


def test_a_picture_that_cannot_be_read_is_named(stats: DatasetStats, tmp_path: Path) -> None:
    """Bytes that are no picture are an error with the number of the post."""
    at = stats.sheets[0].pictures[0]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"{at.shard}.tar").write_bytes(bytes(at.span.offset + at.span.size))

    with pytest.raises(DamagedError, match=f"post {at.id} cannot be read"):
        read_pictures(tmp_path, [at])


def test_the_table_for_the_terminal_is_of_single_lines(
    stats: DatasetStats, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tag with a line break or an escape sequence neither breaks the table nor drives the terminal."""
    first = dataclasses.replace(stats.tags[0].tag, name="\x1b[2Jred\nblue")
    hostile = dataclasses.replace(stats, tags=(dataclasses.replace(stats.tags[0], tag=first),))
    table = stats_table(hostile)
    print_result(hostile, as_json=False, table=table)
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == len(table)
    assert all(line.strip() and line.isprintable() for line in lines)
    assert any(r"\x1b[2Jred\nblue " in line for line in lines)
    assert table["pictures"] == "24 train, 6 test"


def test_the_summary_counts_as_the_build_does(stats: DatasetStats) -> None:
    """The rarest tag is that of the training pictures; no others are promised if every post is a picture."""
    counts = {split: 9 if split == "train" else 2 for split in stats.pictures}
    rare = dataclasses.replace(stats, tags=(TagCount(tag=stats.tags[0].tag, pictures=counts),))
    pictures = sum(stats.pictures.values())
    jpegs = read_pictures(stats.dataset, shown(stats))
    whole, part = (
        stats_page(dataclasses.replace(stats, outcomes={"kept": pictures + more}), jpegs, generated_at=WHEN)
        for more in (0, 3)
    )

    assert summary(rare).endswith("1 tag to learn, the rarest on 9 training pictures.")
    assert "every post of the store." in whole
    assert f"of {pictures + 3} posts in the store; the others are counted below." in part


def test_a_single_year_is_words(stats: DatasetStats) -> None:
    """A chart of one bar would say nothing; two years are a chart again."""
    jpegs = read_pictures(stats.dataset, shown(stats))
    one, two = (dataclasses.replace(stats, years=years) for years in ({2010: 30}, {2010: 29, 2012: 1}))
    pages = [stats_page(each, jpegs, generated_at=WHEN) for each in (one, two)]

    assert ["all of 2010" in page for page in pages] == [True, False]
    assert ["Year of posting" in page for page in pages] == [False, True]
    assert [stats_table(each)["years"] for each in (one, two)] == ["2010", "2010 to 2012"]


def test_kept_originals_have_no_size_in_common(stats: DatasetStats) -> None:
    """Where pictures are as they came, neither page nor table names a size that they do not have."""
    kept = dataclasses.replace(stats, image=dataclasses.replace(stats.image, format="original"))
    page = stats_page(kept, read_pictures(stats.dataset, shown(stats)), generated_at=WHEN)
    size = str(stats.image.size)

    assert f"{size} px" not in page
    assert f"{size} × {size}" not in page
    assert page.count("as they came") == 3
    assert not any(f"{size} px" in text for text in stats_table(kept).values())


def test_chance_is_neither_often_nor_seldom(stats: DatasetStats) -> None:
    """A pair of tags that go together as chance has it is in none of the two lists."""
    pairs = tuple(
        dataclasses.replace(stats.pairs[0], first=name, second="x", together=9, lift=lift)
        for name, lift in (("more", 1.5), ("chance", 1.0), ("less", 0.5))
    )
    changed = dataclasses.replace(stats, pairs=pairs)
    page = stats_page(changed, read_pictures(stats.dataset, shown(stats)), generated_at=WHEN)

    assert [page.count(f'title="{name} + x"') for name in ("more", "chance", "less")] == [1, 0, 1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9999, "9,999"),
        (10_000, "10.0 k"),
        (152_300, "152 k"),
        (1_520_000, "1.52 M"),
        (52e6, "52.0 M"),
    ],
)
def test_short_numbers(number: int, text: str) -> None:
    """Large numbers are shown with three digits and a unit."""
    assert short(int(number)) == text


def test_medians() -> None:
    """The lower one of two; of nothing, zero."""
    assert [median(counts) for counts in ([], [0, 3], [1, 1], [1, 0, 2], [2, 0, 0, 2])] == [0, 1, 0, 2, 0]


def test_axes_of_decades_and_outlines_of_bars() -> None:
    """An axis ends at the next power of ten, and an outline begins and ends at zero."""
    axis = decades("pictures", 10_000)

    assert (axis.low, axis.high, list(axis.labels)) == (0, 4, ["1", "10", "10²", "10³", "10⁴"])
    assert decades("pictures", 10_001).high == 5
    assert decades("pictures", 0).high == 1
    assert steps([1, 2, 4], [5, 6]) == [(1, 0), (1, 5), (2, 5), (2, 6), (4, 6), (4, 0)]


def test_imported_pictures_are_called_by_their_file_names(tmp_path: Path) -> None:
    """A number that an import made says nothing to its owner; a board's number stays."""
    made = FIRST_DERIVED_ID + 7
    samples = [Drawn(id=number, jpeg=jpeg(3), tags=(PLAIN[0],)) for number in (5, made)]
    dataset = write_dataset(tmp_path / "d", {"train": samples}, size=SIZE, tags=PLAIN[:1])
    (table,) = (dataset / "metadata").iterdir()
    rows = read_table(table, METADATA)
    urls = pa.array(["https://board.example/5.jpg?x=1", "mine/caf%C3%A9%20%3C1%3E.png"])
    write_arrow_table(table, METADATA, rows.set_column(rows.column_names.index("url"), "url", urls))
    stats = dataset_stats(StatsConfig(dataset=dataset, tags=(PLAIN[0],)))
    write_stats_page(stats, tmp_path / "page.html", generated_at=WHEN)
    page = (tmp_path / "page.html").read_text()

    names = (parse_shard_name(at.shard) for at in (*shown(stats), *shown(stats)))

    assert stats.file_names == {made: "café <1>.png"}
    assert set(stats_table(stats)[f"tag {PLAIN[0]}"].partition("among them ")[2].split(", ")) == {
        "5",
        "café <1>.png",
    }
    assert file_names(dataset, names, [5, made]) == {made: "café <1>.png"}
    assert (
        len(list(names)) == 2 * len(shown(stats)) - 1
    )  # no table is read after the last picture is found, which may be a download
    assert file_names(tmp_path, [parse_shard_name(shown(stats)[0].shard)], [5]) == {}
    assert "<figcaption>5</figcaption>" in page
    assert "<figcaption>café &lt;1&gt;.png</figcaption>" in page
