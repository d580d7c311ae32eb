"""`verify` finds damage, names it, and repairs what follows from intact shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from alti2v.cli import main
from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.manifest import read_manifest, read_vocabulary, write_manifest, write_vocabulary
from alti2v.errors import DamagedError, UsageError, VersionError
from alti2v.records import Progress
from alti2v.storage.columns import METADATA, OUTCOMES
from alti2v.storage.table import read_table, write_arrow_table
from tests.dataset.helpers.building import build
from tests.dataset.helpers.tiny_store import tiny_posts, write_store
from tests.helpers.damage import flip

SHARD = "train-00001-of-00002"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    store = write_store(folder / "store", tiny_posts(24))
    build(store, folder / "dataset", size=16, test=4, validation=2)
    return folder / "dataset"


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def edit(dataset: Path, column: str, change: Callable[[pa.Table], pa.Array]) -> None:
    """Change one column of a shard's metadata in an otherwise valid file."""
    path = dataset / "metadata" / f"{SHARD}.parquet"
    rows = read_table(path, METADATA)
    at = rows.schema.get_field_index(column)
    write_arrow_table(path, METADATA, rows.set_column(at, column, change(rows)))


def found(dataset: Path, *, repair: bool = False, deep: bool = False) -> list[tuple[str, str]]:
    findings = verify_dataset(dataset, repair=repair, deep=deep).findings
    return [(finding.where, finding.what) for finding in findings]


def test_a_whole_dataset_has_no_findings(whole: Path) -> None:
    """There are no findings, everything was checked, and progress reached the end."""
    seen: list[Progress] = []
    verification = verify_dataset(whole, deep=True, progress=seen.append)

    assert verification.findings == ()
    assert verification.checked == {"shards": 4, "samples": 24, "posts": 24}
    assert (seen[-1].done, seen[-1].total) == (24, 24)


