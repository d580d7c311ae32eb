"""The first look at pictures: which can be used, what each looks like; nothing is looked at twice.

What is found out lies in chunks in the work folder while a build runs, with the prepared pictures beside it,
and in survey.parquet afterwards, without them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import alti2v
from alti2v.dataset.engines.local import Engine
from alti2v.dataset.images.convert import appearance_recipe
from alti2v.dataset.images.prepare import PREPARED, Chunk, chunk_bounds, prepare_chunk
from alti2v.dataset.manifest import ImageRecipe
from alti2v.dataset.plan.near_duplicates import Appearances
from alti2v.dataset.plan.posts import StorePosts
from alti2v.dataset.plan.thumbnails import THUMBNAIL_BYTES, THUMBNAIL_SIDE_PX
from alti2v.errors import DamagedError, VersionError
from alti2v.records import Progress, ProgressHook, Span
from alti2v.storage.layout import HASH_COLUMNS, SURVEY, SURVEY_FILE, THUMBNAIL_COLUMN
from alti2v.storage.location import Address, local_copy, open_location, sizes_in
from alti2v.storage.store import read_pictures
from alti2v.storage.table import read_table, schema

APPEARANCE_COLUMNS = [column.name for column in (*HASH_COLUMNS, THUMBNAIL_COLUMN)]
_RECIPE_KEY = b"alti2v.looks"  # in the metadata of survey.parquet: `images.appearance_recipe`
# About 2 s of work, and 4 MB: little is lost to a kill, and progress moves.
_CHUNK_PICTURES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How and where pictures are prepared.

    Attributes:
        store: where they lie.
        work: the folder for working files, which all workers of the engine reach.
        made_with: versions of what makes the pixels.
        engine: what runs the work.
    """

    store: Address
    work: Address
    recipe: ImageRecipe
    made_with: Mapping[str, str]
    engine: Engine
    progress: ProgressHook


