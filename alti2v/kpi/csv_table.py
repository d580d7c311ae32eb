"""CSV tables of KPIs by post id; a row that cannot be used is reported, and does not stop the others."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from alti2v.errors import DataError, UsageError
from alti2v.storage.documents import open_named


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiTable:
    """Rows of a CSV file.

    Attributes:
        path: Path of the file.
        columns: Names of the columns.
        rows: Post id -> cells by column.
        unusable: A line for each row that has no usable id.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[int, Mapping[str, str]]
    unusable: tuple[str, ...]

    def values(
        self, value: Callable[[Mapping[str, str]], tuple[float, float] | None]
    ) -> tuple[dict[int, tuple[float, float]], tuple[str, ...]]:
        """Compute a value for each row; return those that are not None, and a line for each unusable row.

        Args:
            value: Function of the cells; it raises ValueError if they are wrong.
        """
        found, unusable = {}, list(self.unusable)
        for number, row in self.rows.items():
            try:
                pair = value(row)
            except ValueError as exc:
                unusable.append(f"{self.path}: id {number}: {exc}: correct it, or leave it empty")
            else:
                if pair is not None:
                    found[number] = pair
        return found, tuple(unusable)


def read_kpi_table(path: Path) -> KpiTable:
    """Read a CSV file with a column id.

    Raises:
        UsageError: The file cannot be opened, or has no column id.
        DataError: It is not CSV.
    """
    try:
        # Bytes that are not UTF-8 matter only in the cells that are read.
        with io.TextIOWrapper(open_named(path), "utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), tuple(reader.fieldnames or ())
    except OSError as exc:
        raise UsageError(
            f"{path} cannot be read: {exc.strerror}: give a CSV with id and clicks, impressions"
        ) from exc
    except csv.Error as exc:
        raise DataError(f"{path} is not CSV ({exc}): convert it") from exc
    if "id" not in columns:
        raise UsageError(f"{path} has no column id, only {', '.join(columns)}: rename the column of post ids")
    unusable = [f"{path}: id {row['id']!r} is not a post id: correct it" for row in rows if _id(row) is None]
    counts = Counter(number for row in rows if (number := _id(row)) is not None)
    unusable += [
        f"{path}: id {number} occurs twice: add up its rows, or keep one"
        for number, count in counts.items()
        if count > 1
    ]
    return KpiTable(
        path=path,
        columns=columns,
        rows={number: row for row in rows if (number := _id(row)) is not None and counts[number] == 1},
        unusable=tuple(unusable),
    )


def number_in(row: Mapping[str, str], column: str) -> float | None:
    """Read a cell; None if it is empty, which leaves the picture out.

    Raises:
        ValueError: It is not a finite number.
    """
    cell = (row[column] or "").strip()  # a short row has None there
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is {cell!r:.60}, not a number")
    return value


def _id(row: Mapping[str, str]) -> int | None:
    text = (row["id"] or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
