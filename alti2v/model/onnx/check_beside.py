"""Check of the files beside the table that imgutils' generic reader needs. Pure: bytes in, lines out.

Facts from imgutils/generic/multilabel_timm.py: `preprocess.json` has the lists "test" and "val",
`categories.json` names every category of the table, and `thresholds.csv` is optional.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from alti2v.model.onnx.contract import CATEGORIES_FILE, CATEGORY_THRESHOLDS_FILE, PREPROCESS_FILE
from alti2v.storage.documents import csv_rows

FILES = (PREPROCESS_FILE, CATEGORIES_FILE, CATEGORY_THRESHOLDS_FILE)


def check_beside(files: Mapping[str, bytes], categories: Collection[str]) -> Iterator[str]:
    """List breaches, each beginning with the name of its file.

    Args:
        files: Name -> content of those of `FILES` that exist.
        categories: Numbers of the categories in the table.
    """
    for name, check in (
        (PREPROCESS_FILE, _preparation),
        (CATEGORIES_FILE, lambda content: _categories(content, categories)),
        (CATEGORY_THRESHOLDS_FILE, _thresholds),
    ):
        if name in files:
            yield from (f"{name}: {breach}" for breach in check(files[name]))
        elif name != CATEGORY_THRESHOLDS_FILE:
            yield f"{name} is missing: imgutils requests it"


def is_share(cell: object) -> bool:
    """Return whether a cell is a number in [0, 1], which NaN is not."""
    try:
        return 0 <= float(str(cell)) <= 1
    except ValueError:
        return False


def _preparation(content: bytes) -> Iterator[str]:
    document = _document(content)
    if not isinstance(document, dict):
        yield "is not a JSON object"
        return
    if missing := [name for name in ("test", "val") if not isinstance(document.get(name), list)]:
        yield f"has no list {' and '.join(map(repr, missing))}: imgutils reads both"


def _categories(content: bytes, categories: Collection[str]) -> Iterator[str]:
    document = _document(content)
    if not isinstance(document, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) and "category" in row for row in document
    ):
        yield "is not a JSON list of objects with category and name"
        return
    if unnamed := sorted(set(categories) - {str(row["category"]) for row in document}):
        yield f"does not name the category {', '.join(unnamed):.40}: imgutils fails on its tags"


def _thresholds(content: bytes) -> Iterator[str]:
    try:
        rows = csv_rows(content)
    except ValueError as exc:
        yield f"is not CSV ({exc!s:.80})"
        return
    if rows and not {"category", "threshold"} <= rows[0].keys():
        yield "has no columns category and threshold"
    elif wrong := [row for row in rows if not is_share(row["threshold"])]:
        row = wrong[0]
        yield f"the threshold {row['threshold']!r:.40} of category {row['category']!r:.20} is not in [0, 1]"


def _document(content: bytes) -> Any:  # noqa: ANN401 - JSON, or None
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
