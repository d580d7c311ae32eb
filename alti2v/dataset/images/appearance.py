"""The appearance index: hash and thumbnail of every picture, and which pictures are unusable.

During a build the results are in chunks in the work folder, together with the prepared pictures; afterwards
survey.parquet holds them without the pictures, so that no later build decodes a picture twice.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alti2v.arrays import BoolArray, Int32Array, Int64Array, Uint8Array, Uint64Array
from alti2v.dataset.engines.local import Engine
from alti2v.dataset.images.prepare import (
    PREPARED,
    Chunk,
    appearance_recipe,
    chunk_bounds,
    pixels_name,
    prepare_chunk,
    table_name,
)
from alti2v.dataset.plan.md5s import Md5s, md5s_of
from alti2v.dataset.plan.near_duplicates import Appearances
from alti2v.dataset.plan.outcomes import encoded
from alti2v.dataset.plan.perceptual_hashes import HashView
from alti2v.dataset.plan.posts import StorePosts
from alti2v.dataset.plan.thumbnails import THUMBNAIL_BYTES, THUMBNAIL_SIDE_PX
from alti2v.errors import DamagedError, VersionError
from alti2v.numerals import counted
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Progress, ProgressHook
from alti2v.storage.columns import HASH_COLUMNS, SURVEY, THUMBNAIL_COLUMN
from alti2v.storage.disk_table import DiskTable, sorted_disk_table
from alti2v.storage.layout import SURVEY_FILE
from alti2v.storage.location import Address, local_copy, open_location, sizes_in
from alti2v.storage.table import read_parts, read_table, schema

_RECIPE_KEY = b"alti2v.looks"  # in the metadata of survey.parquet: `prepare.appearance_recipe`
# About 2 s of work and 4 MB: a kill costs little, and progress is smooth.
_CHUNK_PICTURES = 256
_NAMED_POSTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Recipe and places for the preparation of pictures.

    Attributes:
        store: Store of the pictures.
        work: Folder of working files that all workers can reach.
        scratch: Local folder on whose disk temporary files are.
        recipe: Recipe of the pictures.
        made_with: Versions of the programs that the pixels depend on.
        engine: Engine that runs the work.
        progress: Called after each chunk.
    """

    store: Address
    work: Address
    scratch: Path
    recipe: ImageRecipe
    made_with: Mapping[str, str]
    engine: Engine
    progress: ProgressHook


def prepare(preparation: Preparation, posts: StorePosts, rows: Int64Array) -> DiskTable:
    """Prepare the pictures of some posts, except those that are prepared already.

    Returns:
        The columns of `prepare.PREPARED`, and `chunk`; one row per post in ascending order of id.
    """
    chunks = _Chunks.of(preparation, posts, rows)
    names = [chunk.name for chunk in chunks]
    if names:
        _run(preparation, chunks, names)
    return sorted_disk_table(
        (_prepared(preparation, chunks, number, name) for number, name in enumerate(names)),
        looked_schema(),
        preparation.scratch,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunks:
    """The chunks of a build, made one at a time, because a chunk in memory takes 300 bytes a picture.

    Attributes:
        rows: (n,) rows of the posts in the order of the tar files.
        ids, tars, offsets, sizes, crc32s: Of these posts; a CRC-32 that is not known is 0.
        bounds: First position of each chunk, and the position after its last.
    """

    preparation: Preparation
    md5s: Md5s
    rows: Int64Array
    ids: Int64Array
    tars: Int64Array
    offsets: Int64Array
    sizes: Int64Array
    crc32s: Int64Array
    bounds: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, preparation: Preparation, posts: StorePosts, rows: Int64Array) -> _Chunks:
        tars, offsets, sizes = (posts.numbers(name)[rows] for name in ("tar", "offset", "size"))
        order = np.lexsort((offsets, tars))
        tars = tars[order]
        return cls(
            preparation=preparation,
            md5s=posts.md5s(),
            rows=rows[order],
            ids=posts.ids[rows[order]],
            tars=tars,
            offsets=offsets[order],
            sizes=sizes[order],
            crc32s=posts.numbers("stored_crc32")[rows[order]],
            bounds=chunk_bounds(tars, at_most=_CHUNK_PICTURES) if len(tars) else [],
        )

    def __iter__(self) -> Iterator[Chunk]:
        return map(self.chunk, range(len(self.bounds)))

    def chunk(self, number: int) -> Chunk:
        some = slice(*self.bounds[number])
        facts = (column[some].tolist() for column in (self.ids, self.offsets, self.sizes))
        known = zip(self.crc32s[some], self.md5s.texts(self.rows[some]), strict=True)
        checksums = (f"{crc32:08x}" if crc32 else md5 for crc32, md5 in known)
        preparation = self.preparation
        return Chunk(
            work=preparation.work,
            store=preparation.store,
            tar=int(self.tars[some.start]),
            pictures=tuple(zip(*facts, checksums, strict=True)),
            recipe=preparation.recipe,
            made_with=repr(sorted(preparation.made_with.items())),
        )


