"""Rows of an appearance index in parts, as workers return them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

WIDTHS = {"first": 600, "second": 300}  # bytes of a row

SCHEMA = pa.schema(
    [pa.field("id", pa.int64(), nullable=False), *(pa.field(name, pa.binary()) for name in WIDTHS)],
    metadata={"made": "for a test"},
)


def parts(ids: np.ndarray, *, at_once: int) -> Iterator[pa.Table]:
    for first in range(0, len(ids), at_once):
        some = ids[first : first + at_once].tolist()
        columns = [pa.array([b"%09d" % number * (width // 9) for number in some]) for width in WIDTHS.values()]
        yield pa.table([pa.array(some), *columns], schema=SCHEMA)
