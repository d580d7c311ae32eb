"""From a store to a dataset: the right content, the same bytes every time, a clear error where it is
impossible.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shlex
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from alti2v.cli import cli
from alti2v.dataset.build import build_shards
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.config import BuildConfig
from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.dataset.plan.split import shuffled
from alti2v.dataset.write.shard import SAMPLE_FIELDS
from alti2v.errors import DamagedError, DataError, StorageError, UsageError
from alti2v.records import Progress
from alti2v.storage.columns import POSTS
from alti2v.storage.directory import DirectoryKind, write_description
from alti2v.storage.layout import SPLITS, WORK_DIR, posts_table
from alti2v.storage.table import write_table
from tests.dataset.helpers.building import build, digests, milestones, samples
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store
from tests.helpers.damage import flip

# webdataset 1.0.2 leaves its files for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


def mixed_posts() -> list[TinyPost]:
    """Return posts with every possible outcome among 30 ordinary ones."""
    ordinary = tiny_posts(30)
    same = ordinary[3].content
    cut = encoded(drawing(77))[:500]
    return [
        *ordinary,
        TinyPost(id=101, content=same),  # the crawl has not noticed that 4 has the same bytes
        TinyPost(id=102, content=None, facts={"status": "duplicate", "reason": "", "duplicate_of": 5}),
        TinyPost(id=103, content=None),
        TinyPost(id=104, content=None, facts={"status": "skipped", "reason": "video"}),
        TinyPost(id=105, content=None, facts={"status": "pending", "reason": ""}),
        TinyPost(id=106, content=cut),
        TinyPost(id=107, content=b"<html>not found</html>"),
        TinyPost(id=108, content=encoded(drawing(78)), tags=[]),
        TinyPost(id=109, content=encoded(drawing(79), "PNG"), suffix="png"),
        TinyPost(id=110, content=encoded(drawing(80), "GIF"), suffix="gif"),
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("mixed") / "store", mixed_posts(), posts_per_tar=13)


@pytest.fixture(scope="module")
def dataset(store: Path) -> Path:
    build(store, store.parent / "dataset")
    return store.parent / "dataset"


def test_every_post_ends_in_exactly_one_outcome(store: Path, dataset: Path) -> None:
    """The sums equal the number of posts in the store, in report, manifest and table."""
    report = build(store, dataset)
    expected = {
        "stored": 32,
        "duplicate": 2,
        "dropped damaged": 1,
        "dropped not_image": 1,
        "dropped untagged": 1,
        "dropped video": 1,
        "failed http_404": 1,
        "failed not_fetched": 1,
    }
    rows = pd.read_parquet(dataset / "outcomes.parquet")

    assert report.outcomes == read_manifest(dataset).outcomes == expected
    assert sorted(rows["id"]) == sorted(post.id for post in mixed_posts())
    kinds = [
        f"{o} {r}" if o in ("dropped", "failed") else o
        for o, r in zip(rows["outcome"], rows["reason"], strict=True)
    ]
    assert Counter(kinds) == expected
    duplicates = rows[rows["outcome"] == "duplicate"].set_index("id")["duplicate_of"].to_dict()
    assert duplicates == {101: 4, 102: 5}
    assert rows["shard"].notna().sum() == 32


def test_sizes_are_those_asked_for(store: Path, dataset: Path) -> None:
    """Test and validation have exactly the requested sizes, although some pictures are unusable."""
    report = build(store, dataset)

    assert (report.train, report.validation, report.test) == (22, 4, 6)
    assert [shard.samples for shard in read_manifest(dataset).split("train")] == [7, 7, 8]
    assert report.shards == 5


def test_samples_are_the_posts(dataset: Path) -> None:
    """Every stored post is one sample, whose JSON has its tags, the same keys, and no nulls or lists."""
    by_id = {post.id: post for post in mixed_posts()}
    every = {sample["__key__"]: json.loads(sample["json"]) for sample in all_samples(dataset)}

    assert len(every) == 32
    assert all(key == f"{fields['id']:012d}" for key, fields in every.items())
    assert {tuple(fields) for fields in every.values()} == {tuple(SAMPLE_FIELDS)}
    assert {type(value) for fields in every.values() for value in fields.values()} == {str, int}
    assert {fields["id"]: tags_of(fields) for fields in every.values()} == {
        fields["id"]: sorted(set(by_id[fields["id"]].tags)) for fields in every.values()
    }


def test_pictures_are_those_of_the_posts(dataset: Path) -> None:
    """Each sample shows the picture of its post, centred."""
    contents = {f"{post.id:012d}": post.content for post in mixed_posts()}
    for sample in all_samples(dataset):
        content = contents[sample["__key__"]]
        assert content is not None
        shown = np.asarray(Image.open(io.BytesIO(sample["jpg"]))).astype(int)
        original = Image.open(io.BytesIO(content)).convert("RGB").resize((24, 32), Image.Resampling.LANCZOS)
        assert np.abs(shown[:, 4:28] - np.asarray(original)).mean() < 12


def all_samples(dataset: Path) -> list[dict[str, Any]]:
    """Read the samples of all splits."""
    return [sample for split in SPLITS for sample in samples(dataset, split)]


def tags_of(fields: Mapping[str, Any]) -> list[str]:
    """Return the tags in the JSON of a sample, sorted."""
    return sorted(tag for name in fields if name.startswith("tags_") for tag in fields[name].split())


def test_tables_agree_with_shards(dataset: Path) -> None:
    """pandas and DuckDB read the metadata; offsets point to the pictures, labels to the tags."""
    vocabulary = [tag.name for tag in read_vocabulary(dataset)]
    categories = {tag.category.value for tag in read_vocabulary(dataset)}
    for path in sorted((dataset / "metadata").glob("*.parquet")):
        tar = (dataset / "data" / f"{path.stem}.tar").read_bytes()
        index = json.loads((dataset / "index" / f"{path.stem}.json").read_text())["files"]
        for row in pd.read_parquet(path).to_dict("records"):
            picture = tar[row["offset"] : row["offset"] + row["size"]]
            assert hashlib.sha256(picture).hexdigest() == row["sha256"]
            assert index[f"{row['key']}.jpg"]["offset"] == row["offset"]
            tags = [tag for name in row if str(name).startswith("tags_") for tag in row[name]]
            assert [vocabulary[label] for label in row["labels"]] == sorted(
                (tag for tag in tags if tag in vocabulary), key=vocabulary.index
            )
    assert categories <= {"general", "character", "copyright"}
    query = f"""
        select tag.name, count(*) from '{dataset}/metadata/train-*.parquet', unnest(labels) as label(i)
        join '{dataset}/tags.parquet' as tag on tag.index = label.i group by all
    """
    counted = dict(duckdb.execute(query).fetchall())
    assert counted == {tag.name: tag.count for tag in read_vocabulary(dataset)}


@pytest.fixture
def card(dataset: Path) -> str:
    """The dataset card."""
    return (dataset / "README.md").read_text()


def test_the_card_tells_the_hub_what_is_where(dataset: Path, card: str) -> None:
    """The front matter is YAML with files and counts by split, and all fields with their types."""
    front = yaml.safe_load(card.split("---\n")[1])
    files = {entry["split"]: entry["path"] for entry in front["configs"][0]["data_files"]}
    info = front["dataset_info"][0]

    assert list(files) == ["train", "validation", "test"]
    assert all(list(dataset.glob(path)) for path in files.values())
    assert {field["name"]: field["dtype"] for field in info["features"][3]["struct"]} == SAMPLE_FIELDS
    counts = {split["name"]: split["num_examples"] for split in info["splits"]}
    assert counts == {"train": 22, "validation": 4, "test": 6}
    assert front["size_categories"] == ["n<1K"]


def test_the_card_tells_people_how_it_was_made(dataset: Path, card: str) -> None:
    """It has its chapters, the plan's hash, and the outcomes."""
    headings = [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]

    assert headings == ["What is in it", "How it was made", "Licence and consent", "Known gaps"]
    assert read_manifest(dataset).plan_hash in card
    assert "| failed http_404 | 1 |" in card


