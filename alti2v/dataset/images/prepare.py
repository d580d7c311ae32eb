"""First pass over the pictures: each is decoded once, and stored for its shard.

A chunk is a run of pictures of one tar file of the store, read front to back. It leaves two working files in
the dataset's work folder: the prepared pictures, one after the other, and a table about them. The table is
published last, so a chunk exists if and only if its table does. Pictures are assigned to shards later, when it
is known which ones are usable and which are near-duplicates.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from zlib_ng import zlib_ng

import alti2v
from alti2v.arrays import Int64Array
from alti2v.dataset.plan.near_duplicates import APPEARANCE_VERSION, appearances_of
from alti2v.pictures.decode import Unusable
from alti2v.pictures.decoder_process import process_decoders
from alti2v.pictures.header import ImageHeader, read_header
from alti2v.pictures.jobs import PrepareJob
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Span
from alti2v.storage.columns import HASH_COLUMNS, THUMBNAIL_COLUMN, Column, Table
from alti2v.storage.location import Address, open_location, put, staging
from alti2v.storage.publish import publish
from alti2v.storage.store import read_pictures
from alti2v.storage.table import write_arrow_table

PREPARED = Table(
    "prepared",
    (
        Column("id", "int64", "the board's post number"),
        Column("reason", "string", "why the picture cannot be used; empty if it can"),
        Column("has_changed", "bool", "the bytes are not those that the store recorded"),
        *HASH_COLUMNS,
        THUMBNAIL_COLUMN,
        Column("sha256", "string", "of the prepared picture"),
        Column("crc32", "int64", "of the prepared picture"),
        Column("chunk_offset", "int64", "first byte of the prepared picture"),
        Column("size", "int64", "bytes of the prepared picture; 0 if unusable"),
        Column("source_width", "int32", "of the stored picture, px"),
        Column("source_height", "int32", "of the stored picture, px"),
        Column("width", "int32", "of the prepared picture, px"),
        Column("height", "int32", "of the prepared picture, px"),
    ),
)


_SIDES = ("source_width", "source_height", "width", "height")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A run of pictures to prepare.

    Attributes:
        work: Folder of the two files.
        store: Store of the pictures.
        tar: Number of the store's tar file.
        pictures: (post id, offset, size, checksum) of each, ascending by offset. The checksum is the CRC-32 of
            the bytes in 8 hex digits, their MD5 in 32, or "" if the store recorded neither.
        recipe: Recipe of the pictures.
        made_with: Versions of the programs that the pixels depend on.
    """

    work: Address
    store: Address
    tar: int
    pictures: tuple[tuple[int, int, int, str], ...]
    recipe: ImageRecipe
    made_with: str

    @property
    def name(self) -> str:
        """Hash of the content: other pictures, recipes or programs give another name."""
        facts = repr((self.tar, self.pictures, self.recipe, appearance_recipe(self.recipe), self.made_with))
        return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()

    @property
    def table(self) -> str:
        """Name of the table about the pictures."""
        return table_name(self.name)

    @property
    def pixels(self) -> str:
        """Name of the file with the prepared pictures."""
        return pixels_name(self.name)


def appearance_recipe(recipe: ImageRecipe) -> str:
    """Name the recipe of hashes and thumbnails; those of different recipes cannot be compared.

    The decoded pixels of a JPEG depend on the requested size, which may change a hash.
    """
    return f"{APPEARANCE_VERSION}, {recipe.size} px {recipe.fit}"


def table_name(chunk: str) -> str:
    """Return the name of the table about the prepared pictures of a chunk."""
    return f"{chunk}.parquet"


def pixels_name(chunk: str) -> str:
    """Return the name of the file with the prepared pictures of a chunk."""
    return f"{chunk}.pictures"


def prepare_chunk(chunk: Chunk) -> Mapping[str, int]:
    """Prepare the pictures of a chunk, and record the result of each in its table.

    Returns:
        Number of unusable pictures by reason.

    Raises:
        DamagedError: The store's tar file is missing.
        StorageError: The work folder cannot be written.
    """
    rows: list[Mapping[str, Any]] = []
    luminances: list[bytes] = []

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for row, body, luminance in _prepared(chunk):
                rows.append({**row, "chunk_offset": file.tell(), "size": len(body)})
                file.write(body)
                luminances.append(luminance)

    work = open_location(chunk.work)
    with staging(chunk.work, chunk.name) as folder:
        publish(folder / chunk.pixels, write)
        write_arrow_table(folder / chunk.table, PREPARED, _table(rows, luminances))
        for name in (chunk.pixels, chunk.table):
            put(folder / name, work, name)
    return Counter(row["reason"] for row in rows if row["reason"])


