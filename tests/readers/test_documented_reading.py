"""docs/READING.md keeps its promises: every block runs on a real dataset with the right result."""

from __future__ import annotations

import csv
import gc
import json
import os
import subprocess
import sys
import tarfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image

from tests.readers.conftest import Served
from tests.readers.helpers.documented import ELSEWHERE, blocks, run

# webdataset 1.0.2 leaves its files, and its `curl`, for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning", "ignore:subprocess:ResourceWarning"
)

Posts = Mapping[int, Mapping[str, Any]]


@pytest.fixture(autouse=True)
def beside_the_dataset(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "dataset").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    yield
    gc.collect()  # here, where its warnings are expected, and not in another test


@pytest.fixture(scope="module")
def posts(dataset: Path) -> Posts:
    """Return the JSON of every sample by number, read with the standard library; its shard under "shard"."""
    found = {}
    for path in (dataset / "data").iterdir():
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    post = json.load(file)
                    found[post["id"]] = post | {"shard": path.stem}
    assert len(found) == 40
    return found


def of_training(posts: Posts) -> set[int]:
    return {post_id for post_id, post in posts.items() if post["shard"].startswith("train")}


def tags_of(post: Mapping[str, Any]) -> set[str]:
    return {tag for name in post if name.startswith("tags_") for tag in post[name].split()}


def test_webdataset_reads_the_folder(posts: Posts) -> None:
    """The first block reads every training picture with all its tags."""
    seen = run(blocks("python", "webdataset")[0])

    found = {id_: set(tags) for id_, tags in seen["posts"].items()}
    assert found == {id_: tags_of(posts[id_]) for id_ in of_training(posts)}
    assert seen["picture"].size == (32, 32)


def test_webdataset_reads_an_address(posts: Posts, served: Served) -> None:
    """Over HTTP, the same block finds every training picture."""
    seen = run(blocks("python", "webdataset")[1].replace(ELSEWHERE, served.url))

    assert sorted(map(int, seen["keys"])) == sorted(of_training(posts))


def test_the_manifest_names_the_shards(dataset: Path) -> None:
    """The shards of one split, with paths that exist; the others are validation and test."""
    seen = run(blocks("python", "webdataset")[2])

    assert [Path(path).name for path in seen["training"]] == sorted(
        path.name for path in (dataset / "data").glob("train-*")
    )
    assert len(seen["names"]) == 6


