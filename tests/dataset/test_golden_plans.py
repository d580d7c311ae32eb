"""Plans do not change: stores of many shapes give the plans that they gave before planning moved to disk."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from alti2v.dataset import build as build_module
from alti2v.storage import disk_table
from alti2v.storage import table as tables
from alti2v.storage.columns import TAG_ALIASES, TAG_IMPLICATIONS
from alti2v.storage.table import write_table
from tests.dataset.helpers.building import build
from tests.dataset.helpers.tiny_store import CATEGORY_OF, TinyPost, drawing, encoded, write_store

# Recorded at the first version that planned in memory. What depends on a picture's bytes is left out, because
# other versions of libjpeg write others.
GOLDEN = Path(__file__).parent / "helpers" / "golden_plans.json"
COLUMNS = (
    *("id", "key", "labels", "group_id", "rating", "source", "score", "parent_id", "original_md5"),
    *(f"tags_{category}" for category in ("general", "artist", "character", "copyright", "meta", "unknown")),
)


def posts_of(rng: random.Random, count: int, *, first: int = 1) -> list[TinyPost]:
    """Make posts: copies, mirror images, children, failures, and some without tags among them."""
    names = [*CATEGORY_OF, *(f"t{number}" for number in range(12))]
    posts = []
    for number in range(count):
        tags = rng.sample(names, rng.randint(0, 8))
        image = drawing(first + rng.randrange(number + 1))
        content = rng.choice(
            [
                *[encoded(drawing(first + number))] * 6,
                *(
                    encoded(image),
                    encoded(image, quality=60),
                    encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
                ),
                *(None, b"not a picture"),
            ]
        )
        facts = {
            "rating": rng.choice(["general", "explicit", ""]),
            "score": rng.choice([None, 3, -2]),
            "source": rng.choice(["", "http://example.org/é"]),
            "md5": rng.choice([None, "d41d8cd98f00b204e9800998ecf8427e"]),
        }
        if rng.random() < 0.2:
            facts["parent_id"] = first + rng.choice([rng.randrange(count), 5000])
        if content is None and rng.random() < 0.5:
            facts |= {"status": "pending", "reason": ""}
        posts.append(TinyPost(id=first + number, content=content, tags=tags, facts=facts))
    return posts


def related(store: Path) -> None:
    """Give a store aliases and implications."""
    for table, pairs in (
        (TAG_ALIASES, [("t1", "t2"), ("t2", "smile"), ("solo", "alone")]),
        (TAG_IMPLICATIONS, [("t3", "t4"), ("hatsune_miku", "vocaloid"), ("t5", "new_tag")]),
    ):
        rows = [
            {column.name: {"antecedent": a, "consequent": b}.get(column.name) for column in table.columns}
            for a, b in pairs
        ]
        write_table(store / f"{table.name}.parquet", table, rows)


def planned(dataset: Path) -> dict[str, str]:
    """Return a digest of the values of each file of a plan, by its name."""
    found = {}
    for path in sorted((dataset / ".build").rglob("*.parquet")):
        table = pq.read_table(path)
        if path.name.endswith(".plan.parquet"):
            table = table.select(COLUMNS)
        elif path.parent.name != "plan":
            continue
        found[path.name] = hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()[:16]
    return found


@pytest.mark.parametrize(
    ("shape", "is_cut"), [("hash", False), ("hash", True), ("relations", True), ("id-modulo", True)]
)
def test_plans_are_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, is_cut: bool
) -> None:
    """First build and growth, with every structure on disk cut into the smallest pieces, and without."""
    if is_cut:
        for name, rows in (("_BATCH_ROWS", 7), ("_RUN_ROWS", 16), ("_RUN_BATCH_ROWS", 2)):
            monkeypatch.setattr(disk_table, name, rows)
        monkeypatch.setattr(build_module, "_PLANNED_AT_ONCE", 10)
    rng = random.Random(shape)
    options = {"split": "id-modulo" if shape == "id-modulo" else "hash", "ratings": shape == "relations"}
    posts, store, dataset = posts_of(rng, 40), tmp_path / "store", tmp_path / "dataset"
    plans = []
    for more in ([], posts_of(rng, 15, first=941)):
        posts += more
        write_store(store, posts, rows_per_part=12)
        if shape == "relations":
            related(store)
        build(store, dataset, dry_run=True, **options)
        plans.append(planned(dataset))
        build(store, dataset, **options)

    assert plans == json.loads(GOLDEN.read_text())[shape]


def test_the_table_of_a_plan_is_the_same_however_it_is_divided(tmp_path: Path) -> None:
    """Rows that are written in parts give the bytes of rows that are written at once."""
    rows = [{column.name: f"{number}" for column in TAG_ALIASES.columns} for number in range(50)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROW_GROUP_ROWS", 7)
        whole = pa.Table.from_pylist(rows, tables.schema(TAG_ALIASES))
        tables.write_arrow_table(tmp_path / "whole", TAG_ALIASES, whole)
        tables.write_parts(tmp_path / "parts", TAG_ALIASES, (whole.slice(at, 3) for at in range(0, 50, 3)))

    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()
