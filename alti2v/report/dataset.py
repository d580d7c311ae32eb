"""Report of a dataset's contents: one self-contained HTML page, and a table for a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from PIL import Image

from alti2v.dataset.explore.counts import ASPECT_EDGES, SIZE_EDGES
from alti2v.dataset.explore.samples import PictureAt
from alti2v.dataset.stats import DatasetStats, Pair
from alti2v.errors import DamagedError
from alti2v.numerals import counted
from alti2v.pictures.recipe import ORIGINAL, ImageRecipe, size_in_words
from alti2v.records import Category, outcome_label
from alti2v.report.charts import Axis, Chart, Series, decades, line_chart, nice_axis, steps
from alti2v.report.rendering import render
from alti2v.storage.layout import FIRST_DERIVED_ID, parse_shard_name
from alti2v.storage.location import Address, open_location, read_spans
from alti2v.storage.publish import publish_bytes

_SHOWN_PX = 256  # largest side of a picture on the page; shown at 128 CSS px, so sharp on high-density screens
_HOSTS = 12
_PAIRS = 10
_TOP_TAGS = 20  # in the matrix of co-occurring tags
_GROUP = 6  # pictures of one group, at most
_FEWEST_TOGETHER = 5  # a lift over fewer pictures is not meaningful


def write_stats_page(stats: DatasetStats, file: Path, *, generated_at: datetime) -> None:
    """Publish the page.

    Raises:
        DamagedError: A picture cannot be read.
        StorageError: The file system refuses.
    """
    shown = [picture for sheet in stats.sheets for picture in sheet.pictures]
    shown += [picture for group in stats.groups for picture in group[:_GROUP]]
    page = stats_page(stats, read_pictures(stats.dataset, shown), generated_at=generated_at)
    publish_bytes(file, page.encode())


def stats_page(stats: DatasetStats, jpegs: Mapping[int, bytes], *, generated_at: datetime) -> str:
    """Render the page.

    Args:
        stats: Statistics to show.
        jpegs: Id -> picture to show.
        generated_at: Time shown on the page, with a time zone.
    """
    total = sum(stats.pictures.values())
    pairs = _often(stats)
    return render(
        "dataset.html",
        stats=stats,
        jpegs=jpegs,
        file_names=stats.file_names,
        total=total,
        summary=summary(stats),
        headlines=_headlines(stats),
        before=_before(stats),
        made=_made(stats.image),
        frequencies=frequency_chart(stats),
        lengths=lengths_chart(stats),
        sizes=size_chart(stats),
        aspects=aspect_chart(stats),
        years=year_chart(stats),
        ratings=[(name or "unrated", number, number / total) for name, number in stats.ratings.items()],
        hosts=[(name, number, number / total) for name, number in list(stats.hosts.items())[:_HOSTS]],
        outcomes=_shares({outcome_label(name): count for name, count in stats.outcomes.items()}),
        often=[pair for pair in pairs if pair.lift > 1][:_PAIRS],
        seldom=[pair for pair in pairs[::-1] if pair.lift < 1][:_PAIRS],
        square=_square(stats),
        group_size=_GROUP,
        has_own_ids=stats.first_id < FIRST_DERIVED_ID,
        categories=list(dict.fromkeys(row.tag.category.value for row in stats.tags)),
        generated_at=generated_at,
    )


def stats_table(stats: DatasetStats) -> Mapping[str, str]:
    """Return the table for a terminal, in the order of display."""
    total = sum(stats.pictures.values())

    def first(counts: Mapping[str, int], number: int) -> str:
        return ", ".join(f"{name or 'not said'} {count:,}" for name, count in list(counts.items())[:number])

    years = list(stats.years)
    by_total = sorted(stats.tags, key=lambda row: -row.total)  # their own order is that of training pictures
    rows = {
        "pictures": ", ".join(f"{count:,} {split}" for split, count in stats.pictures.items()),
        "shards": f"{stats.shards:,}, {stats.bytes / 1e6:,.1f} MB, pictures {_of_size(stats.image)}",
        "ids": f"{stats.first_id:,} to {stats.last_id:,}"
        if stats.first_id < FIRST_DERIVED_ID
        else "made from the MD5s of the pictures; the tables in metadata/ have each picture's id, and its path "
        "as url",
        "years": " to ".join(map(str, dict.fromkeys((years[0], years[-1])))) if years else "",
        "ratings": first(stats.ratings, 5) if any(stats.ratings) else "",
        "sources": first(stats.hosts, 5),
        "tags": f"{len(stats.tags):,} to learn, {median(stats.labels_per_picture)} a picture (median)",
        "all tags": f"{median(stats.tags_per_picture)} a picture (median)",
        "most frequent": first({row.tag.name: row.total for row in by_total}, 10),
        "together": ", ".join(map(_spoken, _often(stats)[:3])),
        "enlarged": ""
        if stats.image.format == ORIGINAL or stats.image.keeps_shape
        else f"{stats.enlarged:,} of {total:,} pictures were smaller than {stats.image.size} px",
        **{f"aspect {name}": counted(count, "picture") for name, count in stats.buckets.items()},
        "near-duplicates": f"{counted(stats.grouped, 'picture')} in "
        f"{counted(sum(stats.group_sizes.values()), 'group')}",
        "posts": f"{sum(stats.outcomes.values()):,}",
        **{f"  {outcome_label(name)}": f"{count:,}" for name, count in stats.outcomes.items()},
    }
    for sheet in stats.sheets[1:]:
        names = ", ".join(stats.file_names.get(one.id, str(one.id)) for one in sheet.pictures[:10])
        rows[f"tag {sheet.tag}"] = f"{counted(sheet.total, 'picture')}, among them {names}"
    return {name: value for name, value in rows.items() if value}


def read_pictures(dataset: Address, pictures: Sequence[PictureAt]) -> dict[int, bytes]:
    """Read some pictures, by id, as JPEGs of at most 256 px.

    Raises:
        DamagedError: A shard is missing or too short, or a picture cannot be decoded.
        StorageError: The URL cannot be read.
    """
    found = {}
    files = [parse_shard_name(picture.shard).data for picture in pictures]
    spans = ((file, picture.span) for file, picture in zip(files, pictures, strict=True))
    for file, picture, content in zip(files, pictures, read_spans(open_location(dataset), spans), strict=True):
        try:
            found[picture.id] = _small_jpeg(content)
        except OSError as exc:  # Pillow's error for undecodable files
            raise DamagedError(
                f"{dataset}/{file}: the picture of post {picture.id} cannot be read: "
                f"run `alti2v verify {dataset}`"
            ) from exc
    return found


def _small_jpeg(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content), formats=["JPEG", "PNG", "GIF", "WEBP", "AVIF"]) as image:
        if image.format == "JPEG" and max(image.size) <= _SHOWN_PX:
            image.load()
            return content
        image.thumbnail((_SHOWN_PX, _SHOWN_PX))
        small = io.BytesIO()
        image.convert("RGB").save(small, "JPEG", quality=88)
        return small.getvalue()


# Words ------------------------------------------------------------------------------------------


def summary(stats: DatasetStats) -> str:
    """Describe the dataset in two sentences."""
    total = sum(stats.pictures.values())
    splits = ", ".join(f"{count:,} {split}" for split, count in stats.pictures.items())
    rarest = min((row.pictures.get("train", 0) for row in stats.tags), default=0)
    return (
        f"{counted(total, 'picture')} {_of_size(stats.image)}: {splits}. "
        f"{counted(len(stats.tags), 'tag')} to learn, the rarest on {counted(rarest, 'training picture')}."
    )


def _of_size(image: ImageRecipe) -> str:
    if image.format == ORIGINAL:
        return "as they came"
    return f"of {size_in_words(image)}" if image.keeps_shape else f"of {image.size} × {image.size} px"


def _before(stats: DatasetStats) -> str:
    """Describe the sizes before the pictures were resized."""
    if stats.image.format == ORIGINAL:
        return "The pictures are as they came."
    if stats.image.keeps_shape:
        return "Sizes of the pictures before they were reduced."
    total = sum(stats.pictures.values())
    return (
        f"Sizes of the pictures before they were resized to {stats.image.size} × {stats.image.size} px. "
        f"{stats.enlarged:,} of {total:,} were smaller."
    )


def _made(image: ImageRecipe) -> str:
    if image.format == ORIGINAL:
        return "as they came"
    if image.keeps_shape:
        return f"{size_in_words(image)}, {image.format} of quality {image.quality}"
    return f"{image.size} px, {image.fit}, {image.format} of quality {image.quality}"


def median(counts: Sequence[int]) -> int:
    """Return the median of numbers of which `counts[i]` are i; the lower of two."""
    half, seen = (sum(counts) + 1) // 2, 0
    for number, count in enumerate(counts):
        seen += count
        if seen >= half:
            return number
    return 0


def short(number: int) -> str:
    """Format a count in at most five characters."""
    for unit, name in ((10**6, " M"), (10**4, " k")):
        if number >= unit:
            value = number / (unit if unit == 10**6 else 1000)
            return f"{value:.{max(0, 2 - int(math.log10(value)))}f}{name}"
    return f"{number:,}"


def _often(stats: DatasetStats) -> list[Pair]:
    """Select the pairs with a meaningful lift, by falling lift."""
    return [pair for pair in stats.pairs if pair.together >= _FEWEST_TOGETHER]


def _spoken(pair: Pair) -> str:
    return f"{pair.first} + {pair.second} ({pair.together:,}, {pair.lift:.1f} times chance)"


def _headlines(stats: DatasetStats) -> list[tuple[str, str, str]]:
    """Return the large figures: name, value, meaning."""
    stored, posts = sum(stats.pictures.values()), sum(stats.outcomes.values())
    return [
        (
            "Pictures",
            short(stored),
            f"of {counted(posts, 'post')} in the store; the others are counted below."
            if posts > stored
            else "every post of the store.",
        ),
        ("Tags to learn", short(len(stats.tags)), "the vocabulary of a model trained on this dataset."),
        (
            "Tags a picture",
            str(median(stats.labels_per_picture)),
            f"of the vocabulary (median); {median(stats.tags_per_picture)} including all others.",
        ),
        (
            "Similar pictures",
            short(stats.grouped),
            f"in {counted(sum(stats.group_sizes.values()), 'group')}; "
            + (
                f"{counted(stats.astray, 'picture is', 'pictures are')} in another split than the rest."
                if stats.astray
                else "each group is in one split."
            ),
        ),
    ]


def _shares(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    total = max(1, sum(counts.values()))
    return [(name, count, count / total) for name, count in counts.items()]


def _square(stats: DatasetStats) -> list[tuple[str, list[float]]]:
    """Return, for each of the most frequent tags, the shares of its pictures with each of them."""
    names = [row.tag.name for row in stats.tags[:_TOP_TAGS]]
    rows = [row[: len(names)] for row in stats.together[: len(names)]]
    return [
        (name, [count / max(1, row[index]) for count in row])
        for index, (name, row) in enumerate(zip(names, rows, strict=True))
    ]


# Charts -----------------------------------------------------------------------------------------


def frequency_chart(stats: DatasetStats) -> Chart:
    """Draw pictures per tag over the rank of the tag, both logarithmic; one line per category."""
    roles = {category: f"c{index}" for index, category in enumerate(Category)}
    by_category: dict[Category, list[int]] = {}
    for row in stats.tags:
        by_category.setdefault(row.tag.category, []).append(row.total)
    series = [
        Series(name=category.value, points=_ranked(counts), role=roles[category], dots=len(counts) < 12)
        for category, counts in by_category.items()
        if len(by_category) > 1
    ]
    counts = [row.total for row in stats.tags]
    series.append(Series(name="all tags", points=_ranked(counts), role="all"))
    return line_chart(
        "Pictures of each tag, over its rank",
        series,
        x=decades("Rank of the tag", len(counts)),
        y=decades("Pictures with the tag", max(counts, default=1)),
    )


def lengths_chart(stats: DatasetStats) -> Chart:
    """Draw the distribution of tags per picture."""
    every, learnt = (_percent(counts) for counts in (stats.tags_per_picture, stats.labels_per_picture))
    series = [
        Series(name="all tags", points=list(enumerate(every)), role="baseline"),
        Series(name="tags to learn", points=list(enumerate(learnt)), role="all"),
    ]
    return line_chart(
        "Pictures by number of tags",
        series,
        x=nice_axis("Tags of a picture", [max(len(every), len(learnt)) - 1]),
        y=nice_axis("% of pictures", [*every, *learnt]),
    )


def size_chart(stats: DatasetStats) -> Chart:
    """Draw the sizes of the pictures before resizing."""
    ticks = range(-6, 7, 2)
    words = ["1/64", "1/16", "1/4", "1", "4", "16", "64"]
    axis = Axis(label="Megapixels before", low=SIZE_EDGES[0], high=SIZE_EDGES[-1], ticks=ticks, words=words)
    return _bars("Pictures by size before resizing", SIZE_EDGES, stats.sizes, axis)


def aspect_chart(stats: DatasetStats) -> Chart:
    """Draw the aspect ratios of the pictures before resizing."""
    ratios = {"1:4": 1 / 4, "1:2": 1 / 2, "2:3": 2 / 3, "1:1": 1, "3:2": 3 / 2, "2:1": 2, "4:1": 4}
    axis = Axis(
        label="Width : height before",
        low=ASPECT_EDGES[0],
        high=ASPECT_EDGES[-1],
        ticks=[math.log2(ratio) for ratio in ratios.values()],
        words=list(ratios),
    )
    return _bars("Pictures by width to height", ASPECT_EDGES, stats.aspects, axis)


def year_chart(stats: DatasetStats) -> Chart | None:
    """Draw the pictures by year of posting; None for fewer than two years."""
    if len(stats.years) < 2:
        return None
    first, last = min(stats.years), max(stats.years)
    every = list(range(first, last + 1))
    step = max(1, math.ceil(len(every) / 8))
    ticks = [year + 0.5 for year in every[::step]]
    words = [str(year) for year in every[::step]]
    axis = Axis(label="Year of posting", low=first, high=last + 1, ticks=ticks, words=words)
    counts = [stats.years.get(year, 0) for year in every]
    return _bars("Pictures by year of posting", [*every, last + 1], counts, axis)


def _bars(title: str, edges: Sequence[float], counts: Sequence[int], axis: Axis) -> Chart:
    shares = _percent(counts)
    one = Series(name="", points=steps(edges, shares), role="area")
    return line_chart(title, [one], x=axis, y=nice_axis("% of pictures", shares), height=260)


def _percent(counts: Sequence[int]) -> list[float]:
    total = max(1, sum(counts))
    return [100 * count / total for count in counts]


def _ranked(counts: Iterable[int]) -> list[tuple[float, float]]:
    falling = sorted((count for count in counts if count), reverse=True)
    return [(math.log10(rank), math.log10(count)) for rank, count in enumerate(falling, 1)]