def _prepared(chunk: Chunk) -> Iterator[tuple[Mapping[str, Any], bytes, bytes]]:
    """Yield the row, the prepared picture and the luminances of each picture, both empty if it is unusable."""
    wanted = [(post_id, Span(offset=offset, size=size)) for post_id, offset, size, _ in chunk.pictures]
    checksum_of = {post_id: checksum for post_id, _, _, checksum in chunk.pictures}
    with process_decoders().borrowed() as decoder:
        for post_id, content in read_pictures(chunk.store, chunk.tar, wanted):
            if content is None:
                yield _row(post_id, reason="damaged", has_changed=True), b"", b""
                continue
            check = _Check(content, checksum_of[post_id])
            picture = decoder.run(PrepareJob(chunk.recipe), content, meanwhile=check.run)
            if check.has_changed:
                yield _row(post_id, reason="damaged", has_changed=True), b"", b""
            elif isinstance(picture, Unusable):
                yield _row(post_id, reason=picture.reason), b"", b""
            else:
                row = _row(
                    post_id,
                    sha256=hashlib.sha256(picture.content).hexdigest(),
                    crc32=zlib_ng.crc32(picture.content),
                    source_width=picture.source_width,
                    source_height=picture.source_height,
                    **_sides(picture.content),
                )
                yield row, picture.content, picture.luminance


def _sides(content: bytes) -> Mapping[str, int]:
    header = read_header(content)
    assert isinstance(header, ImageHeader), "a picture that was just written, or decoded"
    return {"width": header.width, "height": header.height}


@dataclass(slots=True)
class _Check:
    """Comparison of a picture with the checksum that the store recorded, see `Chunk.pictures`."""

    content: memoryview
    recorded: str
    has_changed: bool = False

    def run(self) -> None:
        """Compare. An MD5 takes a tenth of the time of decoding a grainy JPEG, a CRC-32 a sixtieth."""
        match len(self.recorded):
            case 0:
                return
            case 8:
                found = f"{zlib_ng.crc32(self.content):08x}"
            case _:
                found = hashlib.md5(self.content, usedforsecurity=False).hexdigest()
        self.has_changed = found != self.recorded


def _row(post_id: int, **facts: int | str) -> Mapping[str, Any]:
    defaults = {"reason": "", "has_changed": False, "sha256": "", "crc32": 0}
    return {"id": post_id, **defaults, **dict.fromkeys(_SIDES, 0), **facts}


def _table(rows: Sequence[Mapping[str, Any]], luminances: Sequence[bytes]) -> pa.Table:
    """Build the table of a chunk; hashing many pictures together takes a fifth of the time."""
    usable = [row for row, luminance in enumerate(luminances) if luminance]
    seen_hashes, seen_thumbnails = appearances_of(luminances)
    hashes = np.zeros((len(rows), len(HASH_COLUMNS)), np.uint64)
    hashes[usable] = seen_hashes
    thumbnails = [b""] * len(rows)
    for row, thumbnail in zip(usable, seen_thumbnails, strict=True):
        thumbnails[row] = thumbnail.tobytes()
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    for column, values in zip(HASH_COLUMNS, hashes.T, strict=True):
        columns[column.name] = pa.array(values.view(np.int64))  # the contract has no unsigned numbers
    return pa.table({**columns, THUMBNAIL_COLUMN.name: pa.array(thumbnails, pa.binary())})


def chunk_bounds(tars: Int64Array, *, at_most: int) -> list[tuple[int, int]]:
    """Cut pictures that are sorted by tar file into runs of at most `at_most` within one tar file.

    Returns:
        The first position of each run, and the position after its last.
    """
    _, firsts = np.unique(tars, return_index=True)
    ends = [*firsts[1:].tolist(), len(tars)]
    return [
        (start, min(start + at_most, end))
        for first, end in zip(firsts.tolist(), ends, strict=True)
        for start in range(first, end, at_most)
    ]


def made_with() -> dict[str, str]:
    """Return the versions of the programs that the bytes of a dataset depend on."""
    import PIL
    from PIL import features

    return {
        "alti2v": alti2v.__version__,
        "libwebp": features.version("webp") or "unknown",
        "libjpeg": features.version("libjpeg_turbo") or features.version("jpg") or "unknown",
        "pillow": PIL.__version__,
        "pyarrow": pa.__version__,
    }
