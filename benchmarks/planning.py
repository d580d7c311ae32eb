"""Cost of planning for a whole board: 1,520,000 posts with 50 million tags, near-duplicates included.

The store's tables are synthetic (36 draws per post from 200,000 tags, frequencies falling as a power of the
rank), and so are hashes and thumbnails: one picture in ten is a copy of an earlier one with up to six bits of
its hash changed. Measured in a process of its own: reading the tables, first outcomes, groups, and the whole
plan. The near pairs of a sample are checked by brute force over all its pairs. Run:

    python benchmarks/planning.py [--posts 1520000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from alti2v.dataset.plan.near_duplicates import NEAR_BITS, Appearances, near_pairs, related_groups
from alti2v.dataset.plan.planner import Candidates, PlanOptions, make_plan
from alti2v.dataset.plan.posts import first_outcomes, load_posts
from alti2v.dataset.plan.vocabulary import VocabularyRule
from alti2v.pictures.recipe import ImageRecipe
from alti2v.records import Category
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import POSTS, STORE_TAGS, TAGS_FILE, posts_table
from alti2v.storage.store import open_store
from alti2v.storage.table import schema, write_arrow_table, write_table
from benchmarks.support.processes import peak_rss_mb

_TAGS = 200_000
_TAGS_PER_POST = 36
_PART = 40_000
_SAMPLE = 20_000
_CATEGORIES = ("general", "artist", "character", "copyright", "meta")
_SHARES = (0.85, 0.03, 0.06, 0.04, 0.02)  # of the tags of a post, roughly as on a board


def main() -> None:
    """Make the tables, plan in a process of its own, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_520_000)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(_measure(options.measure)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_store(Path(folder), options.posts)
        np.savez(Path(folder, "appearances.npz"), *_appearances(options.posts))
        done = subprocess.run(
            [sys.executable, __file__, "--measure", folder], check=True, stdout=subprocess.PIPE, text=True
        )
    result = {"posts": options.posts, **json.loads(done.stdout)}
    for name, value in result.items():
        print(f"{name:24} {value}")
    print(json.dumps(result))


def _write_store(path: Path, posts: int) -> None:
    (path / "posts").mkdir()
    rng = np.random.default_rng(0)
    category = rng.choice(len(_CATEGORIES), _TAGS, p=_SHARES)
    names = pa.array([f"tag_{number:06d}_of_a_board" for number in range(_TAGS)])
    for part, first in enumerate(range(0, posts, _PART)):
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
            "md5": pa.array([f"{post_id:032x}" for post_id in ids]),
            "stored_md5": pa.array([f"{post_id:032x}" for post_id in ids]),
            "fetched_url": pa.array([f"https://board.example/images/{post_id:08d}.jpg" for post_id in ids]),
            "source": pa.array([f"https://art.example/works/{post_id}" for post_id in ids]),
            "offset": pa.array(np.arange(count) * 360_000),
            "size": pa.array(np.full(count, 360_000)),
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


def _lists(owners: np.ndarray, codes: np.ndarray, posts: int, names: pa.Array) -> pa.Array:
    pairs = np.unique(owners * _TAGS + codes)
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


def _appearances(pictures: int) -> tuple[np.ndarray, np.ndarray]:
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


def _measure(folder: Path) -> dict[str, float]:
    seconds: dict[str, float] = {}
    begun_s = last_s = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last_s
        seconds[name], last_s = round(time.perf_counter() - last_s, 1), time.perf_counter()

    with open_store(folder) as store:
        posts = load_posts(store)
    lap("reading_s")
    rows = first_outcomes(posts).usable
    parents = posts.numbers("parent_id")
    related = related_groups(posts.ids, (posts.ids[parents > 0], parents[parents > 0]))
    lap("outcomes_s")
    stored = np.load(folder / "appearances.npz")
    candidates = Candidates(
        ids=posts.ids[rows],
        related=related[rows],
        appearances=Appearances(hashes=stored["arr_0"], thumbnails=stored["arr_1"]),
        tags=posts.tags,
        rows=rows,
        table=posts.table,
    )
    options = PlanOptions(
        image=ImageRecipe(),
        vocabulary=VocabularyRule(size=5000, left_out=frozenset({Category.META, Category.ARTIST})),
        test=20_000,
        validation=10_000,
        shard_samples=10_000,
    )
    lap("appearances_s")
    plan = make_plan(candidates, options, store_digest=posts.digest)
    lap("plan_s")
    return {
        "seconds": round(time.perf_counter() - begun_s, 1),
        **seconds,
        "tag_occurrences": len(posts.tags.codes),
        "shards": len(plan.shards),
        "alike": plan.alike,
        "peak_rss_mb": round(peak_rss_mb()),
        "pairs_in_sample": _checked_pairs(candidates.appearances.hashes[:_SAMPLE, 0]),
    }


def _checked_pairs(hashes: np.ndarray) -> int:
    """Find the near pairs of a sample in both ways; return their number."""
    first, second = near_pairs(hashes, hashes, near_bits=NEAR_BITS)
    found = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    wanted = set()
    for row in range(len(hashes)):
        near = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= NEAR_BITS) + row + 1
        wanted |= {frozenset((row, other)) for other in near.tolist() if hashes[other] != hashes[row]}
    # The first row represents all rows with the same hash.
    _, first_row, number = np.unique(hashes, return_index=True, return_inverse=True)
    assert found == {frozenset(int(first_row[number[row]]) for row in pair) for pair in wanted}
    return len(found)


if __name__ == "__main__":
    main()