def test_a_tag_cannot_end_the_table_of_the_card(card: str) -> None:
    """Its Markdown is escaped."""
    assert "\\>\\_\\<" in card


def options_of(command_line: str) -> dict[str, Any]:
    """Parse a command line."""
    _, name, *arguments = shlex.split(command_line)
    parent = click.Context(cli, **cli.context_settings)
    return cli.commands[name].make_context(name, arguments, parent=parent).params


def test_the_crawl_of_a_card_asks_for_the_same_posts(tmp_path: Path) -> None:
    """The query in store.json is on the command line, quoted, and cannot break out of its line."""
    store = write_store(tmp_path / "store", tiny_posts(12))
    search = {
        "tags": "1girl `rm` $HOME\n# x",
        "files": "original",
        "exclude": ["comic", "4koma"],
        "min_score": 5,
    }
    write_description(store, DirectoryKind.STORE, {"board": "https://board.example", **search})
    build(store, tmp_path / "dataset", test=2, validation=2)
    lines = (tmp_path / "dataset" / "README.md").read_text().splitlines()
    options = options_of(next(line for line in lines if line.startswith("    alti2v crawl")))

    assert (options["board"], options["tags"]) == ("https://board.example", "1girl 'rm' $HOME # x")
    assert (options["files"], options["exclude"], options["min_score"]) == ("original", ("comic", "4koma"), 5)


