"""Tables of a store as large as a whole board, and the working files of its prepared pictures; no pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from alti2v.dataset.images.prepare import PREPARED, Chunk, made_with
from alti2v.pictures.recipe import ImageRecipe
from alti2v.storage.columns import HASH_COLUMNS, POSTS, STORE_TAGS, THUMBNAIL_COLUMN
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import TAGS_FILE, posts_table
from alti2v.storage.order import distinct
from alti2v.storage.table import schema, write_arrow_table, write_table

_TAGS = 200_000
_TAGS_PER_POST = 36
_PART = 40_000
_CATEGORIES = ("general", "artist", "character", "copyright", "meta")
_SHARES = (0.85, 0.03, 0.06, 0.04, 0.02)  # of the tags of a post, roughly as on a board
_IN_TAR = 3000
_IN_CHUNK = 256  # as a build cuts them
_SIZE = 360_000  # bytes
SIZES = (_IN_TAR, _IN_CHUNK, _SIZE)  # pictures of a tar file and of a chunk, bytes of a picture


def write_tables(path: Path, posts: int) -> None:
    """Write the tables of a store with 36 draws per post from 200,000 tags, frequency falling with the rank."""
    (path / "posts").mkdir(parents=True)
    rng = np.random.default_rng(0)
    category = rng.choice(len(_CATEGORIES), _TAGS, p=_SHARES)
    names = pa.array([f"tag_{number:06d}_of_a_board" for number in range(_TAGS)])
    for part, first in enumerate(reversed(range(0, posts, _PART))):  # boards list the newest first
        count = min(_PART, posts - first)
        # Ranks with a density of 1/rank, up to the number of tags.
        ranks = np.minimum(np.exp(rng.random(count * _TAGS_PER_POST) * np.log(_TAGS)) - 1, _TAGS - 1)
        codes, owners = ranks.astype(np.int64), np.repeat(np.arange(count), _TAGS_PER_POST)
        columns = {
            f"tags_{name}": _lists(owners[of], codes[of], count, names)
            for name, of in ((name, category[codes] == number) for number, name in enumerate(_CATEGORIES))
        }
        ids = np.arange(first, first + count) * 3 + 1
        columns |= {
            "id": pa.array(ids),
            "parent_id": pa.array(np.where(rng.random(count) < 0.05, ids - 3 * rng.integers(1, 20, count), 0)),
            "md5": pa.array([_md5(post_id) for post_id in ids.tolist()]),
            "stored_md5": pa.array([_md5(post_id) for post_id in ids.tolist()]),
            "stored_crc32": pa.array(ids),
            "fetched_url": pa.array([f"https://board.example/images/{post_id:08d}.jpg" for post_id in ids]),
            "source": pa.array([f"https://art.example/works/{post_id}" for post_id in ids]),
            "tar": pa.array((ids - 1) // 3 // _IN_TAR),
            "offset": pa.array((ids - 1) // 3 % _IN_TAR * _SIZE),
            "size": pa.array(np.full(count, _SIZE)),
        }
        table = pa.table(
            [columns.get(field.name, _filled(field, count)).cast(field.type) for field in schema(POSTS)],
            names=[field.name for field in schema(POSTS)],
        )
        write_arrow_table(path / posts_table(part), POSTS, table)
    write_table(
        path / TAGS_FILE,
        STORE_TAGS,
        (
            {"name": name, "category": _CATEGORIES[number], "count": 1, "board_count": None}
            for name, number in zip(names.to_pylist(), category, strict=True)
        ),
    )
    write_description(path, DirectoryKind.STORE, {"board": "https://board.example", "tags": ""})


def _md5(post_id: int) -> str:
    """Make an MD5 whose digits all differ from post to post, as those of real files do."""
    return f"{post_id * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def _lists(owners: np.ndarray, codes: np.ndarray, posts: int, names: pa.Array) -> pa.Array:
    pairs = distinct(owners * _TAGS + codes)
    offsets = np.searchsorted(pairs // _TAGS, np.arange(posts + 1))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), names.take(pa.array(pairs % _TAGS)))


def _filled(field: pa.Field, count: int) -> pa.Array:
    """Make a constant column: stored posts, otherwise as few data as the table allows."""
    if field.nullable:
        return pa.nulls(count, field.type)
    if pa.types.is_list(field.type):
        return pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], pa.string()))
    words = {"status": "stored", "rating": "general"}
    if pa.types.is_string(field.type):
        return pa.array([words.get(field.name, "")] * count)
    return pa.array(np.zeros(count, np.int64))


def write_prepared(work: Path, store: Path, hashes: np.ndarray, thumbnails: np.ndarray) -> None:
    """Write the working files of prepared pictures, as a killed build leaves them; the pictures are empty."""
    work.mkdir(parents=True)
    programs = repr(sorted(made_with().items()))
    posts = len(hashes)
    for tar in range(-(-posts // _IN_TAR)):
        end = min(posts, (tar + 1) * _IN_TAR)
        for first in range(tar * _IN_TAR, end, _IN_CHUNK):
            at = np.arange(first, min(first + _IN_CHUNK, end))
            ids = at * 3 + 1
            pictures = tuple(
                (post, row % _IN_TAR * _SIZE, _SIZE, f"{post:08x}")
                for post, row in zip(ids.tolist(), at.tolist(), strict=True)
            )
            chunk = Chunk(
                work=work, store=store, tar=tar, pictures=pictures, recipe=ImageRecipe(), made_with=programs
            )
            (work / chunk.pixels).touch()
            write_arrow_table(work / chunk.table, PREPARED, _looked(ids, hashes[at], thumbnails[at]))


def _looked(ids: np.ndarray, hashes: np.ndarray, thumbnails: np.ndarray) -> pa.Table:
    columns: Mapping[str, pa.Array] = {
        "id": pa.array(ids),
        "reason": pa.array([""] * len(ids)),
        "has_changed": pa.array(np.zeros(len(ids), np.bool_)),
        "sha256": pa.array([f"{post:064x}" for post in ids]),
        "crc32": pa.array(ids),
        "chunk_offset": pa.array(np.arange(len(ids)) * 12_000),
        "size": pa.array(np.full(len(ids), 12_000)),
        "source_width": pa.array(np.full(len(ids), 1000, np.int32)),
        "source_height": pa.array(np.full(len(ids), 1230, np.int32)),
        "width": pa.array(np.full(len(ids), 224, np.int32)),
        "height": pa.array(np.full(len(ids), 224, np.int32)),
        THUMBNAIL_COLUMN.name: pa.array([thumbnail.tobytes() for thumbnail in thumbnails], pa.binary()),
        **{
            column.name: pa.array(values.view(np.int64))
            for column, values in zip(HASH_COLUMNS, hashes.T.copy(), strict=True)
        },
    }
    return pa.table(dict(columns))


def appearances(pictures: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw hashes and thumbnails; one picture in ten is a copy with up to six bits of its hash changed."""
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 1 << 64, (pictures, 4), np.uint64)
    thumbnails = rng.integers(0, 256, (pictures, 16, 16), np.uint8)
    copies = np.flatnonzero(rng.random(pictures) < 0.1)[1:]
    originals = (copies * rng.random(len(copies))).astype(np.int64)
    hashes[copies], thumbnails[copies] = hashes[originals], thumbnails[originals]
    for turn in range(6):
        is_changed = rng.random(len(copies)) < 0.5
        bits = np.uint64(1) << rng.integers(0, 64, len(copies)).astype(np.uint64)
        hashes[copies[is_changed], 0] ^= bits[is_changed]
        # A margin changes a few bits of every picture.
        hashes[:, 1] = (hashes[:, 0] if turn == 0 else hashes[:, 1]) ^ np.uint64(1) << rng.integers(
            0, 64, pictures
        ).astype(np.uint64)
    return hashes, thumbnails
