"""CSV for people's spreadsheets: no cell can run as a formula, and every row is one line."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable

# https://owasp.org/www-community/attacks/CSV_Injection; full-width forms count, too. A formula without a call
# and without a reference to another program or sheet does nothing: tags such as =_= and @_@ stay as they are.
_FORMULA_STARTS = frozenset("=+-@\t\r\n")
_FORMULA_PARTS = frozenset("(|!")


def csv_row(cells: Iterable[object]) -> str:
    """Write one row without a line end; an apostrophe in front keeps a formula from running."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(_harmless(cell) for cell in cells)
    return text.getvalue()


def csv_table(rows: Iterable[Iterable[object]]) -> bytes:
    """Write rows as a file in UTF-8."""
    return "".join(f"{csv_row(row)}\n" for row in rows).encode()


def _harmless(cell: object) -> object:
    if not isinstance(cell, str) or not _FORMULA_PARTS.intersection(unicodedata.normalize("NFKC", cell)):
        return cell
    start = unicodedata.normalize("NFKC", cell.lstrip(" "))[:1]
    return f"'{cell}" if start in _FORMULA_STARTS else cell
