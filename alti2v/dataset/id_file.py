"""Files of post numbers, one per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from alti2v.errors import UsageError

_MOST_DIGITS = 40  # leading zeros are allowed; Python refuses to read thousands


def read_ids(path: Path) -> npt.NDArray[np.int64]:
    """Read a file with one post number per line; blank lines and lines that begin with # are ignored.

    Raises:
        UsageError: The file cannot be read, a line is not a number, or there is no number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}: give one post number per line") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8 text: give one post number per line") from exc
    ids = set()
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and 0 < int(text) < 10**12):
            raise UsageError(f"{path}, line {number}: {text[:40]!r} is not a post number: correct it")
        ids.add(int(text))
    if not ids:
        raise UsageError(f"{path} contains no post number: give one post number per line")
    return np.array(sorted(ids), np.int64)