def test_a_flipped_bit_is_found_and_the_picture_named(dataset: Path) -> None:
    """After one flipped bit, shard and key are named."""
    row = read_table(dataset / "metadata" / f"{SHARD}.parquet", METADATA).to_pylist()[2]
    flip(dataset / "data" / f"{SHARD}.tar", row["offset"] + row["size"] // 2)
    index = (dataset / "index" / f"{SHARD}.json").read_bytes()
    names = found(dataset, repair=True)

    assert [where for where, _ in names] == [f"data/{SHARD}.tar"] * 2
    assert names[0][1] == "has changed since it was written"
    assert names[1][1] == f"{row['key']}: the picture has changed"
    # The index is right, and is not adapted to the damaged shard.
    assert (dataset / "index" / f"{SHARD}.json").read_bytes() == index


def test_a_cut_shard_is_found(dataset: Path) -> None:
    """The size of a truncated shard is named, and the pictures that are gone."""
    path = dataset / "data" / f"{SHARD}.tar"
    path.write_bytes(path.read_bytes()[:3000])
    names = [what for where, what in found(dataset) if where == f"data/{SHARD}.tar"]

    assert names[0].startswith("has 3000 bytes instead of ")
    assert any("the picture is cut off" in what for what in names)


@pytest.mark.parametrize("folder", ["data", "index", "metadata"])
def test_a_missing_file_is_named(dataset: Path, folder: str) -> None:
    """A missing file of a shard is reported once, not once per sample."""
    next(iter((dataset / folder).glob(f"{SHARD}.*"))).unlink()
    names = found(dataset)

    assert any(where.startswith(f"{folder}/{SHARD}") for where, _ in names)
    assert len(names) <= 2


def test_indices_are_written_again(dataset: Path) -> None:
    """A wrong index is found, and repaired from its shard."""
    for name, content in ((f"{SHARD}.json", b"{}"), (f"{SHARD}.idx", b"v1.2 0\n")):
        (dataset / "index" / name).write_bytes(content)
    expected = {f"index/{SHARD}.json", f"index/{SHARD}.idx"}

    assert {where for where, _ in found(dataset)} == expected
    repaired = verify_dataset(dataset, repair=True).findings
    assert {finding.where for finding in repaired if finding.repaired} == expected
    assert found(dataset) == []


def test_f39_leftovers_are_removed_and_foreign_files_are_not(dataset: Path) -> None:
    """Temporary files of killed programs are removed; foreign files are named and kept."""
    (dataset / "data" / ".tmp-1-x").write_bytes(b"x")
    (dataset / "data" / "mine.tar").write_bytes(b"x")
    findings = {finding.where: finding.repaired for finding in verify_dataset(dataset, repair=True).findings}

    assert findings == {"data/.tmp-1-x": True, "data/mine.tar": False}
    assert (dataset / "data" / "mine.tar").exists()


def test_indices_that_readers_keep_beside_a_shard_are_no_findings(dataset: Path) -> None:
    """`energon prepare` writes data/NAME.tar.idx, and cheesechaser looks for data/NAME.json."""
    for tar in sorted((dataset / "data").glob("*.tar")):
        tar.with_name(f"{tar.name}.idx").write_bytes(b"x")
        tar.with_suffix(".json").write_bytes(b"{}")
    (dataset / "data" / "gone.tar.idx").write_bytes(b"x")

    assert [finding.where for finding in verify_dataset(dataset).findings] == ["data/gone.tar.idx"]


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("offset", lambda rows: pc.add(rows.column("offset"), 512), "offset and size are not those"),
        (
            "labels",
            lambda rows: pa.array([[0]] * rows.num_rows, pa.list_(pa.int32())),
            "labels and tags disagree",
        ),
        ("id", lambda rows: pc.add(rows.column("id"), 100), "is not the key of post"),
        ("sha256", lambda rows: pa.array(["0" * 64] * rows.num_rows), "another hash than its metadata"),
        ("key", lambda rows: pa.array(rows.column("key").to_pylist()[::-1]), "is at the position of"),
    ],
)
def test_tables_that_do_not_fit_their_shard(
    dataset: Path, column: str, change: Callable[[pa.Table], pa.Array], message: str
) -> None:
    """Each column of the metadata that readers rely on is compared with the shard."""
    edit(dataset, column, change)

    assert any(message in what for _, what in found(dataset))


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("rating", "explicit", "the JSON in the shard has another rating"),
        ("url", "https://example.org/x", "the JSON in the shard has another url"),
        ("source_md5", "0" * 32, "the JSON in the shard has another md5"),
        ("sha256", "0" * 64, "the picture has another hash than its metadata"),
    ],
)
def test_an_edited_table_is_told_from_an_edited_shard(
    dataset: Path, column: str, value: str, what: str
) -> None:
    """If the shard has the hash in the manifest, the finding names its table."""
    rows = read_table(dataset / "metadata" / f"{SHARD}.parquet", METADATA)
    edit(dataset, column, lambda rows: pa.array([value, *rows.column(column).to_pylist()[1:]]))

    assert found(dataset) == [(f"metadata/{SHARD}.parquet", f"{rows.column('key')[0]}: {what}")]


@pytest.mark.parametrize(
    ("column", "value"), [("group_id", 99), ("parent_id", 99), ("original_md5", "0" * 32), ("original_md5", "")]
)
def test_an_edit_of_what_stands_nowhere_else_is_found(dataset: Path, column: str, value: int | str) -> None:
    """The manifest's hash covers all values, and does not depend on how a program packs them."""
    path = dataset / "metadata" / f"{SHARD}.parquet"
    rows = read_table(path, METADATA)
    pq.write_table(rows, path, compression="none", row_group_size=2)
    packed_otherwise = found(dataset)
    kind = rows.schema.field(column).type
    edit(dataset, column, lambda rows: pa.array([*rows.column(column).to_pylist()[:-1], value], kind))

    assert packed_otherwise == []
    assert [where for where, _ in found(dataset)] == [f"metadata/{SHARD}.parquet"]
    assert found(dataset)[0][1] == "has values that differ from those written"


def test_a_renamed_tag_is_blamed_on_the_vocabulary(dataset: Path) -> None:
    """A single finding names the row of the vocabulary, and no table of a shard."""
    tags = list(read_vocabulary(dataset))
    tags[1] = type(tags[1])(name="renamed", category=tags[1].category, count=tags[1].count)
    write_vocabulary(dataset, tuple(tags))

    [(where, what)] = found(dataset)
    assert where == "tags.parquet"
    assert what.startswith("row 1 is 'renamed', but none of the ")