def test_the_command_of_a_card_asks_for_the_same_dataset() -> None:
    """The command line gives the configuration again, without folders and workers."""
    config = BuildConfig(
        store=Path("s"),
        dataset=Path("d"),
        quota=("general=5", "character=2"),
        ratings=True,
        drop=Path("/home/somebody/my tags.txt"),
        workers=3,
    )
    options = options_of(config.command)
    del options["as_json"], options["work"]
    places = {name: Path(options[name]) for name in ("store", "dataset")}

    assert "somebody" not in config.command
    assert BuildConfig(**(options | places)) == dataclasses.replace(
        config, store=Path("STORE"), dataset=Path("DATASET"), drop=Path("my tags.txt"), workers=None
    )


def test_hostile_tags_go_through_unharmed(tmp_path: Path) -> None:
    """Tags with quotes, markup, control characters or 10 kB stay text, and never become a file name."""
    hostile = [
        "../../etc/passwd",
        "a\nb",
        "nul\0",
        "<img src=x>",
        "|pipe|",
        "初音ミク",
        "\u202ertl",
        "x" * 10_000,
    ]
    posts = [TinyPost(id=n, content=encoded(drawing(n)), tags=["1girl", *hostile]) for n in range(1, 13)]
    store = write_store(tmp_path / "store", posts)
    build(store, tmp_path / "dataset", test=2, validation=2)

    assert {tag.name for tag in read_vocabulary(tmp_path / "dataset")} == {"1girl", *hostile}
    assert verify_dataset(tmp_path / "dataset", deep=True).findings == ()


def test_alike_pictures_and_families_stay_on_one_side(tmp_path: Path) -> None:
    """Recompressed copies, and parents with their children, are never in different splits."""
    posts, groups = [], []
    for number in range(1, 31):
        original = drawing(number, width=200, height=260)
        variant = drawing(1000 + number)
        ids = [number, 100 + number, 200 + number]
        posts.append(TinyPost(id=ids[0], content=encoded(original, quality=95)))
        posts.append(TinyPost(id=ids[1], content=encoded(original, quality=60)))
        posts.append(TinyPost(id=ids[2], content=encoded(variant), facts={"parent_id": ids[1]}))
        groups.append(ids)
    store = write_store(tmp_path / "store", posts)
    report = build(store, tmp_path / "dataset", test=15, validation=9)
    rows = pd.read_parquet(tmp_path / "dataset" / "outcomes.parquet").set_index("id")
    side = rows["shard"].str.split("-").str[0].to_dict()

    assert (report.test, report.validation, report.alike) == (15, 9, 90)
    group_of = pd.read_parquet(tmp_path / "dataset" / "metadata").set_index("id")["group_id"].to_dict()
    for ids in groups:
        assert len({side[post_id] for post_id in ids}) == 1
        assert {group_of[post_id] for post_id in ids} == {min(ids)}


