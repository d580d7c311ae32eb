"""Codes of all predictions on disk: written picture by picture, read tag by tag.

A file of rows would be read whole for every few tags, from a disk if it is larger than memory: 300,000 pictures
with 12,000 tags are 7 GB. So rows are collected, and written with the tags as rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

import numpy as np

from alti2v.model.evaluation.bootstrap import TAGS_AT_ONCE, Codes

_PICTURES_AT_ONCE = 1024  # 25 MB of 12,000 tags


class CodeFile:
    """Codes of the pictures of a split, see `bootstrap.encode`.

    Args:
        file: An empty file on a disk.
        tags: T, number of tags.
    """

    def __init__(self, file: IO[bytes], tags: int) -> None:
        self._file = file
        self._tags = tags
        self._waiting: list[Codes] = []
        self._lengths: list[int] = []

    def append(self, codes: Codes) -> None:
        """Add pictures, (B, T)."""
        self._waiting.append(codes)
        if sum(map(len, self._waiting)) >= _PICTURES_AT_ONCE:
            self._write()

    def _write(self) -> None:
        rows = np.concatenate(self._waiting)
        self._waiting.clear()
        self._file.write(np.ascontiguousarray(rows.T).tobytes())
        self._lengths.append(len(rows))

    def by_tag(self) -> Iterator[Codes]:
        """Yield the codes of all N pictures for a few tags at a time, (K, N), in the order of the tags."""
        if self._waiting:
            self._write()
        self._file.flush()
        descriptor = self._file.fileno()
        for first in range(0, self._tags, TAGS_AT_ONCE):
            count = min(TAGS_AT_ONCE, self._tags - first)
            parts, start = [np.empty((count, 0), np.uint16)], 0
            for rows in self._lengths:
                content = os.pread(descriptor, 2 * rows * count, 2 * (start * self._tags + first * rows))
                parts.append(np.frombuffer(content, np.uint16).reshape(count, rows))
                start += rows
            yield np.concatenate(parts, axis=1)
