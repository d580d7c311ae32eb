"""File names of imported pictures: readers know these, not the numbers that the import made for them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from alti2v.storage.columns import METADATA
from alti2v.storage.directory import missing_file
from alti2v.storage.layout import FIRST_DERIVED_ID, ShardName
from alti2v.storage.table import read_table


def file_names(tables: Path, shards: Iterable[ShardName], ids: Iterable[int]) -> dict[int, str]:
    """Find the file names of some pictures in the tables of shards; those with a board's number are left out.

    No shard is taken from `shards` if no picture is from an import.

    Raises:
        VersionError: A program of another format version wrote a table.
        DamagedError: A table is missing or damaged.
    """
    wanted = pa.array(made_ids(ids), pa.int64())
    found: dict[int, str] = {}
    for shard in shards if len(wanted) else ():
        try:
            rows = read_table(tables / shard.metadata, METADATA, ("id", "url"))
        except FileNotFoundError as exc:
            raise missing_file(tables, shard.metadata) from exc
        some = rows.filter(pc.is_in(rows["id"], value_set=wanted))
        found |= zip(some["id"].to_pylist(), map(file_name, some["url"].to_pylist()), strict=True)
        if len(found) == len(wanted):
            break
    return {post_id: name for post_id, name in found.items() if name}


def made_ids(ids: Iterable[int]) -> list[int]:
    """Select the numbers that an import made from the bytes of a picture, each once, ascending."""
    return sorted({post_id for post_id in ids if post_id >= FIRST_DERIVED_ID})


def file_name(url: str) -> str:
    """Return the last part of a URL or of an item's percent-encoded path, decoded; "" if there is none."""
    return unquote(re.split("[?#]", url)[0].rpartition("/")[2])