def test_categories_come_from_the_tag_table(tmp_path: Path) -> None:
    """A tag whose category became known after a part was written has that category."""
    tags = ["1girl", "hatsune_miku", "somebody"]
    posts = [TinyPost(id=n, content=encoded(drawing(n)), tags=tags) for n in range(1, 13)]
    store = write_store(tmp_path / "store", posts)
    names = write_store(tmp_path / "uncategorised", posts, category_of={})
    (names / posts_table(0)).replace(store / posts_table(0))
    build(store, tmp_path / "dataset", test=2, validation=2)

    found = {tag.name: tag.category.value for tag in read_vocabulary(tmp_path / "dataset")}
    assert found["hatsune_miku"] == "character"
    assert "somebody" not in found
    fields = json.loads(samples(tmp_path / "dataset", "train")[0]["json"])
    assert fields["tags_unknown"] == ""


def test_worker_count_does_not_change_a_byte(store: Path, dataset: Path, tmp_path: Path) -> None:
    """With one process or two, every file has the same SHA-256."""
    build(store, tmp_path / "dataset", workers=2)

    assert digests(tmp_path / "dataset") == digests(dataset)
    assert not (dataset / WORK_DIR).exists()


def test_a_rearranged_store_gives_the_same_dataset(dataset: Path, tmp_path: Path) -> None:
    """The cuts between tar files and parts of the store do not matter."""
    store = write_store(tmp_path / "store", mixed_posts(), posts_per_tar=1000, rows_per_part=7)
    build(store, tmp_path / "dataset")

    assert digests(tmp_path / "dataset") == digests(dataset)


def test_a_finished_dataset_is_left_alone(store: Path, dataset: Path) -> None:
    """The same command again does nothing, and reports the same."""
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    first, second = build(store, dataset), build(store, dataset)

    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
    assert (first.plan_hash, first.outcomes, first.bytes) == (second.plan_hash, second.outcomes, second.bytes)


@pytest.mark.parametrize("folder", ["data", "index", "metadata"])
def test_a_lost_file_is_made_again(store: Path, dataset: Path, tmp_path: Path, folder: str) -> None:
    """A deleted file is made again with the same bytes."""
    build(store, tmp_path / "dataset")
    next(iter(sorted((tmp_path / "dataset" / folder).iterdir()))).unlink()
    build(store, tmp_path / "dataset")

    assert digests(tmp_path / "dataset") == digests(dataset)


@pytest.mark.parametrize(
    "points",
    [
        [
            ("picture", 7),
            ("picture", 12),
            ("sample", 1),
            ("sample", 20),
            ("manifest", 1),
            ("rmtree", 3),
            ("rmtree", 9),
        ],
        [("rename", 1), ("rename", 2), ("rename", 9), ("rename", 20), ("rename", 22), ("rename", 7)],
        [("fsync", 3), ("fsync", 30), ("unlink", 4), ("fsync", 51), ("unlink", 10), ("fsync", 8)],
    ],
)
def test_kill_9_at_any_point_changes_nothing(
    kill: Callable[..., bool], store: Path, dataset: Path, tmp_path: Path, points: list[tuple[str, int]]
) -> None:
    """A build that is killed many times and then completed equals the uninterrupted one."""
    target = tmp_path / "dataset"
    for point, countdown in points:
        kill(point=point, countdown=countdown, store=str(store), dataset=str(target), chunk_pictures=5)
        if (target / "manifest.json").exists():
            assert verify_dataset(target).findings == ()
    build(store, target)

    assert digests(target) == digests(dataset)


