"""A dataset grows with its store: existing pictures keep their splits, new pictures get one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alti2v.cli import cli
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.manifest import read_manifest, read_vocabulary
from alti2v.dataset.plan.split import NOWHERE, extend_splits
from alti2v.dataset.versions.lineage import grown_since
from alti2v.errors import UsageError
from alti2v.pictures.recipe import ImageRecipe
from alti2v.storage.columns import SURVEY
from alti2v.storage.layout import SPLITS, WORK_DIR
from alti2v.storage.table import read_table, write_arrow_table
from alti2v.storage.tar import members, read_span
from tests.dataset.helpers.building import build, digests, milestones, sides
from tests.dataset.helpers.tiny_store import TinyPost, drawing, encoded, tiny_posts, write_store

TRAIN, VALIDATION, TEST = (SPLITS.index(split) for split in ("train", "validation", "test"))


def md5(content: bytes | None) -> str:
    assert content is not None
    return hashlib.md5(content).hexdigest()


def copy_of(number: int) -> bytes:
    return encoded(drawing(number), quality=60)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 30 posts and its dataset."""
    folder = tmp_path_factory.mktemp("growing")
    write_store(folder / "store", tiny_posts(30))
    build(folder / "store", folder / "dataset")
    return folder


@pytest.fixture(scope="module")
def grown(first: Path) -> Path:
    """The same store with 12 more posts, some of them near-duplicates, and one changed for the worse."""
    before = sides(first / "dataset")
    anchors = {side: min(i for i, s in before.items() if s == side) for side in SPLITS}
    posts = [
        *(post for post in tiny_posts(30) if post.id != 2),
        TinyPost(id=2, content=None, facts={"status": "failed", "reason": "http_404"}),
        *tiny_posts(8, first_id=101),
        *(TinyPost(id=201 + number, content=copy_of(anchors[side])) for number, side in enumerate(SPLITS)),
        TinyPost(id=299, content=encoded(drawing(999)), tags=["a_new_tag", "1girl"]),
    ]
    return write_store(first / "grown", posts)


@pytest.fixture
def dataset(first: Path, tmp_path: Path) -> Path:
    build(first / "store", tmp_path / "dataset")
    return tmp_path / "dataset"


def test_growth_keeps_what_stands_and_finds_sides_for_what_comes(grown: Path, dataset: Path) -> None:
    """Old shards keep their bytes, indices and splits do not change, and copies of test pictures stay out."""
    old_files, old_sides, old_tags = digests(dataset), sides(dataset), read_vocabulary(dataset)
    report = build(grown, dataset)
    new_files, new_sides = digests(dataset), sides(dataset)
    reasons = pd.read_parquet(dataset / "outcomes.parquet").set_index("id")["reason"].to_dict()

    shard_files = [name for name in old_files if name.split("/")[0] in ("data", "index", "metadata")]
    assert {name: new_files[name] for name in shard_files} == {name: old_files[name] for name in shard_files}
    assert {i: new_sides[i] for i in old_sides} == old_sides
    assert set(new_sides) - set(old_sides) == {*range(101, 109), 201, 299}
    assert {new_sides[i] for i in (*range(101, 109), 201, 299)} == {"train"}
    assert (reasons[202], reasons[203], reasons[2]) == ("alike_held_out", "alike_held_out", "")
    assert (report.test, report.validation, report.train, report.edition) == (6, 4, 30, 2)
    assert [str(shard.name) for shard in read_manifest(dataset).split("train")][2:] == [
        "train-00002-of-00003",
        "train-00003-of-00005-e2",
        "train-00004-of-00005-e2",
    ]
    assert [tag.name for tag in read_vocabulary(dataset)] == [tag.name for tag in old_tags]
    assert sum(report.outcomes.values()) == 42
    assert verify_dataset(dataset, deep=True).findings == ()