def prepare(preparation: Preparation, posts: StorePosts, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Prepare the pictures of some posts, unless that has been done.

    Returns:
        The columns of `prepare.PREPARED`, and `chunk`, one row per post in ascending order of id.
    """
    if not len(rows):
        return schema(PREPARED).empty_table().append_column("chunk", pa.array([], pa.string()))
    ids, tars, offsets, sizes = (posts.numbers(name)[rows] for name in ("id", "tar", "offset", "size"))
    order = np.lexsort((offsets, tars))
    pictures = np.stack([ids, offsets, sizes], axis=1)[order]
    chunks = [
        Chunk(
            work=preparation.work,
            store=preparation.store,
            tar=int(tars[order[first]]),
            pictures=tuple(map(tuple, pictures[first:last].tolist())),
            recipe=preparation.recipe,
            made_with=repr(sorted(preparation.made_with.items())),
        )
        for first, last in chunk_bounds(tars[order], at_most=_CHUNK_PICTURES)
    ]
    _run(preparation, chunks, total=len(rows))
    return by_id(_found(chunk, preparation) for chunk in chunks)


def _found(chunk: Chunk, preparation: Preparation) -> pa.Table:
    with local_copy(open_location(preparation.work), chunk.table) as path:
        table = read_table(path, PREPARED)
    return table.append_column("chunk", pa.array([chunk.name] * table.num_rows))


def by_id(parts: Iterable[pa.Table]) -> pa.Table:
    """The rows of tables, ascending by id, each column in one piece.

    What the caller holds on to no longer is gone afterwards, column by column: the thumbnails of a whole board
    take 400 MB, and are in memory twice at the most.
    """
    left = pa.concat_tables(parts)
    contract = left.schema
    order = np.argsort(left.column("id").to_numpy(), kind="stable")
    columns = []
    for field in contract:
        chunks = [chunk for chunk in left.column(0).chunks if len(chunk)]
        left = left.remove_column(0)
        # What is in one piece and in order already stays where it is.
        column = chunks[0] if len(chunks) == 1 else pa.chunked_array(chunks, field.type).combine_chunks()
        del chunks
        columns.append(column if _is_ascending(order) else column.take(pa.array(order)))
        del column
    return pa.table(columns, schema=contract)


def _is_ascending(order: npt.NDArray[np.int64]) -> bool:
    return np.array_equal(order, np.arange(len(order)))


def check_source_bytes(preparation: Preparation, posts: StorePosts, rows: npt.NDArray[np.int64]) -> None:
    """See that pictures which cannot be used came to the store like that, and were not spoilt in it.

    A picture that decodes is not held against its MD5: that would cost 6 to 9 % of a build, and is what
    `alti2v verify STORE` is for.

    Raises:
        DamagedError: the store has other bytes than it was given.
    """
    columns = ("id", "tar", "offset", "size", "stored_md5")
    for row in posts.facts.select(columns).take(pa.array(rows)).to_pylist():
        wanted = [(row["id"], Span(offset=row["offset"], size=row["size"]))]
        for _, content in read_pictures(preparation.store, row["tar"], wanted):
            if row["stored_md5"] not in (None, hashlib.md5(content, usedforsecurity=False).hexdigest()):
                raise DamagedError(
                    f"{preparation.store}: the picture of post {row['id']} has changed since it was stored: "
                    f"run `alti2v verify --repair {preparation.store}`"
                )


def _run(preparation: Preparation, chunks: list[Chunk], *, total: int) -> None:
    present = sizes_in(open_location(preparation.work))
    missing = [chunk for chunk in chunks if not {chunk.table, chunk.pixels} <= present.keys()]
    done = total - sum(len(chunk.pictures) for chunk in missing)
    dropped: Counter[str] = Counter()

    def show() -> None:
        counts = {f"dropped {reason}": count for reason, count in sorted(dropped.items())}
        preparation.progress(
            Progress(stage="preparing", done=done, total=total, unit="pictures", counts=counts)
        )

    show()
    for chunk, reasons in preparation.engine(prepare_chunk, missing):
        done += len(chunk.pictures)
        dropped.update(reasons)
        show()


def index_rows(posts: StorePosts, rows: npt.NDArray[np.int64], prepared: pa.Table) -> pa.Table:
    """The rows of survey.parquet for posts that have just been prepared, `rows` in the order of `prepared`.

    Hashes and thumbnails are needed nowhere else: `prepared` can do without `APPEARANCE_COLUMNS` from then on.
    """
    md5s = pc.fill_null(posts.facts.column("stored_md5").take(pa.array(rows)), "")
    return prepared.append_column("source_md5", md5s).select(schema(SURVEY).names).cast(schema(SURVEY))


def read_index(dataset: Path) -> pa.Table:
    """What is known of pictures: the rows of survey.parquet, ascending by id; none if it is missing or damaged.

    Raises:
        VersionError: another program wrote it.
    """
    try:
        return read_table(dataset / SURVEY_FILE, SURVEY).combine_chunks()
    except VersionError:
        raise
    except (DamagedError, FileNotFoundError):
        return empty_index()


def empty_index() -> pa.Table:
    """A index of nothing."""
    return schema(SURVEY).empty_table()


def with_recipe(index: pa.Table, recipe: ImageRecipe) -> pa.Table:
    """The same rows, and in the metadata how they were made."""
    metadata = {**(index.schema.metadata or {}), _RECIPE_KEY: appearance_recipe(recipe).encode()}
    return index.replace_schema_metadata(metadata)


def comparable(
    index: pa.Table, needed: npt.NDArray[np.int64], preparation: Preparation, posts: StorePosts
) -> pa.Table:
    """What earlier builds have found out, if it can be compared with what this program makes of other pictures.

    Args:
        index: theirs.
        needed: ids of the pictures that are looked at again where it cannot, or where it lacks them.
        preparation: how.
        posts: of the store.

    Returns:
        The index, with what it lacks, or the rows of `needed` made anew. Rows of pictures that the store has
        no more, or has with other bytes, are as they were: nothing better is known of them.
    """
    recipe = appearance_recipe(preparation.recipe).encode()
    is_ours = not index.num_rows or (index.schema.metadata or {}).get(_RECIPE_KEY) == recipe
    lacking = np.setdiff1d(needed, index.column("id").to_numpy())
    if is_ours and not len(lacking):
        return index
    why = "lacks pictures of the shards: they" if is_ours else "was made by another recipe: its pictures"
    line = f"{SURVEY_FILE} {why} are looked at again"
    preparation.progress(Progress(stage="preparing", done=0, total=None, unit="pictures", milestone=line))
    if not is_ours:
        index = index.filter(pa.array(np.isin(index.column("id").to_numpy(), needed)))
    again = lacking if is_ours else needed
    rows = np.flatnonzero(np.isin(posts.ids, again) & (posts.numbers("size") > 0))
    _, is_known = known_rows(index, posts, rows)
    rows = rows[is_known | np.isin(posts.ids[rows], lacking)]
    seen = index_rows(posts, rows, prepare(preparation, posts, rows))
    seen = seen.filter(pc.equal(seen.column("reason"), ""))
    is_seen = np.isin(index.column("id").to_numpy(), seen.column("id").to_numpy())
    return by_id([index.filter(pa.array(~is_seen)), seen])


def known_rows(
    index: pa.Table, posts: StorePosts, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where the index speaks of some posts, with the very bytes that are stored for them now.

    Returns:
        (n,) rows of the index, and (n,) whether there is one.
    """
    ids = index.column("id").to_numpy()
    if not len(ids):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    place = np.minimum(np.searchsorted(ids, posts.ids[rows]), len(ids) - 1)
    md5s = pc.fill_null(posts.facts.column("stored_md5").take(pa.array(rows)), "")
    is_same = pc.equal(index.column("source_md5").take(pa.array(place)), md5s)
    return place, (ids[place] == posts.ids[rows]) & is_same.to_numpy(zero_copy_only=False)


def appearances_in(table: pa.Table) -> Appearances:
    """The looks in a table with the columns of the index.

    Raises:
        DamagedError: a picture that can be used has none.
    """
    hashes = [table.column(column.name).to_numpy().view(np.uint64) for column in HASH_COLUMNS]
    thumbnails = table.column(THUMBNAIL_COLUMN.name)
    if pc.any(pc.not_equal(pc.binary_length(thumbnails), THUMBNAIL_BYTES)).as_py():
        raise DamagedError(f"{SURVEY_FILE} lacks thumbnails: delete it, then run the same command again")
    return Appearances(
        hashes=np.stack(hashes, axis=1),
        thumbnails=_pixels(thumbnails),
    )


def _pixels(thumbnails: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """A view of the table's memory, if it is in one piece: a whole board's thumbnails are 400 MB."""
    parts = []
    for chunk in thumbnails.chunks:
        content = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        first = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset] if len(chunk) else 0
        parts.append(content[first : first + len(chunk) * THUMBNAIL_BYTES])
    pixels = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])
    return pixels.reshape(-1, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX)


def made_with() -> dict[str, str]:
    """Versions of the programs whose output the bytes of a dataset depend on."""
    import PIL
    from PIL import features

    return {
        "alti2v": alti2v.__version__,
        "libwebp": features.version("webp") or "unknown",
        "libjpeg": features.version("libjpeg_turbo") or features.version("jpg") or "unknown",
        "pillow": PIL.__version__,
        "pyarrow": pa.__version__,
    }