@pytest.fixture(scope="module")
def hugging_face(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `datasets` reads in its own process, without network and with its own cache."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "dataset").symlink_to(dataset)
    tell = """
        import json
        flat = [dict(row["json"], pixels=row["jpg"].size) for split in dataset.values() for row in split]
        print(json.dumps({
            "splits": {name: len(split) for name, split in dataset.items()},
            "features": {name: str(kind) for name, kind in dataset["train"].features["json"].items()},
            "picture": str(dataset["train"].features["jpg"]),
            "posts": flat,
            "streamed": [row["json"]["id"] for row in test],
            "streamed_features": {name: str(kind) for name, kind in test.features["json"].items()},
            "tables": {name: split["id"] for name, split in tables.items()},
        }, default=list))
    """
    code = blocks("python", "Hugging Face datasets")[0] + textwrap.dedent(tell)
    environment = os.environ | {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_hugging_face_loads_every_sample(hugging_face: dict[str, Any], posts: Posts) -> None:
    """All splits, all fields, all pictures; all types are those of the card."""
    assert hugging_face["splits"] == {"train": 30, "validation": 4, "test": 6}
    assert len(hugging_face["posts"]) == 40
    for post in hugging_face["posts"]:
        assert post.pop("pixels") == [32, 32]
        assert post == {name: value for name, value in posts[post["id"]].items() if name != "shard"}


def test_hugging_face_takes_the_types_from_the_card(hugging_face: dict[str, Any]) -> None:
    """`created_at` is "" in every sample here, and the score 0: only the card knows their types."""
    features = hugging_face["features"]

    assert features == hugging_face["streamed_features"]
    assert {features[name] for name in ("id", "score")} == {"Value('int64')"}
    assert {features[name] for name in ("created_at", "tags_meta")} == {"Value('string')"}
    assert hugging_face["picture"].startswith("Image(")


def test_hugging_face_streams_and_loads_tables(hugging_face: dict[str, Any], posts: Posts) -> None:
    """Streaming yields the test pictures, and the tables have the pictures of each split."""
    shards = {
        split: sorted(id_ for id_, post in posts.items() if post["shard"].startswith(split))
        for split in ("train", "validation", "test")
    }

    assert sorted(hugging_face["streamed"]) == shards["test"]
    assert {split: sorted(ids) for split, ids in hugging_face["tables"].items()} == shards


def test_torch_gets_every_sample_once(posts: Posts, dataset: Path) -> None:
    """Two workers share four shards; no sample is read twice, and labels are those of the vocabulary."""
    pytest.importorskip("torch", reason="torch is not installed: it comes with the extra test-torch")
    seen = run(blocks("python", "torch")[0])
    names = seen["names"]
    found: list[int] = []
    for pictures, labels, ids in seen["loader"]:
        assert pictures.shape[1:] == (3, 32, 32)
        for row, post_id in zip(labels, ids.tolist(), strict=True):
            assert {names[index] for index in row.nonzero().ravel()} == tags_of(posts[post_id]) & set(names)
            found.append(post_id)
    assert sorted(found) == sorted(of_training(posts))


@pytest.mark.tf
def test_tf_data_gets_every_sample_once() -> None:
    """An epoch has every training picture once, in the size of the dataset."""
    seen = run(blocks("python", "tf.data")[0])

    assert seen["pictures"] == 30
    assert seen["images"].shape[1:] == (32, 32, 3)


def test_dali_indices_name_what_gnu_tar_finds(dataset: Path) -> None:
    """DALI's own tools/wds2idx.py asks GNU tar for the block of a header and the size of the body.

    Format v1.2: a line with version and number of samples, then per sample `suffix offset size name` for each
    member.
    """
    indices = sorted((dataset / "index").glob("*.idx"))
    assert len(indices) == 6
    for index in indices:
        shard = dataset / "data" / f"{index.stem}.tar"
        listing = subprocess.run(
            ["tar", "--list", "--verbose", "--block-number", "--file", shard],
            capture_output=True,
            text=True,
            check=True,
        )
        expected: dict[str, list[str]] = {}
        for line in listing.stdout.splitlines():
            words = line.split()  # block 3: -r--r--r-- 0/0 1234 1970-01-01 00:00 000000000001.jpg
            if words[2].startswith("-"):
                offset = (int(words[1].rstrip(":")) + 1) * 512
                key, suffix = words[-1].split(".")
                expected.setdefault(key, []).append(f"{suffix} {offset} {words[4]} {words[-1]}")
        lines = index.read_text().splitlines()
        assert lines[0] == f"v1.2 {len(expected)}"
        assert lines[1:] == [" ".join(parts) for parts in expected.values()]


def test_one_picture_by_its_number(posts: Posts, dataset: Path, served: Served) -> None:
    """By address with alti2v, and with only pyarrow: the same bytes."""
    with_alti2v, without = blocks("python", "One picture by its number")
    seen = run(with_alti2v.replace(ELSEWHERE, served.url))

    with tarfile.open(dataset / "data" / f"{posts[7]['shard']}.tar") as tar:
        file = tar.extractfile("000000000007.jpg")
        assert file is not None
        assert seen["jpeg"] == file.read()
    assert seen["tags"] == posts[7]["tags_general"].split()
    assert run(without)["jpeg"] == seen["jpeg"]


def test_a_folder_for_lora_training(posts: Posts) -> None:
    """Exactly the training pictures of the character, each 32 px wide, with its tags as a caption."""
    folder = run(blocks("python", "A folder for LoRA training")[0])["folder"]
    expected = {
        f"{id_:012d}": post
        for id_, post in posts.items()
        if id_ in of_training(posts) and "hatsune_miku" in post["tags_character"].split()
    }

    assert 0 < len(expected) < 30
    assert {path.name for path in folder.iterdir()} == {
        f"{key}.{kind}" for key in expected for kind in ("jpg", "txt")
    }
    for key, post in expected.items():
        caption = (folder / f"{key}.txt").read_text(encoding="utf-8").split(", ")
        groups = (post[f"tags_{name}"].split() for name in ("character", "copyright", "general"))
        assert caption == [tag.replace("_", " ") for group in groups for tag in group]
        with Image.open(folder / f"{key}.jpg") as picture:
            assert picture.size == (32, 32)


@pytest.fixture
def two_not_third(posts: Posts) -> list[int]:
    """Answer the first question without DuckDB."""
    found = [
        id_
        for id_, post in posts.items()
        if {"1girl", "smile"} <= tags_of(post) and "solo" not in tags_of(post)
    ]
    assert 0 < len(found) < 40
    return sorted(found)


def queries() -> list[str]:
    found = blocks("sql", "Queries")
    assert len(found) == 5
    return found


def test_two_tags_without_a_third(two_not_third: list[int]) -> None:
    """DuckDB, pandas and Polars find the pictures that counting by hand finds."""
    rows = duckdb.execute(queries()[0]).fetchall()
    pandas, polars = map(run, blocks("python", "Queries"))

    assert rows == [(id_, f"https://board.example/{id_}.jpg") for id_ in two_not_third]
    assert sorted(pandas["found"]["id"]) == two_not_third
    assert polars["found"].rows() == rows


def test_what_goes_together(posts: Posts) -> None:
    """Counts and lift are compared with counting by hand."""
    rows = duckdb.execute(queries()[1]).fetchall()
    known = {tag for (tag,) in duckdb.execute("SELECT name FROM 'dataset/tags.parquet'").fetchall()}
    pictures = [tags_of(post) & known for post in posts.values()]
    everywhere = Counter(tag for tags in pictures for tag in tags)
    wanted = [tags for tags in pictures if "hatsune_miku" in tags]
    here = Counter(tag for tags in wanted for tag in tags)

    assert [row[:2] for row in rows] == sorted(here.items(), key=lambda item: (-item[1], item[0]))
    for name, together, lift in rows:
        assert lift == pytest.approx(together / len(wanted) / (everywhere[name] / len(pictures)))


def test_a_list_to_download(posts: Posts) -> None:
    """The list has the URL and the MD5 of every training picture."""
    duckdb.execute(queries()[2])
    with Path("downloads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["key"] for row in rows] == [f"{id_:012d}" for id_ in sorted(of_training(posts))]
    assert {row["url"]: row["source_md5"] for row in rows} == {
        posts[id_]["url"]: posts[id_]["md5"] for id_ in of_training(posts)
    }


def test_what_became_of_every_post() -> None:
    """The counts of outcomes add up to the posts of the store."""
    assert duckdb.execute(queries()[3]).fetchall() == [("stored", "", 40), ("failed", "http_404", 1)]


def test_folds_hold_every_picture_once() -> None:
    """The folds are five, and together have every picture."""
    folds = duckdb.execute(queries()[4]).fetchall()

    assert sum(pictures for _, pictures in folds) == 40
    assert {fold for fold, _ in folds} <= set(range(5))


def test_tags_counted_by_pandas_and_polars(posts: Posts) -> None:
    """Both count each tag as often as it occurs."""
    pandas, polars = map(run, blocks("python", "Queries"))
    counts = Counter(tag for post in posts.values() for tag in tags_of(post))
    general = Counter(tag for post in posts.values() for tag in post["tags_general"].split())

    assert pandas["frequent"].to_dict() == general
    assert {row["name"]: row["pictures"] for row in polars["counts"].rows(named=True)} == {
        name: counts[name] for name in polars["counts"]["name"]
    }
