"""Compare two runs, and write comparison.json, per_tag.csv and comparison.html."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from alti2v.csv_text import csv_table
from alti2v.model.compare import CompareConfig, Comparison, compare
from alti2v.model.evaluation.paired_bootstrap import Difference
from alti2v.records import ProgressHook, Tag, ignore_progress
from alti2v.report.rendering import figure, render, small_figure
from alti2v.storage.layout import EVALUATION_DIR, PER_TAG_FILE
from alti2v.storage.publish import publish_bytes, publish_json

COMPARISON_FILE = "comparison.json"
PAGE_FILE = "comparison.html"
PER_TAG_COLUMNS = (
    *("index", "name", "category", "positives", "first_average_precision", "second_average_precision"),
    *("difference", "low_95", "high_95"),
)
_RANKING = 12  # number of tags with the largest gains and losses to show


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """Result of a comparison, and its files.

    Attributes:
        first, second: Runs.
        split: Split of the pictures.
        images: Number of pictures that both were evaluated on and neither had seen.
        tags: Number of tags in common.
        differences: Differences over all tags, then by category.
        notes: Warnings for readers.
        seconds: Wall-clock time.
        comparison, per_tag, report: Files written.
    """

    first: Path
    second: Path
    split: str
    images: int
    tags: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    seconds: float
    comparison: Path
    per_tag: Path
    report: Path

    @property
    def table(self) -> Mapping[str, str]:
        """The result for a terminal, in the order of display."""
        return {
            "first": str(self.first),
            "second": str(self.second),
            "pictures": f"{self.images:,} of the {self.split} split, {self.tags:,} tags in common",
            **{
                one.figure: f"{shown(one, one.first)} -> {shown(one, one.second)}   {verdict(one)}"
                for one in self.differences
                if one.group == "all"
            },
            **{"note" if not i else f"note {i + 1}": note for i, note in enumerate(self.notes)},
            "report": str(self.report),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTag:
    """A tag with enough pictures for a comparison."""

    tag: Tag
    positives: int
    first: float
    second: float
    margin: float

    @property
    def difference(self) -> float:
        """Gain of the second run."""
        return self.second - self.first

    @property
    def is_shown(self) -> bool:
        """True if the 95 % interval excludes 0."""
        return abs(self.difference) > self.margin


def write_comparison(config: CompareConfig, *, progress: ProgressHook = ignore_progress) -> ComparisonReport:
    """Compare two runs and publish the result into `config.out`, replacing an older one.

    Raises:
        UsageError: A run is not finished, a dataset does not exist or does not fit, or no tag is common.
        DamagedError: A run or a dataset is damaged.
        DataError: No picture remains, or no picture has a tag.
        StorageError: The file system refuses; files of an older report are intact.
    """
    out = config.out or config.first / EVALUATION_DIR / f"against-{config.second.resolve().name}"
    comparison = compare(config, out=out, progress=progress)
    return publish_comparison(comparison, out, generated_at=datetime.now(UTC))


def publish_comparison(comparison: Comparison, out: Path, *, generated_at: datetime) -> ComparisonReport:
    """Write the result, the page last.

    Raises:
        StorageError: The file system refuses.
    """
    rows = tag_rows(comparison)
    publish_json(out / COMPARISON_FILE, comparison_document(comparison))
    publish_bytes(out / PER_TAG_FILE, _per_tag_csv(comparison, rows))
    publish_bytes(out / PAGE_FILE, render_comparison(comparison, rows, generated_at=generated_at).encode())
    return ComparisonReport(
        first=comparison.first,
        second=comparison.second,
        split=comparison.split,
        images=comparison.images,
        tags=len(comparison.tags),
        differences=comparison.differences,
        notes=comparison.notes,
        seconds=comparison.seconds,
        comparison=out / COMPARISON_FILE,
        per_tag=out / PER_TAG_FILE,
        report=out / PAGE_FILE,
    )


def comparison_document(comparison: Comparison) -> dict[str, object]:
    """Make the document of all figures except those of single tags, for programs."""
    return {
        "first": str(comparison.first),
        "second": str(comparison.second),
        "split": comparison.split,
        "images": comparison.images,
        "tags": len(comparison.tags),
        "thresholds": list(comparison.thresholds),
        "differences": [
            {**asdict(one), "difference": one.second - one.first, "is_shown": one.is_shown}
            for one in comparison.differences
        ],
        "notes": list(comparison.notes),
        "seconds": comparison.seconds,
    }


def render_comparison(
    comparison: Comparison, rows: Mapping[int, ComparedTag], *, generated_at: datetime
) -> str:
    """Render the page.

    Args:
        comparison: Comparison to show.
        rows: Its `tag_rows`.
        generated_at: Time shown on the page, with a time zone.
    """
    by_gain = sorted(rows.values(), key=lambda row: -row.difference)
    return render(
        "comparison.html",
        comparison=comparison,
        summary=summary(comparison),
        gained=[row for row in by_gain if row.difference > 0][:_RANKING],
        lost=[row for row in reversed(by_gain) if row.difference < 0][:_RANKING],
        rows=by_gain,
        categories=sorted({row.tag.category.value for row in by_gain}),
        told_apart=sum(row.is_shown for row in by_gain),
        verdict=verdict,
        shown=shown,
        generated_at=generated_at,
    )


# Words and numbers --------------------------------------------------------------------------------


def verdict(one: Difference) -> str:
    """Describe a difference, with its interval."""
    gap = one.second - one.first
    digits = small_figure if one.figure == "squared error" else figure
    low, high = one.interval.low, one.interval.high
    span = f"{_signed(gap, digits)}, 95 % {_signed(low, digits)} to {_signed(high, digits)}"
    if not one.is_shown:
        return f"no difference shown ({span})"
    return f"{'second' if one.second_is_better else 'first'} is better ({span})"


def shown(one: Difference, value: float) -> str:
    """Format one of the values of a difference."""
    return small_figure(value) if one.figure == "squared error" else figure(value)


def summary(comparison: Comparison) -> str:
    """Describe the result in words."""
    overall = next(one for one in comparison.differences if one.group == "all")
    first, second = (f"“{run.resolve().name}”" for run in (comparison.first, comparison.second))
    pictures = f"On the same {comparison.images:,} pictures, which neither was trained on, "
    if not overall.is_shown:
        return (
            f"{pictures}{first} reaches {overall.figure} {shown(overall, overall.first)} and {second} "
            f"{shown(overall, overall.second)}: so small a difference may be chance."
        )
    better, worse = (second, first) if overall.second_is_better else (first, second)
    high, low = sorted((overall.first, overall.second), reverse=True)
    return (
        f"{pictures}{better} is better than {worse}: {overall.figure} {figure(high)} instead of {figure(low)}, "
        "more than chance explains."
    )


def tag_rows(comparison: Comparison) -> Mapping[int, ComparedTag]:
    """Index of the tag -> its row, for tags with enough pictures."""
    found = comparison.tag_differences
    return {
        int(index): ComparedTag(
            tag=comparison.tags[index],
            positives=int(comparison.positives[index]),
            first=float(found.first[index]),
            second=float(found.second[index]),
            margin=float(found.margin[index]),
        )
        for index in np.flatnonzero(~np.isnan(found.first))
    }


def _per_tag_csv(comparison: Comparison, rows: Mapping[int, ComparedTag]) -> bytes:
    """One line per common tag, in the first model's order; cells without a value empty."""
    lines: list[Iterable[object]] = [PER_TAG_COLUMNS]
    for index, tag in enumerate(comparison.tags):
        row = rows.get(index)
        gap = (
            [""] * 5
            if row is None
            else [
                f"{value:.6f}"
                for value in (
                    *(row.first, row.second, row.difference),
                    *(row.difference - row.margin, row.difference + row.margin),
                )
            ]
        )
        lines.append([index, tag.name, tag.category.value, int(comparison.positives[index]), *gap])
    return csv_table(lines)


def _signed(value: float, digits: Callable[[float], str]) -> str:
    return f"{'−' if value < 0 else '+'}{digits(abs(value))}"
