"""The appearance index: hash and thumbnail of every picture, and which pictures are unusable.

During a build the results are in chunks in the work folder, together with the prepared pictures; afterwards
survey.parquet holds them without the pictures, so that no later build decodes a picture twice.
"""

from __future__ import annotations

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
from alti2v.dataset.images.prepare import PREPARED, Chunk, appearance_recipe, chunk_bounds, prepare_chunk
from alti2v.dataset.plan.near_duplicates import Appearances
from alti2v.dataset.plan.posts import StorePosts
from alti2v.dataset.plan.thumbnails import THUMBNAIL_BYTES, THUMBNAIL_SIDE_PX
from alti2v.errors import DamagedError, VersionError
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Progress, ProgressHook
from alti2v.storage.layout import HASH_COLUMNS, SURVEY, SURVEY_FILE, THUMBNAIL_COLUMN
from alti2v.storage.location import Address, local_copy, open_location, sizes_in
from alti2v.storage.table import read_table, schema

APPEARANCE_COLUMNS = [column.name for column in (*HASH_COLUMNS, THUMBNAIL_COLUMN)]
_RECIPE_KEY = b"alti2v.looks"  # in the metadata of survey.parquet: `prepare.appearance_recipe`
# About 2 s of work and 4 MB: a kill costs little, and progress is smooth.
_CHUNK_PICTURES = 256
_NAMED_POSTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Where and with which recipe to prepare pictures.

    Attributes:
        store: Store of the pictures.
        work: Folder of working files that all workers can reach.
        recipe: Recipe of the pictures.
        made_with: Versions of the programs that the pixels depend on.
        engine: Engine that runs the work.
        progress: Called after each chunk.
    """

    store: Address
    work: Address
    recipe: ImageRecipe
    made_with: Mapping[str, str]
    engine: Engine
    progress: ProgressHook


def prepare(preparation: Preparation, posts: StorePosts, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Prepare the pictures of some posts, except those that are prepared already.

    Returns:
        The columns of `prepare.PREPARED`, and `chunk`; one row per post in ascending order of id.
    """
    if not len(rows):
        return schema(PREPARED).empty_table().append_column("chunk", pa.array([], pa.string()))
    ids, tars, offsets, sizes = (posts.numbers(name)[rows] for name in ("id", "tar", "offset", "size"))
    order = np.lexsort((offsets, tars))
    md5s = pc.fill_null(posts.facts.column("stored_md5").take(pa.array(rows[order])), "").to_pylist()
    places = np.stack([ids, offsets, sizes], axis=1)[order].tolist()
    pictures = [(*place, md5) for place, md5 in zip(places, md5s, strict=True)]
    chunks = [
        Chunk(
            work=preparation.work,
            store=preparation.store,
            tar=int(tars[order[first]]),
            pictures=tuple(pictures[first:last]),
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
    """Sort the rows of tables by id, with each column in one piece.

    Column by column, the input is freed if the caller holds no reference to it: the thumbnails of a whole board
    take 400 MB, and are in memory at most twice.
    """
    left = pa.concat_tables(parts)
    contract = left.schema
    order = np.argsort(left.column("id").to_numpy(), kind="stable")
    columns = []
    for field in contract:
        chunks = [chunk for chunk in left.column(0).chunks if len(chunk)]
        left = left.remove_column(0)
        # A column in one piece and in order is not copied.
        column = chunks[0] if len(chunks) == 1 else pa.chunked_array(chunks, field.type).combine_chunks()
        del chunks
        columns.append(column if _is_ascending(order) else column.take(pa.array(order)))
        del column
    return pa.table(columns, schema=contract)


def _is_ascending(order: npt.NDArray[np.int64]) -> bool:
    return np.array_equal(order, np.arange(len(order)))


def report_changed(preparation: Preparation, prepared: pa.Table) -> None:
    """Name the pictures whose bytes are not those that the store recorded: its disk has changed them."""
    ids = prepared.filter(prepared.column("has_changed")).column("id").to_pylist()
    if not ids:
        return
    named = ", ".join(map(str, ids[:_NAMED_POSTS])) + (", ..." if len(ids) > _NAMED_POSTS else "")
    line = (
        f"{preparation.store}: {len(ids):,} stored pictures do not have the bytes that were stored, and are "
        f"dropped as damaged (posts {named}): run `alti2v verify --repair {preparation.store}`, then crawl "
        "again and build again"
    )
    preparation.progress(Progress(stage="preparing", done=0, total=None, unit="pictures", milestone=line))


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
    """Return the rows of survey.parquet for prepared posts; `rows` are in the order of `prepared`.

    No other table needs hashes and thumbnails, so `prepared` can drop `APPEARANCE_COLUMNS` afterwards.
    """
    md5s = pc.fill_null(posts.facts.column("stored_md5").take(pa.array(rows)), "")
    # Of a picture that has changed nothing is known for the bytes that will take its place.
    md5s = pc.if_else(prepared.column("has_changed"), "", md5s)
    return prepared.append_column("source_md5", md5s).select(schema(SURVEY).names).cast(schema(SURVEY))


def read_index(dataset: Path) -> pa.Table:
    """Read survey.parquet, ascending by id; an empty table if it is missing or damaged.

    Raises:
        VersionError: A program of another format version wrote it.
    """
    try:
        return read_table(dataset / SURVEY_FILE, SURVEY).combine_chunks()
    except VersionError:
        raise
    except (DamagedError, FileNotFoundError):
        return empty_index()


def empty_index() -> pa.Table:
    """Return an index without pictures."""
    return schema(SURVEY).empty_table()


def with_recipe(index: pa.Table, recipe: ImageRecipe) -> pa.Table:
    """Add the recipe of hashes and thumbnails to the metadata of the index."""
    metadata = {**(index.schema.metadata or {}), _RECIPE_KEY: appearance_recipe(recipe).encode()}
    return index.replace_schema_metadata(metadata)


def comparable(
    index: pa.Table, needed: npt.NDArray[np.int64], preparation: Preparation, posts: StorePosts
) -> pa.Table:
    """Return an index that can be compared with the appearance of pictures prepared now.

    Args:
        index: Index of earlier builds.
        needed: Ids of the pictures that are prepared again if the index lacks them or has another recipe.
        preparation: Where and with which recipe to prepare pictures.
        posts: Posts of the store.

    Returns:
        The index, completed, or only the rows of `needed` made again. Rows of pictures that the store has lost
            or
        replaced stay as they are, because nothing better is known.
    """
    recipe = appearance_recipe(preparation.recipe).encode()
    is_ours = not index.num_rows or (index.schema.metadata or {}).get(_RECIPE_KEY) == recipe
    lacking = np.setdiff1d(needed, index.column("id").to_numpy())
    if is_ours and not len(lacking):
        return index
    why = "lacks pictures of the shards: they" if is_ours else "was made with another recipe: its pictures"
    line = f"{SURVEY_FILE} {why} are decoded again"
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
    """Find the rows of the index for some posts whose stored bytes have not changed.

    Returns:
        (n,) rows of the index, and (n,) True if the row is valid.
    """
    ids = index.column("id").to_numpy()
    if not len(ids):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    row = np.minimum(np.searchsorted(ids, posts.ids[rows]), len(ids) - 1)
    md5s = pc.fill_null(posts.facts.column("stored_md5").take(pa.array(rows)), "")
    is_same = pc.equal(index.column("source_md5").take(pa.array(row)), md5s)
    return row, (ids[row] == posts.ids[rows]) & is_same.to_numpy(zero_copy_only=False)


def appearances_in(table: pa.Table) -> Appearances:
    """Return the appearances in a table with the columns of the index.

    Raises:
        DamagedError: A usable picture has none.
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
    """Return a view of the table's memory if it is in one piece: a whole board's thumbnails take 400 MB."""
    parts = []
    for chunk in thumbnails.chunks:
        content = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        first = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset] if len(chunk) else 0
        parts.append(content[first : first + len(chunk) * THUMBNAIL_BYTES])
    pixels = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.uint8), *parts])
    return pixels.reshape(-1, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX)


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