def _prepared(preparation: Preparation, chunks: _Chunks, number: int, name: str) -> pa.Table:
    """Read the table of a chunk; make it again if another version of the program left it, or it is damaged."""
    try:
        return _found(name, preparation)
    except (DamagedError, VersionError):
        prepare_chunk(chunks.chunk(number))
        return _found(name, preparation)


def _found(name: str, preparation: Preparation) -> pa.Table:
    with local_copy(open_location(preparation.work), table_name(name)) as path:
        table = read_table(path, PREPARED)
    return table.append_column("chunk", pa.array([name] * table.num_rows, pa.string()))


def looked_schema() -> pa.Schema:
    """Return the columns of `prepare`."""
    return pa.schema([*schema(PREPARED), pa.field("chunk", pa.string())])


def report_changed(preparation: Preparation, prepared: DiskTable) -> None:
    """Report the pictures whose bytes differ from the store's record, because they changed on disk."""
    ids = [
        post_id
        for block in prepared.blocks(["id", "has_changed"])
        for post_id in block.filter(block["has_changed"])["id"].to_pylist()
    ]
    if not ids:
        return
    named = ", ".join(map(str, ids[:_NAMED_POSTS])) + (", ..." if len(ids) > _NAMED_POSTS else "")
    line = (
        f"{preparation.store}: {counted(len(ids), 'picture differs', 'pictures differ')} from what was stored "
        f"(dropped as damaged: posts {named}): run `alti2v verify --repair {preparation.store}`, then crawl "
        "or import again, and build again"
    )
    preparation.progress(Progress(stage="preparing", done=0, total=None, unit="pictures", milestone=line))


def _run(preparation: Preparation, chunks: _Chunks, names: Sequence[str]) -> None:
    present = sizes_in(open_location(preparation.work))
    missing = [
        number
        for number, name in enumerate(names)
        if not {table_name(name), pixels_name(name)} <= present.keys()
    ]
    total = len(chunks.rows)
    done = total - sum(last - first for first, last in (chunks.bounds[number] for number in missing))
    dropped: Counter[str] = Counter()

    def show() -> None:
        counts = {f"dropped {reason}": count for reason, count in sorted(dropped.items())}
        preparation.progress(
            Progress(stage="preparing", done=done, total=total, unit="pictures", counts=counts)
        )

    show()
    for chunk, reasons in preparation.engine(prepare_chunk, map(chunks.chunk, missing)):
        done += len(chunk.pictures)
        dropped.update(reasons)
        show()


def index_rows(posts: StorePosts, prepared: DiskTable) -> Iterator[pa.Table]:
    """Yield the rows of survey.parquet for prepared posts."""
    known = posts.md5s()
    for block in prepared.blocks(
        [name for name in schema(SURVEY).names if name != "source_md5"] + ["has_changed"]
    ):
        rows = np.searchsorted(posts.ids, block["id"].to_numpy())
        # Of a picture that has changed nothing is known for the bytes that will take its place.
        md5s = pc.if_else(block["has_changed"], "", pa.array(known.texts(rows), pa.string()))
        yield block.append_column("source_md5", md5s).select(schema(SURVEY).names).cast(schema(SURVEY))


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearanceIndex:
    """Rows of survey.parquet in ascending order of id.

    Attributes:
        rows: The table.
        ids: (n,) int64 post numbers.
        recipe: Recipe of hashes and thumbnails, see `prepare.appearance_recipe`; "" if unknown.
    """

    rows: DiskTable
    ids: Int64Array
    recipe: str

    def parts(self, wanted: BoolArray | None = None) -> Iterator[pa.Table]:
        """Yield the rows, all or some, in parts for `table.write_parts`; `ids` are not kept."""
        return _parts(self.rows, self.recipe, wanted)

    def reasons(self) -> tuple[Int32Array, tuple[str, ...]]:
        """Return (n,) position of each picture's reason, and the reasons; the first is "": it can be used."""
        words = {"": 0}
        return np.concatenate(
            [encoded(block.column(0), words) for block in self.rows.blocks(["reason"])]
        ), tuple(words)

    def appearances(self, at: Int64Array) -> Appearances:
        """Return the appearances of some pictures, which are given as ascending rows.

        Raises:
            DamagedError: One has none.
        """
        for part in self.rows.picked(at, [THUMBNAIL_COLUMN.name]):
            if pc.any(pc.not_equal(pc.binary_length(part.column(0)), THUMBNAIL_BYTES)).as_py():
                raise DamagedError(
                    f"{SURVEY_FILE} lacks thumbnails: delete it, then run the same command again"
                )
        return Appearances(
            hashes=functools.partial(_hashes, self.rows, at), thumbnails=_StoredThumbnails(self.rows, at)
        )


def _parts(rows: DiskTable, recipe: str, wanted: BoolArray | None) -> Iterator[pa.Table]:
    facts, first = {_RECIPE_KEY: recipe.encode()} if recipe else {}, 0
    for block in rows.blocks():
        part = block if wanted is None else block.filter(pa.array(wanted[first : first + block.num_rows]))
        first += block.num_rows
        yield part.replace_schema_metadata({**(part.schema.metadata or {}), **facts})