def test_finished_work_is_not_done_again(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop, prepared pictures and finished shards are reused; other options also reuse the pictures."""

    def stop_at(shards: int) -> Any:
        def hook(progress: Progress) -> None:
            if progress.stage == "writing" and progress.done > shards:
                raise KeyboardInterrupt

        return hook

    with pytest.raises(KeyboardInterrupt):
        build(store, tmp_path / "dataset", progress=stop_at(10))
    receipts = sorted((tmp_path / "dataset" / WORK_DIR).glob("*.receipt.json"))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "dataset" / "data").iterdir()}
    monkeypatch.setattr("alti2v.pictures.decoder_process.Decoder.run", lambda *_: pytest.fail("decoded twice"))
    with pytest.raises(KeyboardInterrupt):
        build(store, tmp_path / "dataset", progress=stop_at(0), test=3, shard_samples=20)
    build(store, tmp_path / "dataset")
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "dataset" / "data").iterdir()}

    assert len(receipts) == 2
    assert {name: after[name] for name in before} == before
    assert len(after) == 5  # the files of the other options are gone
    assert verify_dataset(tmp_path / "dataset").findings == ()


def test_a_killed_worker_is_replaced(store: Path, dataset: Path, tmp_path: Path) -> None:
    """If the system kills a worker, the build continues without it, with the same bytes."""
    killed: list[str] = []

    def hook(progress: Progress) -> None:
        if progress.done and len(killed) < 3:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)
                    killed.append(child)

    build(store, tmp_path / "d", progress=hook, workers=2)

    assert killed
    assert digests(tmp_path / "d") == digests(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "--size 0 is out of range: give 8 to 4,096"),
        ({"top_tags": 0}, "--top-tags 0 is out of range"),
        ({"test": -1}, "--test -1 is out of range: give at least 0"),
        ({"shard_samples": 0}, "--shard-samples 0"),
        ({"workers": 0}, "--workers 0"),
        ({"quality": 101}, "--quality 101 is out of range: give 1 to 100"),
        (
            {"test": 30, "validation": 2},
            "leave nothing to train on: the store has 32 usable pictures.* --test 6 --validation 6$",
        ),
        ({"test": 1000}, "--test 1000 and --validation 4 leave nothing to train on: the store has 34"),
    ],
)
def test_numbers_that_cannot_be(store: Path, tmp_path: Path, options: dict[str, int], message: str) -> None:
    """Impossible options are refused with the value and the bound; nothing is published."""
    with pytest.raises(UsageError, match=message):
        build(store, tmp_path / "dataset", **options)
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_stores_that_hold_nothing_usable(tmp_path: Path) -> None:
    """No posts, no pictures, no tags of a selected category: one line each."""
    empty = write_store(tmp_path / "empty", [])
    write_table(empty / posts_table(0), POSTS, [])
    failed = write_store(tmp_path / "failed", [TinyPost(id=n, content=None) for n in (1, 2)])
    broken = write_store(tmp_path / "broken", [TinyPost(id=n, content=b"html %d" % n) for n in (1, 2)])
    meta = write_store(
        tmp_path / "meta", [TinyPost(id=n, content=encoded(drawing(n)), tags=["highres"]) for n in range(1, 4)]
    )

    for store, message in (
        (empty, "lists no posts: crawl first"),
        (failed, r"has no usable picture \(2 failed http 404\): crawl more"),
        (broken, r"has no usable picture \(2 dropped not image\)"),
        (meta, "the vocabulary is empty"),
    ):
        with pytest.raises(DataError, match=message):
            build(store, tmp_path / f"of-{store.name}", test=0, validation=0)


def test_folders_that_are_something_else(store: Path, tmp_path: Path) -> None:
    """A dataset with other options, a foreign folder, a store that is not one: refused in one line."""
    build(store, tmp_path / "dataset")
    (tmp_path / "run").mkdir()
    write_description(tmp_path / "run", DirectoryKind.RUN, {})

    with pytest.raises(
        UsageError, match=r"was built with other options \(--size 32 instead of 40\): use the same"
    ):
        build(store, tmp_path / "dataset", size=40)
    with pytest.raises(UsageError, match="is a run, not a dataset"):
        build(store, tmp_path / "run")
    with pytest.raises(UsageError, match="is not a store"):
        build(tmp_path / "run" / "..", tmp_path / "new")


def test_a_second_build_in_the_same_folder(store: Path, tmp_path: Path) -> None:
    """Two builds never write into one folder at the same time."""
    refused: list[UsageError] = []

    def hook(progress: Progress) -> None:
        if not refused:
            with pytest.raises(UsageError, match=f"is in use by process {os.getpid()}") as caught:
                build(store, tmp_path / "dataset")
            refused.append(caught.value)

    build(store, tmp_path / "dataset", progress=hook)
    assert refused


@pytest.mark.parametrize("facts", [{}, {"stored_crc32": None}])
def test_a_picture_that_the_store_has_changed_is_damaged_named_and_taken_once_repaired(
    tmp_path: Path, facts: Mapping[str, None]
) -> None:
    """One bit of a JPEG that still decodes: the build goes on without it, and says whose it is.

    Once the store holds the right bytes again, the same command adds it. The CRC-32 tells, or else the MD5.
    """
    posts = [*tiny_posts(20), TinyPost(id=30, content=encoded(drawing(30))[:500])]
    store = write_store(tmp_path / "store", [dataclasses.replace(post, facts=facts) for post in posts])
    tar = store / "images" / "images-000000.tar"
    sound = tar.read_bytes()
    picture = next(post.content for post in tiny_posts(20) if post.id == 7)
    assert picture is not None
    flip(tar, sound.index(picture) + len(picture) - 40)
    said: list[str] = []
    config = BuildConfig(store=store, dataset=tmp_path / "dataset", size=32, test=2, validation=2, workers=1)
    outcomes = build_shards(config, progress=milestones(said)).outcomes

    assert (outcomes["stored"], outcomes["dropped damaged"]) == (19, 2)
    (line,) = [line for line in said if "damaged" in line]
    assert "1 picture differs from what was stored" in line
    assert "posts 7)" in line
    assert "verify --repair" in line

    tar.write_bytes(sound)
    outcomes = build_shards(config).outcomes
    assert (outcomes["stored"], outcomes["dropped damaged"]) == (20, 1)
    assert build_shards(config).edition == 2


def test_sizes_that_groups_do_not_allow_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All groups have three pictures, so three of four are reported."""
    posts = [
        TinyPost(id=100 * trio + n, content=encoded(drawing(100 * trio + n)), facts={"parent_id": 100 * trio})
        for trio in range(1, 9)
        for n in (1, 2, 3)
    ]
    store = write_store(tmp_path / "store", posts)
    arguments = [store, tmp_path / "dataset", "--size", 16, "--test", 4, "--validation", 3, "--workers", 1]
    cli.main(["build-shards", *map(str, arguments)], standalone_mode=False)

    assert "18 train, 3 validation, 3 test of 4 asked for\n" in capsys.readouterr().out


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    """A missing tar file stops the build and is named; nothing is published."""
    store = write_store(tmp_path / "store", tiny_posts(20), posts_per_tar=8)
    tar = store / "images" / "images-000001.tar"
    whole = tar.read_bytes()
    tar.unlink()
    with pytest.raises(DamagedError, match=r"images-000001.tar is missing"):
        build(store, tmp_path / "dataset", test=2, validation=2)
    tar.write_bytes(whole)
    assert not (tmp_path / "dataset" / "manifest.json").exists()
    assert build(store, tmp_path / "dataset", test=2, validation=2).train == 16


@pytest.mark.parametrize(("is_cut", "lost"), [(True, 4), (False, 8)])
def test_a_cut_or_shifted_tar_costs_its_lost_pictures_only(tmp_path: Path, is_cut: bool, lost: int) -> None:
    """The others are built; once the store is whole again, the same command adds those that were lost."""
    store = write_store(tmp_path / "store", tiny_posts(20), posts_per_tar=8)
    tar = store / "images" / "images-000001.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2] if is_cut else whole[512:])
    config = BuildConfig(store=store, dataset=tmp_path / "dataset", size=32, test=2, validation=2, workers=1)
    outcomes = build_shards(config).outcomes

    assert (outcomes["stored"], outcomes["dropped damaged"]) == (20 - lost, lost)
    tar.write_bytes(whole)
    assert build_shards(config).outcomes == {"stored": 20}


@pytest.mark.parametrize("nth", [1, 3, 6, 12, 20])
def test_a_full_disk_loses_nothing(
    store: Path, dataset: Path, tmp_path: Path, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk during any publication gives one clear line, and afterwards the same dataset."""
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == 2 * nth:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full: make room, then run the same command again"):
        build(store, tmp_path / "dataset")
    monkeypatch.undo()
    build(store, tmp_path / "dataset")

    assert digests(tmp_path / "dataset") == digests(dataset)


def test_a_place_that_cannot_be_written(store: Path, tmp_path: Path) -> None:
    """A dataset below a file is refused with a message."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(StorageError, match="a part of the path is a file"):
        build(store, tmp_path / "file" / "dataset")


def test_a_prepared_picture_that_changed_on_disk_is_named(store: Path, dataset: Path, tmp_path: Path) -> None:
    """It gets into no shard; after deleting the named file, the same command continues."""

    def stop(progress: Progress) -> None:
        if progress.stage == "preparing" and progress.done == progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(store, tmp_path / "dataset", progress=stop)
    chunk = min((tmp_path / "dataset" / WORK_DIR).glob("*.pictures"))
    flip(chunk, chunk.stat().st_size // 2)
    with pytest.raises(DamagedError, match=f"{chunk.name} has changed since it was written: remove it"):
        build(store, tmp_path / "dataset")
    chunk.unlink()
    build(store, tmp_path / "dataset")

    assert digests(tmp_path / "dataset") == digests(dataset)


def test_shards_of_another_plan_are_not_taken_over(store: Path, dataset: Path, tmp_path: Path) -> None:
    """A stopped build with another vocabulary leaves shards of the same names, which are built again."""

    def stop(progress: Progress) -> None:
        if progress.stage == "writing" and progress.done == progress.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(store, tmp_path / "dataset", top_tags=2, progress=stop)
    build(store, tmp_path / "dataset")

    assert digests(tmp_path / "dataset") == digests(dataset)


def test_shards_are_shuffled_once_and_for_all(dataset: Path) -> None:
    """Shards and their order follow the hashes of the ids, without runs of neighbours."""
    ids = [json.loads(sample["json"])["id"] for sample in samples(dataset, "train")]

    assert [sorted(ids)[place] for place in shuffled(np.array(sorted(ids)))] == ids
    assert ids != sorted(ids)


def test_a_duplicate_ties_its_family_to_the_picture_that_stands_for_it(tmp_path: Path) -> None:
    """50 has the bytes of 1 and the child 51, so 1 and 51 share a split although 50 itself is left out."""
    for store_name, posts_from in (("a", 1), ("b", 100), ("c", 200)):
        posts = tiny_posts(20, first_id=posts_from)
        first, twin, child = posts_from, posts_from + 50, posts_from + 51
        posts += [
            TinyPost(id=twin, content=posts[0].content),
            TinyPost(id=child, content=encoded(drawing(child)), facts={"parent_id": twin}),
        ]
        store = write_store(tmp_path / store_name, posts)
        report = build(store, tmp_path / f"of-{store_name}", test=6, validation=6)
        rows = pd.read_parquet(tmp_path / f"of-{store_name}" / "outcomes.parquet").set_index("id")["shard"]

        assert report.alike == 2
        assert rows[first].split("-")[0] == rows[child].split("-")[0]