@pytest.mark.parametrize("side", SPLITS)
def test_a_file_that_the_board_has_replaced_stays_with_its_row_until_a_new_plan(
    side: str, tmp_path: Path
) -> None:
    """Row, bytes and split stay those of the former file, which guards its split; the new bytes are free."""
    posts, dataset = tiny_posts(30), tmp_path / "dataset"
    options: dict[str, Any] = {"keep_original": True, "size": ImageRecipe().size}
    build(write_store(tmp_path / "first", posts), dataset, **options)
    before = sides(dataset)
    post = next(post for post in posts if before[post.id] == side)
    new = TinyPost(id=post.id, content=encoded(drawing(700)), tags=["1girl", "smile"])
    others = [
        TinyPost(id=200, content=new.content, tags=["1girl"]),  # the new file, as another post
        TinyPost(id=201, content=post.content, tags=["1girl"]),  # the former one
    ]
    store = write_store(tmp_path / "then", [*(one for one in posts if one.id != post.id), new, *others])
    report = build(store, dataset, **options)
    rows = pd.concat(map(pd.read_parquet, (dataset / "metadata").glob("*.parquet"))).set_index("id")
    survey = pd.read_parquet(dataset / "survey.parquet").set_index("id")

    assert report.edition == 2
    assert {i: now for i, now in sides(dataset).items() if i in before} == before
    assert rows.source_md5[post.id] == survey.source_md5[post.id] == md5(post.content)
    for shard in (dataset / "data").glob("*.tar"):
        for member in members(shard):
            with shard.open("rb") as file:
                content = read_span(file, member.span)
            expected = rows.source_md5[int(member.name.split(".")[0])]
            assert (json.loads(content)["md5"] if member.name.endswith("json") else md5(content)) == expected
    assert sides(dataset)[200] == "train"
    assert sides(dataset).get(201) == ("train" if side == "train" else None)
    assert verify_dataset(dataset, deep=True).findings == ()
    assert build(store, dataset, **options).edition == 2

    build(store, dataset, new_plan=True, **options)
    rows = pd.concat(map(pd.read_parquet, (dataset / "metadata").glob("*.parquet"))).set_index("id")
    assert rows.source_md5[post.id] == md5(new.content)
    assert 200 not in rows.index
    assert 201 in rows.index


def test_growth_is_told_from_other_changes(grown: Path, dataset: Path) -> None:
    """All shards of then are still there, and the others are of a later version; else it is another dataset."""
    before = read_manifest(dataset)
    of_then = {str(shard.name): shard.sha256 for shard in before.shards if shard.name.split != "test"}
    assert grown_since(before, of_then) is None
    build(grown, dataset)
    after = read_manifest(dataset)

    sizes = [sum(map(manifest.samples, ("train", "validation"))) for manifest in (before, after)]
    assert grown_since(after, of_then) == sizes[1] - sizes[0] > 0
    assert grown_since(after, {}) is None
    assert grown_since(after, {**of_then, "train-00000-of-00001": "another"}) is None
    some = dict(list(of_then.items())[1:])  # others of the first version are there, too
    assert grown_since(after, some) is None


def test_growth_is_a_pure_function(grown: Path, dataset: Path, first: Path, tmp_path: Path) -> None:
    """The same dataset and grown store give the same bytes, and the same command again does nothing."""
    build(first / "store", tmp_path / "again")
    build(grown, dataset)
    build(grown, tmp_path / "again", workers=2)
    before = digests(dataset)

    assert digests(tmp_path / "again") == before
    build(grown, dataset)
    assert digests(dataset) == before
    assert not (dataset / WORK_DIR).exists()


def test_a_store_that_forgets_takes_nothing_away(first: Path, dataset: Path, tmp_path: Path) -> None:
    """Posts that the board deleted stay in the shards and in the sums."""
    before = sides(dataset)
    smaller = write_store(tmp_path / "smaller", tiny_posts(25, first_id=6))
    report = build(smaller, dataset)

    assert sides(dataset) == before
    assert (sum(report.outcomes.values()), report.edition) == (30, 2)
    assert verify_dataset(dataset).findings == ()