def _hashes(table: DiskTable, at: Int64Array, view: HashView) -> Uint64Array:
    """Read one of the hashes of some pictures, which are given as ascending rows."""
    hashes = np.empty(len(at), np.uint64)
    first = 0
    for part in table.picked(at, [HASH_COLUMNS[view].name]):
        found = part.column(0).to_numpy().view(np.uint64)
        hashes[first : first + len(found)] = found
        first += len(found)
    return hashes


@dataclass(frozen=True, slots=True)
class _StoredThumbnails:
    """Thumbnails on disk.

    Attributes:
        table: Table with the thumbnails.
        at: (n,) row of each picture, ascending.
    """

    table: DiskTable
    at: Int64Array

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Int64Array) -> Uint8Array:
        pixels = np.empty((len(rows), THUMBNAIL_BYTES), np.uint8)
        first = 0
        for part in self.table.picked(self.at[rows], [THUMBNAIL_COLUMN.name]):
            found = _pixels(part.column(0).combine_chunks())
            pixels[first : first + len(found)] = found
            first += len(found)
        return pixels.reshape(-1, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX)


def _pixels(thumbnails: pa.BinaryArray) -> Uint8Array:
    _, offsets, content = thumbnails.buffers()
    first = np.frombuffer(offsets, np.int32)[thumbnails.offset] if len(thumbnails) else 0
    pixels = np.frombuffer(content or b"", np.uint8)[first : first + len(thumbnails) * THUMBNAIL_BYTES]
    return pixels.reshape(-1, THUMBNAIL_BYTES)


def read_index(dataset: Path, scratch: Path) -> AppearanceIndex:
    """Read survey.parquet into a file on the disk of `scratch`; an empty index if it is missing or damaged.

    Raises:
        VersionError: A program of another format version wrote it.
        StorageError: The disk is full.
    """
    try:
        parts = read_parts(dataset / SURVEY_FILE, SURVEY)
        first = next(parts)
        recipe = (first.schema.metadata or {}).get(_RECIPE_KEY, b"").decode()
        return appearance_index(itertools.chain([first], parts), recipe, scratch)
    except VersionError:
        raise
    except (DamagedError, FileNotFoundError):
        return empty_index(scratch)


def appearance_index(parts: Iterable[pa.Table], recipe: str, scratch: Path) -> AppearanceIndex:
    """Sort the rows of an index.

    Raises:
        StorageError: The disk is full.
    """
    rows = sorted_disk_table(parts, schema(SURVEY), scratch)
    return AppearanceIndex(rows=rows, ids=rows.numbers("id"), recipe=recipe)


def empty_index(scratch: Path) -> AppearanceIndex:
    """Return an index without pictures."""
    return appearance_index((), "", scratch)


def comparable(
    index: AppearanceIndex, needed: Int64Array, preparation: Preparation, posts: StorePosts
) -> AppearanceIndex:
    """Return an index that can be compared with the appearance of pictures prepared now.

    Args:
        index: Index of earlier builds.
        needed: Ids of the pictures that are prepared again if the index lacks them or has another recipe.
        preparation: Where and with which recipe to prepare pictures.
        posts: Posts of the store.

    Returns:
        The index, completed, or only the rows of `needed` made again; those of lost or replaced pictures stay.
    """
    recipe = appearance_recipe(preparation.recipe)
    is_ours = not len(index.rows) or index.recipe == recipe
    lacking = np.setdiff1d(needed, index.ids)
    if is_ours and not len(lacking):
        return index
    why = "lacks pictures of the shards: they" if is_ours else "was made with another recipe: its pictures"
    line = f"{SURVEY_FILE} {why} are decoded again"
    preparation.progress(Progress(stage="preparing", done=0, total=None, unit="pictures", milestone=line))
    if not is_ours:
        kept = index.parts(np.isin(index.ids, needed))
        index = appearance_index(kept, index.recipe, preparation.scratch)
    again = lacking if is_ours else needed
    rows = np.flatnonzero(np.isin(posts.ids, again) & (posts.numbers("size") > 0))
    _, is_known = known_rows(index, posts, rows)
    rows = rows[is_known | np.isin(posts.ids[rows], lacking)]
    looked = index_rows(posts, prepare(preparation, posts, rows))
    usable = (part.filter(pc.equal(part["reason"], "")) for part in looked)
    seen = appearance_index(usable, recipe, preparation.scratch)
    others = index.parts(~np.isin(index.ids, seen.ids))
    return appearance_index(itertools.chain(others, seen.parts()), index.recipe, preparation.scratch)


def known_rows(index: AppearanceIndex, posts: StorePosts, rows: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Find the rows of the index for some posts whose stored bytes have not changed.

    Returns:
        (n,) rows of the index, and (n,) True if the row is valid.
    """
    if not len(index.ids):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    row = np.minimum(np.searchsorted(index.ids, posts.ids[rows]), len(index.ids) - 1)
    md5s = md5s_of((block.column(0) for block in index.rows.blocks(["source_md5"])), room=len(index.ids))
    return row, (index.ids[row] == posts.ids[rows]) & posts.md5s().equal(rows, md5s, row)
