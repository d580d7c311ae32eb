"""An import that is killed with SIGKILL, anywhere, and run again equals one that never was."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

import pandas as pd
import pytest

from alti2v.crawl.verify import verify_store
from tests.crawl.importing.helpers.killed import SOURCES, Point, interrupted
from tests.crawl.importing.helpers.sources import content, run

POINTS: list[tuple[str, Point]] = [
    ("folder", ("alti2v.crawl.store.ledger.items", "ItemTable", "add", "after", 3)),
    ("folder", ("alti2v.crawl.store.writer", "StoreWriter", "commit", "before", 2)),
    ("folder", ("alti2v.storage.tar", "OpenTar", "seal", "after", 1)),
    ("gallery-dl", ("alti2v.crawl.store.ledger.posts", "PostTable", "record", "after", 4)),
    ("table", ("alti2v.crawl.store.ledger.parts", "PartTable", "mark_clean", "before", 1)),
    ("webdataset", ("alti2v.crawl.store.ledger.posts", "PostTable", "add", "after", 5)),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path | None, Path]]:
    """For each form: source, folder of pictures, and the store of an uninterrupted import."""
    made = {}
    for form, make in SOURCES.items():
        root = tmp_path_factory.mktemp(form)
        source, pictures = make(root)
        run(root / "store", source, pictures=pictures, shard_bytes=20_000)
        made[form] = source, pictures, root / "store"
    return made


def compare(store: Path, whole: Path) -> None:
    """Compare a store that was killed with one that was not."""
    pd.testing.assert_frame_equal(content(whole), content(store))
    assert pd.read_parquet(whole / "tags.parquet").equals(pd.read_parquet(store / "tags.parquet"))
    assert verify_store(store).findings == ()
    assert not list(store.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("form", "point"), POINTS, ids=lambda value: value if isinstance(value, str) else value[2]
)
def test_killed_and_run_again_equals_uninterrupted(
    tmp_path: Path, sources: dict[str, tuple[Path, Path | None, Path]], form: str, point: Point
) -> None:
    """The same posts, bytes and tables, wherever the kill came."""
    source, pictures, whole = sources[form]
    returned = interrupted(tmp_path / "store", source, point, pictures=pictures)
    report = run(tmp_path / "store", source, pictures=pictures, shard_bytes=20_000)

    assert returned == -signal.SIGKILL
    assert report.items == run(whole, source, pictures=pictures).items
    compare(tmp_path / "store", whole)


@pytest.mark.slow
@pytest.mark.parametrize("form", SOURCES)
def test_a_storm_of_kills(
    tmp_path: Path, sources: dict[str, tuple[Path, Path | None, Path]], form: str
) -> None:
    """Twenty-five kills of one import, at random calls of everything that writes, leave nothing behind."""
    rng = Random(form)
    source, pictures, whole = sources[form]
    kills = 0
    for _ in range(25):
        module, owner, name, _, _ = rng.choice([point for _, point in POINTS])
        point = (module, owner, name, rng.choice(("before", "after")), rng.randint(1, 4))
        kills += interrupted(tmp_path / "store", source, point, pictures=pictures) == -signal.SIGKILL
    run(tmp_path / "store", source, pictures=pictures, shard_bytes=20_000)

    assert kills > 5
    compare(tmp_path / "store", whole)