def test_a_dry_run_publishes_nothing_and_the_build_uses_its_work(
    grown: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan equals the build, for a new dataset and a growing one; pictures are decoded once."""
    new = tmp_path / "new"
    for target in (new, dataset):
        before = digests(target) if target.exists() else {}
        planned = build(grown, target, dry_run=True)
        assert {name: d for name, d in digests(target).items() if not name.startswith(WORK_DIR)} == before
        with monkeypatch.context() as patched:
            patched.setattr(
                "alti2v.dataset.images.appearance.prepare_chunk", lambda *_: pytest.fail("prepared twice")
            )
            built = build(grown, target)
        same = (
            "train",
            "validation",
            "test",
            "tags",
            "shards",
            "outcomes",
            "plan_hash",
            "alike",
            "groups",
            "edition",
            "asked",
            "left_out",
            "shards_of",
        )
        assert {name: getattr(planned, name) for name in same} == {name: getattr(built, name) for name in same}
        assert built.bytes / 2 < planned.bytes < built.bytes * 2


def test_a_survey_of_another_recipe_is_made_anew(
    grown: Path, dataset: Path, first: Path, tmp_path: Path
) -> None:
    """Hashes of another recipe are not used; rows of pictures that the store has lost are kept."""
    build(first / "store", tmp_path / "whole")
    build(grown, tmp_path / "whole")
    survey = read_table(dataset / "survey.parquet", SURVEY)
    ids, hashes = (survey.column(name).to_numpy() for name in ("id", "phash"))
    wrong = pa.array(np.where(ids == 2, hashes, ~hashes))  # post 2 is lost
    other = survey.set_column(survey.column_names.index("phash"), survey.schema.field("phash"), wrong)
    other = other.replace_schema_metadata({**survey.schema.metadata, b"alti2v.looks": b"0, 32 px letterbox"})
    write_arrow_table(dataset / "survey.parquet", SURVEY, other)
    said: list[str] = []
    build(grown, dataset, progress=milestones(said))

    assert said == ["survey.parquet was made with another recipe: its pictures are decoded again"]
    assert digests(dataset) == digests(tmp_path / "whole")
    build(first / "store", dataset, progress=milestones(said), new_plan=True, size=40)
    build(first / "store", tmp_path / "other", size=40)
    assert digests(dataset)["survey.parquet"] == digests(tmp_path / "other")["survey.parquet"]
    assert len(said) == 2


def test_a_plan_can_be_looked_at(grown: Path, dataset: Path) -> None:
    """A dry run saves the shard, order, group and tags of every post as the build writes them."""
    planned = build(grown, dataset, dry_run=True)
    assert planned.saved is not None
    tables = {name: pd.read_parquet(planned.saved / name) for name in ("outcomes.parquet", "tags.parquet")}
    shards = {
        path.name.removesuffix(".plan.parquet"): pd.read_parquet(path)[["id", "group_id", "labels"]].to_dict(
            "list"
        )
        for path in (dataset / WORK_DIR).glob("*.plan.parquet")
    }
    built = build(grown, dataset)

    assert built.saved is None
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, pd.read_parquet(dataset / name))
    assert len(shards) == 2
    for name, rows in shards.items():
        found = pd.read_parquet(dataset / "metadata" / f"{name}.parquet")[["id", "group_id", "labels"]]
        assert str(found.to_dict("list")) == str(rows)


def test_other_options_need_a_new_plan(grown: Path, dataset: Path) -> None:
    """Changed options are refused with the differences; --new-plan replaces everything, under new names."""
    before = digests(dataset)
    with pytest.raises(UsageError, match=r"\(--test 6 instead of 8, --top-tags 5000 instead of 3\)"):
        build(grown, dataset, test=8, top_tags=3)
    assert digests(dataset) == before
    report = build(grown, dataset, test=8, top_tags=3, new_plan=True)

    assert (report.test, report.tags, report.edition) == (8, 3, 2)
    assert {str(shard.name)[-3:] for shard in read_manifest(dataset).shards} == {"-e2"}
    assert not {name for name in before if name.startswith("data/")} & set(digests(dataset))
    assert verify_dataset(dataset).findings == ()


def test_what_differs_is_said_in_options(grown: Path, dataset: Path, tmp_path: Path) -> None:
    """Differences are named as on the command line."""
    (tmp_path / "keep").write_text("smile\nhighres\n")
    quota = ("general=5", "character=2")
    other: dict[str, Any] = {"quota": quota, "keep_meta": True, "keep": tmp_path / "keep"}
    with pytest.raises(UsageError) as refused:
        build(grown, dataset, fit="crop", format="webp", ratings=True, **other)
    assert str(refused.value).partition("(")[2].partition(")")[0] == (
        "--fit letterbox instead of crop, --format jpeg instead of webp, "
        "--keep nothing instead of highres, smile, without --keep-meta, "
        "--quota nothing instead of character=2, general=5, without --ratings"
    )
    with pytest.raises(UsageError, match=r"\(without --keep-original, --size 32 instead of 224\)"):
        build(grown, dataset, size=224, keep_original=True)


def test_quotas_leave_top_tags_no_say(grown: Path, tmp_path: Path) -> None:
    """An option without effect is refused."""
    arguments = [str(grown), str(tmp_path / "other"), "--quota", "general=3", "--top-tags", "5"]
    with pytest.raises(click.UsageError, match="--top-tags has no effect when --quota is given"):
        cli.main(["build-shards", *arguments], standalone_mode=False)


def test_id_modulo(first: Path, tmp_path: Path) -> None:
    """Splits by the last three digits; near-duplicates in different splits are counted."""
    content = encoded(drawing(5))
    posts = [TinyPost(id=i, content=encoded(drawing(i))) for i in (1, 899, 900, 949, 950, 1999, 2000)]
    posts += [TinyPost(id=3899, content=content), TinyPost(id=3950, content=copy_of(5))]
    store = write_store(tmp_path / "store", posts)
    report = build(store, tmp_path / "dataset", split="id-modulo")

    assert sides(tmp_path / "dataset") == {
        1: "train", 899: "train", 2000: "train", 3899: "train",
        900: "validation", 949: "validation", 950: "test", 1999: "test", 3950: "test",
    }  # fmt: skip
    assert (report.alike, report.groups, report.astray) == (2, 1, 1)
    assert report.asked == {}
    arguments = [str(store), str(tmp_path / "other"), "--split", "id-modulo", "--test", "3"]
    with pytest.raises(click.UsageError, match="--test has no effect when --split id-modulo"):
        cli.main(["build-shards", *arguments], standalone_mode=False)


@pytest.mark.parametrize("function", ["rename", "unlink", "rmtree"])
def test_kill_9_leaves_the_old_edition_or_the_new(
    kill: Callable[..., bool], grown: Path, dataset: Path, first: Path, tmp_path: Path, function: str
) -> None:
    """Growth that is killed many times is whole at each point, and equal in the end."""
    build(first / "store", tmp_path / "whole")
    build(grown, tmp_path / "whole")
    for countdown in {"rename": (3, 12, 14, 5, 4, 3, 2, 1), "unlink": (9,), "rmtree": (1, 2)}[function]:
        kill(point=function, countdown=countdown, store=str(grown), dataset=str(dataset))
        manifest = read_manifest(dataset)
        assert manifest.edition in (1, 2)
        for shard in manifest.shards:
            assert (dataset / shard.name.data).stat().st_size == shard.bytes
            assert json.loads((dataset / shard.name.index).read_text())["hash_lfs"] == shard.sha256
    build(grown, dataset)

    assert digests(dataset) == digests(tmp_path / "whole")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 25), st.sampled_from([NOWHERE, 0, 1, 2])), min_size=1), st.data())
def test_sides_of_what_comes(pictures: list[tuple[int, int]], data: st.DataObject) -> None:
    """Existing splits stay, new pictures join their group, and no split exceeds its requested size."""
    group = np.array([name for name, _ in pictures])
    side = np.array([given_side for _, given_side in pictures], np.int8)
    test, validation = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 10))
    found = extend_splits(group, side, test=test, validation=validation)

    assert np.array_equal(found[side != NOWHERE], side[side != NOWHERE])
    for split, wanted in ((TEST, test), (VALIDATION, validation)):
        assert (found == split).sum() <= max(wanted, (side == split).sum())
    for name, before, after in zip(group, side, found, strict=True):
        settled_here = set(side[(group == name) & (side != NOWHERE)].tolist())
        if before == NOWHERE and settled_here:
            assert after == (TRAIN if settled_here == {TRAIN} else NOWHERE)
        if before == NOWHERE and not settled_here:
            assert after != NOWHERE
            assert set(found[group == name].tolist()) == {after}
