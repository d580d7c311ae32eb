"""Pictures are removed for good and nothing else changes; damaged shards are repaired to the same bytes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from alti2v.cli import main
from alti2v.dataset import remove
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.id_file import read_ids
from alti2v.dataset.manifest import read_manifest, read_vocabulary, write_vocabulary
from alti2v.dataset.remove import remove_pictures
from alti2v.dataset.versions.lineage import removed_since
from alti2v.dataset.versions.previous import read_history
from alti2v.errors import DamagedError, DataError, UsageError
from alti2v.storage.columns import METADATA
from alti2v.storage.table import read_table, write_arrow_table
from tests.dataset.helpers.building import build as small_build
from tests.dataset.helpers.building import digests
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store
from tests.helpers.damage import flip

build = functools.partial(small_build, shard_samples=7)


def shards(dataset: Path) -> dict[int, str]:
    rows = pd.read_parquet(dataset / "outcomes.parquet").dropna(subset=["shard"])
    return dict(zip(rows["id"].tolist(), rows["shard"], strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 30 posts, and its dataset."""
    folder = tmp_path_factory.mktemp("removing")
    write_store(folder / "store", tiny_posts(30))
    build(folder / "store", folder / "dataset")
    return folder


@pytest.fixture
def store(whole: Path) -> Path:
    return whole / "store"


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "dataset", tmp_path / "dataset"))


def some_of(dataset: Path, prefix: str) -> list[int]:
    return sorted(i for i, name in shards(dataset).items() if name.startswith(prefix))


def test_only_touched_shards_change(dataset: Path) -> None:
    """The pictures are gone from every file; their shards have new names, and all others the same bytes."""
    old, old_shards, old_tags = digests(dataset), shards(dataset), read_vocabulary(dataset)
    leaving = [*some_of(dataset, "train-00001")[:2], some_of(dataset, "test")[0]]
    pictures = _pictures(dataset, leaving)
    report = remove_pictures(dataset, np.array(sorted([*leaving, 9_999])))
    new, new_shards = digests(dataset), shards(dataset)

    assert (report.removed, report.noted, report.shards_rewritten, report.edition) == (3, 1, 2, 2)
    assert (report.train, report.validation, report.test) == (18, 4, 5)
    assert set(new_shards) == set(old_shards) - set(leaving)
    assert all(new_shards[i].startswith(old_shards[i]) for i in new_shards)
    touched = {old_shards[i] for i in leaving}
    untouched = {n for n in old if "/" in n and not any(name in n for name in touched)}
    assert {name: new[name] for name in untouched} == {name: old[name] for name in untouched}
    assert not any(f"{name}." in file for name in touched for file in new)
    assert [tag.name for tag in read_vocabulary(dataset)] == [tag.name for tag in old_tags]
    assert verify_dataset(dataset, deep=True).findings == ()
    everything = b"".join(path.read_bytes() for path in dataset.rglob("*") if path.is_file())
    assert not [post_id for post_id, picture in pictures.items() if picture in everything]


def test_removals_are_told_from_other_changes(dataset: Path) -> None:
    """Between two plans of a dataset lie so many removals, one after the other, or it is another dataset."""
    plans = [read_manifest(dataset).plan_hash]
    for leaving in (some_of(dataset, "train")[:2], some_of(dataset, "train")[5:6]):
        remove_pictures(dataset, np.array(leaving))
        plans.append(read_manifest(dataset).plan_hash)
    manifest = read_manifest(dataset)

    assert [removed_since(dataset, manifest, plan) for plan in plans[:2]] == [3, 1]
    assert removed_since(dataset, manifest, "another") is None
    (dataset / "removed.parquet").write_bytes(b"damaged")
    assert removed_since(dataset, manifest, plans[0]) is None


def _pictures(dataset: Path, ids: list[int]) -> dict[int, bytes]:
    found = {}
    for path in (dataset / "metadata").glob("*.parquet"):
        tar = (dataset / "data" / f"{path.stem}.tar").read_bytes()
        for row in pd.read_parquet(path).to_dict("records"):
            if row["id"] in ids:
                found[row["id"]] = tar[row["offset"] : row["offset"] + row["size"]]
    assert sorted(found) == sorted(ids)
    return found


