"""Data of a KPI regression: pictures of a dataset with their KPI, tags or vectors, and plain facts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from alti2v.arrays import Float32Array, Float64Array
from alti2v.dataset.manifest import read_manifest, read_metadata, read_vocabulary
from alti2v.errors import DataError, UsageError
from alti2v.kpi.csv_table import number_in, read_kpi_table
from alti2v.storage.layout import SPLITS
from alti2v.vectors.config import Form
from alti2v.vectors.sources import path_key
from alti2v.vectors.vector_file import read_origin, read_rows

_FACTS = (
    *("id", "labels", "rating", "score", "source", "parent_id", "created_at"),
    *("source_width", "source_height"),
)
_UNKNOWN_AGE_DAYS = 3650.0
_RATINGS = ("sensitive", "questionable", "explicit")  # besides "general", for which all of these are 0
BASELINE = ("age_log_days", "width_log", "height_log", "aspect_log", "has_parent", "has_source", *_RATINGS)

_Row = dict[str, Any]  # the columns `_FACTS` of one picture


class KpiKind(StrEnum):
    """Kind of a KPI, which decides the regression."""

    RATE = "rate"  # clicks per impression: logistic
    COUNT = "count"  # integers from 0: Poisson
    NUMBER = "number"  # any number: ridge


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """KPI of pictures.

    Attributes:
        kind: Kind of the KPI.
        name: Name to show.
        of: Post id -> (value, weight); for a rate, (clicks, impressions).
        unusable: A line for each row of the table that cannot be used.
    """

    kind: KpiKind
    name: str
    of: Mapping[int, tuple[float, float]]
    unusable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """Pictures of one split that have a KPI, in the order of the dataset.

    Attributes:
        value: (n,) clicks, counts or numbers.
        weight: (n,) impressions of a rate; else 1.
        baseline: (n, len(BASELINE)) plain facts.
        picture: (n, D) tags (scipy.sparse.csr_matrix of 0 and 1) or vectors.
    """

    value: Float64Array
    weight: Float64Array
    baseline: Float64Array
    picture: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiData:
    """All splits. `columns` are the tags; empty for vectors. `missing` counts pictures without a KPI."""

    kind: KpiKind
    name: str
    sides: Mapping[str, SplitRows]
    columns: tuple[str, ...]
    missing: int


def read_target(dataset: Path, table: Path | None, column: str) -> Target:
    """Read a KPI: a column of the dataset's tables, or a CSV with id and clicks, impressions or the column.

    Raises:
        UsageError: The column or file does not exist.
        DataError: No row of the table can be used, or the column has a single value.
    """
    if table is None:
        if column != "score":
            raise UsageError(f"the dataset has no KPI {column!r}, only score: give --table for another")
        found = {
            row["id"]: (float(row["score"]), 1.0)
            for row in _metadata(dataset, SPLITS)
            if row["score"] is not None
        }
        return _checked(_kind(found), column, found)
    rows = read_kpi_table(table)
    if {"clicks", "impressions"} <= set(rows.columns):
        of, unusable = rows.values(_rate)
        return _checked(KpiKind.RATE, "clicks per impression", of, unusable)
    if column not in rows.columns:
        raise UsageError(f"{table} has no column {column!r}: give --column, or clicks and impressions")
    of, unusable = rows.values(lambda row: None if (value := number_in(row, column)) is None else (value, 1.0))
    return _checked(_kind(of), column, of, unusable)


def _rate(row: Mapping[str, str]) -> tuple[float, float] | None:
    """Return clicks and impressions; None if one is missing."""
    clicks, shown = number_in(row, "clicks"), number_in(row, "impressions")
    if clicks is None or not shown:
        return None
    if not 0 <= clicks <= shown:
        raise ValueError(f"{clicks:g} clicks in {shown:g} impressions")
    return clicks, shown


def read_kpi_data(dataset: Path, target: Target, *, vectors: Path | None, min_count: int) -> KpiData:
    """Join pictures and KPI.

    Args:
        dataset: Dataset with the pictures and their splits.
        target: KPI of `read_target`.
        vectors: File of `alti2v embed MODEL DATASET`; None for the board's tags.
        min_count: Minimum number of training pictures with a KPI, with and without a tag.

    Raises:
        DataError: A split has no picture with a KPI or a single value, or no tag is frequent enough.
    """
    units = None if vectors is None else _units(dataset, vectors)
    rows_of, newest = _rows_with_kpi(dataset, target, units)
    names = [tag.name for tag in read_vocabulary(dataset)]
    kept = _frequent_tags(rows_of["train"], len(names), min_count) if units is None else ()
    if units is None and not kept:
        raise DataError(
            f"no tag has {min_count} training pictures with a KPI and as many without: give more data"
        )
    return KpiData(
        kind=target.kind,
        name=target.name,
        sides={
            split: SplitRows(
                value=np.array([target.of[row["id"]][0] for row in rows]),
                weight=np.array([target.of[row["id"]][1] for row in rows]),
                baseline=np.array([_facts(row, newest) for row in rows]),
                picture=_tag_matrix(rows, kept)
                if units is None
                else np.stack([units[row["id"]] for row in rows]),
            )
            for split, rows in rows_of.items()
        },
        columns=tuple(names[label] for label in kept),
        missing=read_manifest(dataset).total - sum(map(len, rows_of.values())),
    )


def _rows_with_kpi(
    dataset: Path, target: Target, units: Mapping[int, object] | None
) -> tuple[dict[str, list[_Row]], datetime | None]:
    """Read the rows of pictures with a KPI (and a vector) by split, and the date of the newest post."""
    rows_of: dict[str, list[_Row]] = {}
    newest: datetime | None = None
    for split in SPLITS:
        all_rows = list(_metadata(dataset, (split,)))
        dates = [row["created_at"] for row in all_rows if row["created_at"] is not None]
        newest = max((*dates, newest) if newest else dates, default=None)
        rows = [row for row in all_rows if row["id"] in target.of and (units is None or row["id"] in units)]
        if rows:
            rows_of[split] = rows
            _check_rows(split, rows, target)
        elif split != "validation":
            raise DataError(
                f"no picture of the {split} split has a {target.name}: give a table with more pictures"
            )
    return rows_of, newest


def _check_rows(split: str, rows: list[_Row], target: Target) -> None:
    if split != "validation" and len({_value(target.of[row["id"]]) for row in rows}) < 2:
        raise DataError(
            f"{target.name} has a single value for all {len(rows):,} pictures of the {split} split: "
            "give more data"
        )


def _frequent_tags(rows: list[_Row], tags: int, min_count: int) -> tuple[int, ...]:
    """Return the labels that at least `min_count` of the pictures have, and as many lack."""
    labels = np.array([label for row in rows for label in row["labels"]], int)
    counts = np.bincount(labels, minlength=tags)
    return tuple(map(int, np.flatnonzero((counts >= min_count) & (counts <= len(rows) - min_count))))


def _tag_matrix(rows: list[_Row], kept: tuple[int, ...]) -> Any:  # noqa: ANN401 - scipy has no types
    from scipy.sparse import csr_matrix

    place = {label: index for index, label in enumerate(kept)}
    cells = [(i, place[label]) for i, row in enumerate(rows) for label in row["labels"] if label in place]
    at = np.array(cells, int).reshape(-1, 2).T
    return csr_matrix((np.ones(len(cells)), (at[0], at[1])), shape=(len(rows), len(kept)))


def _value(pair: tuple[float, float]) -> float:
    value, weight = pair
    return value / weight


def _facts(row: Mapping[str, Any], newest: datetime | None) -> list[float]:
    """Return the values of `BASELINE`; ages are relative to the newest post."""
    posted = row["created_at"]
    days = (
        _UNKNOWN_AGE_DAYS
        if posted is None or newest is None
        else max((newest - posted).total_seconds() / 86400, 1.0)
    )
    width, height = max(row["source_width"], 1), max(row["source_height"], 1)
    return [
        math.log(days),
        *(math.log(width), math.log(height), abs(math.log(width / height))),
        *(float(row["parent_id"] is not None), float(bool(row["source"]))),
        *(float(row["rating"] == rating) for rating in _RATINGS),
    ]


def _metadata(dataset: Path, splits: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    manifest = read_manifest(dataset)
    for split in splits:
        for shard in manifest.split(split):
            yield from read_metadata(dataset, shard, _FACTS).to_pylist()


def _units(dataset: Path, vectors: Path) -> dict[int, Float32Array]:
    origin = read_origin(vectors)
    if origin.dataset != path_key(dataset.resolve()):
        raise UsageError(
            f"{vectors} does not hold vectors of {dataset}: make them with `alti2v embed MODEL {dataset}`"
        )
    return {
        int(key): (np.unpackbits(vector) if origin.form is Form.BINARY else vector).astype(np.float32)
        for rows in read_rows(vectors)
        for key, vector in zip(rows.keys, rows.vectors, strict=True)
    }


def _kind(of: Mapping[int, tuple[float, float]]) -> KpiKind:
    values = {value for value, _ in of.values()}
    if values <= {0.0, 1.0}:
        return KpiKind.RATE
    return KpiKind.COUNT if all(value >= 0 and value == int(value) for value in values) else KpiKind.NUMBER


def _checked(
    kind: KpiKind, name: str, of: Mapping[int, tuple[float, float]], unusable: tuple[str, ...] = ()
) -> Target:
    if not of and unusable:
        raise DataError(unusable[0])
    if not of:
        raise DataError(f"{name} is empty for every picture: give another column")
    if len(set(map(_value, of.values()))) < 2:
        raise DataError(f"{name} has a single value for all {len(of):,} pictures: give another column")
    return Target(kind=kind, name=name, of=of, unusable=unusable)