def test_counts_of_the_vocabulary(dataset: Path) -> None:
    """A tag's count is the number of training samples with that tag."""
    tags = read_vocabulary(dataset)
    write_vocabulary(
        dataset, (*tags[:-1], type(tags[-1])(name=tags[-1].name, category=tags[-1].category, count=99))
    )

    assert [where for where, _ in found(dataset)] == ["tags.parquet"]
    assert "counts 99 training pictures" in found(dataset)[0][1]


def test_sums_of_the_outcomes(dataset: Path) -> None:
    """The outcomes sum to the manifest's figures, and the stored posts are the samples."""
    rows = read_table(dataset / "outcomes.parquet", OUTCOMES)
    write_arrow_table(dataset / "outcomes.parquet", OUTCOMES, rows.slice(1))

    assert [what for _, what in found(dataset)] == [
        "its totals differ from the manifest's",
        "the stored posts differ from the pictures of the shards",
    ]


@pytest.mark.parametrize(
    ("file", "what", "is_repaired"),
    [
        ("outcomes.parquet", "is damaged: restore it from a copy, or build", False),
        ("survey.parquet", "is damaged: without it, the next build decodes", True),
    ],
)
def test_tables_that_are_none(dataset: Path, file: str, what: str, is_repaired: bool) -> None:
    """A damaged table is one finding with its consequence; survey.parquet can be made again and is removed."""
    (dataset / file).write_bytes(b"hello")

    [finding] = verify_dataset(dataset, repair=True).findings
    assert (finding.where, finding.repaired) == (file, is_repaired)
    assert finding.what.startswith(what)
    assert len(found(dataset)) == (not is_repaired)


def test_a_missing_card_is_written_again(dataset: Path) -> None:
    """Missing descriptions are written again with the same bytes; an edited card is kept."""
    croissant = (dataset / "croissant.json").read_bytes()
    (dataset / "croissant.json").unlink()
    (dataset / "README.md").write_text("edited")

    assert found(dataset) == [("croissant.json", "is missing")]
    assert verify_dataset(dataset, repair=True).findings[0].repaired
    assert found(dataset) == []
    assert (dataset / "croissant.json").read_bytes() == croissant
    assert (dataset / "README.md").read_text() == "edited"


def test_a_post_in_two_shards(dataset: Path) -> None:
    """A shard under another name would leak training pictures into the test split, and is found."""
    manifest = read_manifest(dataset)
    train, test = manifest.split("train")[0], manifest.split("test")[0]
    for ours, theirs in zip(_files(train.name), _files(test.name), strict=True):
        shutil.copy(dataset / ours, dataset / theirs)
    leaking = replace(train, name=test.name)
    shards = tuple(leaking if shard is test else shard for shard in manifest.shards)
    write_manifest(dataset, replace(manifest, shards=shards))

    assert any("is also in train-00000-of-00002" in what for _, what in found(dataset))


def _files(name: object) -> tuple[str, ...]:
    return tuple(getattr(name, field) for field in ("data", "index", "dali_index", "metadata"))


def test_directories_that_cannot_be_verified(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain folder, a newer dataset, a dataset without a vocabulary: one clear line each."""
    with pytest.raises(UsageError, match="does not exist"):
        verify_dataset(tmp_path / "none")
    with pytest.raises(SystemExit, match="2"):
        main(["verify", str(tmp_path / "none")])
    assert "none does not exist: give the folder of a store or a dataset" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(tmp_path)])
    said = "is not the folder of a store or a dataset: it has no store.json and no manifest.json"
    assert (ended.value.code, said in capsys.readouterr().err) == (2, True)
    (dataset / "tags.parquet").unlink()
    with pytest.raises(DamagedError, match=r"tags.parquet is missing"):
        verify_dataset(dataset)
    manifest = dataset / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(VersionError, match="has format version 2"):
        verify_dataset(dataset)