def test_removed_pictures_never_come_back(store: Path, dataset: Path, tmp_path: Path) -> None:
    """Neither the same command, nor a grown store with the same bytes, nor a new plan brings them back."""
    leaving = some_of(dataset, "test")[:2]
    before = {i: name.split("-")[0] for i, name in shards(dataset).items() if i not in leaving}
    remove_pictures(dataset, np.array(leaving))
    after = digests(dataset)
    build(store, dataset)
    assert digests(dataset) == after

    posts = tiny_posts(30)
    again = TinyPost(id=500, content=next(post.content for post in posts if post.id == leaving[0]))
    grown = write_store(tmp_path / "grown", [*posts, again, *tiny_posts(3, first_id=700)])
    for options in ({}, {"new_plan": True}):
        report = build(grown, dataset, **options)
        assert not set(shards(dataset)) & {*leaving, 500}
        assert report.outcomes["dropped removed"] == 3
        assert report.test == 6  # the gap is filled with new pictures
        if not options:
            assert {i: shards(dataset)[i].split("-")[0] for i in before} == before
        assert verify_dataset(dataset).findings == ()


def test_a_shard_can_lose_all_pictures_and_a_dataset_cannot(dataset: Path) -> None:
    """An empty shard is deleted; a removal that leaves nothing to train on is refused, without changes."""
    remove_pictures(dataset, np.array(some_of(dataset, "train-00000")))
    assert len(read_manifest(dataset).split("train")) == 2
    assert verify_dataset(dataset).findings == ()
    before = digests(dataset)
    with pytest.raises(DataError, match="no training picture would be left"):
        remove_pictures(dataset, np.array(some_of(dataset, "train")))
    after = {name: digest for name, digest in digests(dataset).items() if not name.startswith(".build")}

    assert after == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "12\nx3\n",
            "line 2: 'x3' is not a post number: give that of the column id of the tables in metadata/",
        ),
        ("", "contains no post number"),
        ("-4", "line 1"),
        ("0", "line 1"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    """An invalid list of ids is refused as a whole, with the number of the line."""
    (tmp_path / "ids").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_ids(tmp_path / "ids")
    (tmp_path / "ids").write_bytes(b"\x98")
    with pytest.raises(UsageError, match=r"line 1: '\\x98' is not a post number"):
        read_ids(tmp_path / "ids")
    with pytest.raises(UsageError, match=r"none cannot be read \(No such file or directory\): give a file"):
        read_ids(tmp_path / "none")
    (tmp_path / "ids").write_text("# asked on Monday\n12\n\n 3 \n12\n")
    assert read_ids(tmp_path / "ids").tolist() == [3, 12]


@pytest.mark.parametrize(
    ("function", "countdowns"), [("rename", (1, 5, 10, 14, 16)), ("unlink", (18, 20)), ("rmtree", (1, 2))]
)
def test_kill_9_leaves_the_old_edition_or_the_new(
    kill: Callable[..., bool], dataset: Path, tmp_path: Path, function: str, countdowns: tuple[int, ...]
) -> None:
    """At each point, all shards of the manifest are complete; the same command again finishes the work."""
    leaving = [some_of(dataset, "train-00001")[0], some_of(dataset, "test")[0]]
    remove_pictures(Path(shutil.copytree(dataset, tmp_path / "expected")), np.array(sorted(leaving)))
    editions = set()
    for countdown in countdowns:
        target = Path(shutil.copytree(dataset, tmp_path / f"at-{countdown}"))
        assert kill(point=function, countdown=countdown, dataset=str(target), ids=sorted(map(int, leaving)))
        editions.add(read_manifest(target).edition)
        for shard in read_manifest(target).shards:
            assert hashlib.sha256((target / shard.name.data).read_bytes()).hexdigest() == shard.sha256
        remove_pictures(target, np.array(sorted(leaving)))
        assert digests(target) == digests(tmp_path / "expected")
    assert editions <= {1, 2}


@pytest.mark.parametrize(
    "what", ["tar cut", "tar flipped", "tar gone", "index gone", "table gone", "table wrong"]
)
def test_repair_from_the_store(
    store: Path, dataset: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify --repair STORE` restores every file of a damaged shard to the same bytes, and names it."""
    before = digests(dataset)
    name = "train-00001-of-00003"
    tar, table = dataset / "data" / f"{name}.tar", dataset / "metadata" / f"{name}.parquet"
    if what == "tar cut":
        tar.write_bytes(tar.read_bytes()[:2000])
    elif what == "tar flipped":
        flip(tar, 700)
    elif what == "index gone":
        (dataset / "index" / f"{name}.json").unlink()
    elif what == "table wrong":
        shutil.copy(dataset / "metadata" / "train-00000-of-00003.parquet", table)
    else:
        (tar if what == "tar gone" else table).unlink()
    with pytest.raises(SystemExit) as without_store:
        main(["verify", str(dataset), "--repair"])
    with pytest.raises(SystemExit) as with_store:
        main(["verify", str(dataset), "--repair", str(store)])
    printed = capsys.readouterr().out

    assert (name in printed and " (repaired)" in printed, printed[-2:]) == (True, "0\n")
    assert without_store.value.code in ((0, None) if what == "index gone" else (4,))
    assert with_store.value.code in (0, None)
    assert digests(dataset) == before


def repair(dataset: Path, store: Path) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(dataset), "--repair", str(store)])
    return ended.value.code


@pytest.mark.parametrize("is_tar_gone", [False, True])
def test_an_edited_table_comes_back(store: Path, dataset: Path, *, is_tar_gone: bool) -> None:
    """An edited table of a shard is replaced with the facts of the store."""
    before, name = digests(dataset), "train-00001-of-00003"
    path = dataset / "metadata" / f"{name}.parquet"
    rows = read_table(path, METADATA)
    ratings = pa.array(["explicit"] * rows.num_rows)
    at = rows.schema.get_field_index("rating")
    write_arrow_table(path, METADATA, rows.set_column(at, "rating", ratings))
    if is_tar_gone:
        (dataset / "data" / f"{name}.tar").unlink()

    assert repair(dataset, store) in (0, None)
    assert digests(dataset) == before


def test_a_renamed_tag_spoils_no_table(store: Path, dataset: Path) -> None:
    """Labels are not made again from a damaged vocabulary."""
    before, tags = digests(dataset), list(read_vocabulary(dataset))
    tags[1] = replace(tags[1], name="renamed")
    write_vocabulary(dataset, tuple(tags))
    (dataset / "metadata" / "train-00001-of-00003.parquet").unlink()

    assert repair(dataset, store) == 4
    left = {name for name, digest in before.items() if digests(dataset).get(name) != digest}
    assert left == {"tags.parquet", "metadata/train-00001-of-00003.parquet"}


@pytest.mark.parametrize("file", ["tags.parquet", "outcomes.parquet"])
@pytest.mark.parametrize("content", [None, b"hello"])
def test_a_new_plan_needs_no_old_tables(store: Path, dataset: Path, file: str, content: bytes | None) -> None:
    """Without them nothing can be added; the message names --new-plan, which works."""
    path = dataset / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{file} is .*: restore it from a copy, or build with --new-plan"):
        read_history(dataset, read_manifest(dataset), dataset)
    report = build(store, dataset, new_plan=True)

    assert (report.train, report.edition) == (20, 2)
    assert verify_dataset(dataset).findings == ()


@pytest.mark.parametrize("content", [None, b"hello"])
def test_a_dataset_without_its_survey_grows(
    store: Path, dataset: Path, tmp_path: Path, content: bytes | None
) -> None:
    """A lost or damaged appearance index is made again, and gives the same splits."""
    grown = write_store(tmp_path / "grown", tiny_posts(40))
    with_survey = Path(shutil.copytree(dataset, tmp_path / "with"))
    build(grown, with_survey)
    (dataset / "survey.parquet").unlink()
    if content is not None:
        (dataset / "survey.parquet").write_bytes(content)
    build(grown, dataset)

    assert digests(dataset) == digests(with_survey)


def test_everything_wrong_with_a_file_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Damaged pictures of one shard are named by their keys, up to five in a row each, and all are counted."""
    name = "train-00001-of-00003"
    rows = pd.read_parquet(dataset / "metadata" / f"{name}.parquet")
    tar = dataset / "data" / f"{name}.tar"
    flip(tar, *(place + 40 for place in rows["offset"][:7]))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(dataset)])
    printed = capsys.readouterr()

    assert ended.value.code == 4
    lines = [line.split("  ")[-1] for line in printed.out.splitlines() if line.startswith(f"data/{name}.tar")]
    named = [f"{key}: the picture has changed" for key in rows["key"][:5]]
    assert lines == ["has changed since it was written", *named, "2 more faults of this kind"]
    assert f"has 8 faults: run `alti2v verify {dataset} --repair STORE`" in printed.err
    assert "build-shards" not in printed.out  # one advice, not two


def test_the_command_says_what_it_removed(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It reports removed pictures and ids that were not in the dataset, and why there was nothing to remove."""
    said = []
    for ids in (f"{some_of(dataset, 'train')[0]}\n77777\n", "77777\n", "77778\n"):
        (tmp_path / "ids").write_text(ids)
        with pytest.raises(SystemExit) as ended:
            main(["remove", str(dataset), "--ids", str(tmp_path / "ids")])
        assert ended.value.code in (0, None)
        said.append(dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines()))

    assert said[0]["removed"].strip() == "1"
    assert said[0]["not in the dataset"].strip() == "1, and kept out of later builds"
    assert said[1]["removed"].strip() == "nothing: already removed"
    assert "not in the dataset" not in said[1]
    assert said[2]["removed"].strip() == "nothing: no new number in the file is in the dataset"
    assert said[2]["not in the dataset"].strip() == "1, and kept out of later builds"


def test_lines_that_are_no_numbers_do_not_keep_others_in(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Valid lines are removed whatever other lines contain; these are named, with status 1."""
    leaving = some_of(dataset, "train")[:2]
    content = f"\ufeff# M\u00e4rz\r\n{leaving[0]}\r\n12O45\r\n\r\n{leaving[1]}\r\n".encode() + b"\xff\n"
    (tmp_path / "ids").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["remove", str(dataset), "--ids", str(tmp_path / "ids"), "--json"])
    printed = capsys.readouterr()

    assert ended.value.code == 1
    assert json.loads(printed.out)["removed"] == 2
    assert "ids, line 3: '12O45' is not a post number" in printed.err
    assert "2 lines are not post numbers: the first are named above; all others are removed" in printed.err


def test_sigterm_is_a_stop_with_its_own_status(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM ends a command as Ctrl-C does, with one line and status 143."""
    (tmp_path / "ids").write_text("1")

    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(remove, "remove_pictures", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["remove", str(dataset), "--ids", str(tmp_path / "ids")])

    assert ended.value.code == 143
    assert "interrupted; nothing stored is lost" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_store_that_has_other_pictures_repairs_nothing(dataset: Path, tmp_path: Path) -> None:
    """A shard is never replaced by one with other bytes, and the finding remains."""
    posts = [TinyPost(id=i, content=encoded(drawing(1000 + i))) for i in range(1, 31)]
    other = write_store(tmp_path / "other", posts)
    tar = dataset / "data" / "train-00001-of-00003.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    damaged = digests(dataset)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(dataset), "--repair", str(other)])

    assert ended.value.code == 4
    assert digests(dataset) == damaged


def test_a_damaged_shard_is_not_rewritten(dataset: Path) -> None:
    """A removal from a damaged shard stops with advice; nothing is published."""
    leaving = some_of(dataset, "train-00001")[0]
    tar = dataset / "data" / "train-00001-of-00003.tar"
    tar.write_bytes(bytes(len(tar.read_bytes())))
    with pytest.raises(DamagedError, match=r"run `alti2v verify .* --repair STORE` first"):
        remove_pictures(dataset, np.array([leaving]))
    assert read_manifest(dataset).edition == 1
