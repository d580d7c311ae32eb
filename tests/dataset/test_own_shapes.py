"""Datasets whose pictures keep their shape: sizes, index, statistics, and readers of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.remove import remove_pictures
from alti2v.dataset.stats import StatsConfig, dataset_stats
from alti2v.errors import UsageError
from tests.dataset.helpers.building import build as small_build
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, write_store

SIZES = [(300, 200), (200, 300), (120, 120), (640, 80), (60, 40), (101, 333), (500, 500), (64, 64)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    posts = [
        TinyPost(
            id=number,
            content=encoded(drawing(number, width=size[0], height=size[1]), "PNG"),
            suffix="png",
            facts={"width": size[0], "height": size[1]},
        )
        for number, size in enumerate(SIZES * 2, 1)
    ]
    return write_store(tmp_path_factory.mktemp("shapes") / "store", posts)


def build(store: Path, dataset: Path, **options: Any) -> Path:
    small_build(store, dataset, **({"test": 3, "validation": 2, "shard_samples": 6, "size": 224} | options))
    return dataset


def sides(dataset: Path) -> dict[int, tuple[int, int]]:
    rows = pd.concat([pd.read_parquet(path) for path in sorted((dataset / "metadata").glob("*.parquet"))])
    return {row["id"]: (row["width"], row["height"]) for row in rows.to_dict("records")}


def test_pictures_within_a_square_keep_their_shape_and_are_not_enlarged(store: Path, tmp_path: Path) -> None:
    """The longer side is at most the size; pictures that are smaller stay as large as they are."""
    dataset = build(store, tmp_path / "dataset", fit="within", size=150)
    found = sides(dataset)

    assert [found[number] for number in range(1, 9)] == [
        (150, 100),
        (100, 150),
        (120, 120),
        (150, 19),
        (60, 40),
        (45, 150),
        (150, 150),
        (64, 64),
    ]
    assert not verify_dataset(dataset, deep=True).findings
    assert "their own shape, at most 150 px on the longer side" in (dataset / "README.md").read_text()


def test_pictures_of_an_area_have_at_most_so_many_pixels(store: Path, tmp_path: Path) -> None:
    """Narrow pictures get longer sides than squares; the number of pixels is never exceeded."""
    dataset = build(store, tmp_path / "dataset", area=10_000)
    found = sides(dataset)

    assert all(width * height <= 10_000 for width, height in found.values())
    assert found[4] == (282, 35)
    assert found[5] == (60, 40)
    assert all(
        abs(width / height / (SIZES[(number - 1) % 8][0] / SIZES[(number - 1) % 8][1]) - 1) < 0.03
        for number, (width, height) in found.items()
    )


def test_the_index_names_the_sides_and_webshart_loads_it(store: Path, tmp_path: Path) -> None:
    """SimpleTuner's reader finds the pictures, their sizes and their aspect buckets."""
    webshart = pytest.importorskip("webshart")
    dataset = build(store, tmp_path / "dataset", fit="within", size=150)
    remove_pictures(dataset, np.array([1]))  # a shard that is written again has such an index, too
    found = sides(dataset)
    indexed: dict[int, dict[str, Any]] = {}
    for path in (dataset / "index").glob("*.json"):
        files = json.loads(path.read_text())["files"]
        indexed |= {int(name[:12]): file for name, file in files.items() if name.endswith(".jpg")}

    opened = webshart.discover_dataset(str(dataset / "data"), metadata=str(dataset / "index"))
    loader = webshart.TarDataLoader(opened, load_file_data=True)
    loaded = {}
    for shard in range(opened.num_shards):
        loader.shard(shard)
        for name in opened.list_files_in_shard(shard):
            if name.endswith(".jpg"):
                loaded[int(Path(name).name[:12])] = name
    buckets = loader.list_all_aspect_buckets()

    assert {number: (file["width"], file["height"]) for number, file in indexed.items()} == found
    assert indexed[2]["aspect"] == 0.6667
    assert set(loaded) == set(found)
    assert buckets


def test_squares_have_the_index_that_they_had(store: Path, tmp_path: Path) -> None:
    """Without own shapes no sides are named, so that equal plans give the bytes of earlier versions."""
    dataset = build(store, tmp_path / "dataset", size=64)
    files = [json.loads(path.read_text())["files"] for path in (dataset / "index").glob("*.json")]

    assert {key for shard in files for file in shard.values() for key in file} == {"offset", "size", "sha256"}


def test_stats_count_aspect_buckets(store: Path, tmp_path: Path) -> None:
    """Each picture is in the bucket of the nearest usual aspect."""
    dataset = build(store, tmp_path / "dataset", fit="within", size=150)

    assert dataset_stats(StatsConfig(dataset=dataset)).buckets == {
        "1:3": 2,
        "2:3": 2,
        "1:1": 6,
        "3:2": 4,
        "3:1": 2,
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"area": 63}, "--area"),
        ({"area": 10_000, "fit": "within"}, "takes the place of --size and --fit"),
        ({"area": 10_000, "size": 64}, "takes the place of --size and --fit"),
        ({"area": 10_000, "keep_original": True}, "leave out --area"),
    ],
)
def test_options_that_contradict_are_told(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Options that contradict are refused in one line, before anything is read."""
    with pytest.raises(UsageError, match=told):
        BuildConfig(store=tmp_path, dataset=tmp_path / "dataset", **options)
