"""A store or dataset that somebody else made is read and never obeyed: no request, no write, no code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alti2v.dataset.check.verify import verify_dataset
from alti2v.dataset.engines.local import local_engine
from alti2v.dataset.manifest import read_manifest
from alti2v.dataset.reading import read_sample
from alti2v.dataset.remove import remove_pictures
from alti2v.dataset.shard_cache import hold, is_cache
from alti2v.errors import DamagedError, UsageError
from alti2v.storage.columns import DATASET_TAGS, METADATA, OUTCOMES
from alti2v.storage.directory import exclusive
from alti2v.storage.remote import open_remote
from alti2v.storage.table import read_table, write_arrow_table
from alti2v.storage.tar import OpenTar
from tests.dataset.helpers.engine_tasks import squared
from tests.foreign.helpers.commands import READING, exit_status, unchanged

SHADOWED = ("json", "queue", "numpy")


@pytest.fixture
def here(original: Path, tmp_path: Path) -> Path:
    """A copy of the store and the dataset, beside a folder of somebody's own files."""
    shutil.copytree(original, tmp_path / "here")
    (tmp_path / "outside").mkdir()
    return tmp_path / "here"


def test_a_dataset_that_calls_itself_a_cache_is_none(here: Path) -> None:
    """A cache.json that came with a dataset has no shard deleted or downloaded."""
    dataset = here / "dataset"
    (dataset / "cache.json").write_text(json.dumps({"url": "memory://evil", "bytes": 0}))

    with unchanged(dataset):
        for shard in read_manifest(dataset).shards:
            hold(dataset, shard)
    assert not is_cache(dataset)


@pytest.mark.parametrize(
    "url",
    [
        "reference::http://127.0.0.1/x",
        "reference://x",
        "simplecache::s3://b/x",
        "dask://x",
        "local://x",
        "zip://x::file",
    ],
)
def test_only_plain_urls_are_opened(url: str) -> None:
    """File systems that interpret what they read, and chains of them, are refused in a line."""
    with pytest.raises(UsageError, match="is not a URL that alti2v can open"):
        open_remote(url)


@pytest.mark.parametrize("module", SHADOWED)
def test_modules_in_the_current_folder_do_not_run(here: Path, module: str) -> None:
    """Neither the command, nor its decoders, nor its workers import from where they are started."""
    evil = here / "evil"
    evil.mkdir()
    (evil / f"{module}.py").write_text(f"open({str(evil / 'ran')!r}, 'a').close()\n")
    options = ["--size", "32", "--test", "6", "--validation", "4", "--workers", "2"]
    command = [sys.executable, "-P", "-m", "alti2v", "build-shards", here / "pictures", here / "new", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=evil,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert not (evil / "ran").exists()


def _names(folder: Path) -> list[Path]:
    """Every file and folder of a store or dataset, as paths relative to it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def test_open_workers_leave_the_environment_alone() -> None:
    """Other programs that this process starts meanwhile import as they always did."""
    before = dict(os.environ)

    with local_engine(2) as run:
        assert sorted(result for _, result in run(squared, range(4))) == [0, 1, 4, 9]
        assert dict(os.environ) == before


@pytest.mark.parametrize("kind", ["store", "dataset"])
def test_links_out_of_a_folder_are_refused(here: Path, kind: str) -> None:
    """Whichever name is a link, no reading command follows it, and nothing changes where it leads."""
    outside = here.parent / "outside"
    folder = here / kind
    for number, name in enumerate(_names(folder)):
        target = outside / f"{number}{name.suffix}"
        shutil.move(folder / name, target)
        (folder / name).symlink_to(target)
        with unchanged(outside):
            statuses = {command: exit_status(*command, folder) for command in READING[kind]}
        (folder / name).unlink()
        shutil.move(target, folder / name)

        assert set(statuses.values()) <= {2, 4}, name


def test_a_lock_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    """The file that it names keeps its bytes."""
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "mine")

    with pytest.raises(Exception, match="symbolic link"), exclusive(tmp_path, "lock"):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_tar_that_is_a_link_is_not_cut_back(tmp_path: Path) -> None:
    """Nor is one made behind a link that leads nowhere."""
    (tmp_path / "mine").write_bytes(bytes(4096))
    for target in ("mine", "nowhere"):
        link = tmp_path / f"link-{target}"
        link.symlink_to(tmp_path / target)
        with pytest.raises(Exception, match=r"symbolic link|name exists"):
            OpenTar(link, committed=0)

    assert (tmp_path / "mine").stat().st_size == 4096
    assert not (tmp_path / "nowhere").exists()


def test_files_of_the_user_survive_a_removal(here: Path) -> None:
    """Only files with the names of shards are ever removed from a dataset; `verify` names the others."""
    dataset = here / "dataset"
    mine = [
        dataset / "data" / "notes.txt",
        dataset / "index" / "my.json",
        dataset / "metadata" / "extra.parquet",
    ]
    for path in mine:
        path.write_text("mine")
    first = (
        read_table(next((dataset / "metadata").glob("train-*.parquet")), METADATA).column("id").to_numpy()[:1]
    )

    remove_pictures(dataset, first)

    assert all(path.read_text() == "mine" for path in mine)
    assert {finding.where for finding in verify_dataset(dataset).findings} == {
        str(path.relative_to(dataset)) for path in mine
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            ("key", "../../../../evil"),
            ("offset", -5),
            ("size", 10**10),
            ("size", 0),
            ("id", -1),
            ("id", 10**12),
        ),
        *(("labels", [-1]), ("labels", [10**6])),
    ],
)
def test_rows_that_no_program_writes_are_damage(here: Path, column: str, value: Any) -> None:
    """They never become the name of a tar member, the range of a read or the index of a tag."""
    dataset = here / "dataset"
    file = next((dataset / "metadata").glob("train-*.parquet"))
    rows = read_table(file, METADATA)
    keep = rows.column("id").to_numpy()[-1:]
    values = rows.column(column).to_pylist()
    values[0] = value
    index = rows.column_names.index(column)
    write_arrow_table(
        file, METADATA, rows.set_column(index, column, pa.array(values, rows.schema.types[index]))
    )

    if column in ("offset", "size"):
        with pytest.raises(DamagedError, match=file.name):
            read_sample(dataset, rows.column("id")[0].as_py())
    if column != "labels":
        with pytest.raises(DamagedError, match=file.name):
            remove_pictures(dataset, keep)
    assert exit_status("verify", dataset) == 4
    assert exit_status("stats", dataset) == (0 if column == "key" else 4)  # it reads no keys


def test_a_table_of_billions_of_rows_is_not_read(here: Path) -> None:
    """The manifest says how many there are, and a table of tags may not unpack to gigabytes."""
    dataset = here / "dataset"
    for file, table in ((dataset / "tags.parquet", DATASET_TAGS), (dataset / "outcomes.parquet", OUTCOMES)):
        kept = file.read_bytes()
        rows = pa.concat_tables([read_table(file, table)] * 60_000).combine_chunks()
        pq.write_table(rows, file, compression="zstd", row_group_size=1 << 30)
        assert file.stat().st_size < 10_000_000
        assert exit_status("verify", dataset) == 4
        file.write_bytes(kept)


def test_a_lock_with_other_content_is_not_emptied(tmp_path: Path) -> None:
    """A hard link in place of the lock could name any file of the user."""
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "lock").hardlink_to(tmp_path / "mine")

    with pytest.raises(UsageError, match="not a lock"), exclusive(tmp_path, "lock"):
        pass
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("kind", ["store", "dataset"])
def test_pipes_in_a_folder_are_refused(here: Path, kind: str) -> None:
    """Pipes are refused at once; no command waits for bytes from them."""
    for file in sorted(path for path in (here / kind).rglob("*") if path.is_file()):
        kept = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        statuses = {command: exit_status(*command, here / kind) for command in READING[kind]}
        file.unlink()
        file.write_bytes(kept)

        assert set(statuses.values()) == {2}, file


def test_copies_that_the_user_left_in_a_store_are_passed_over(here: Path) -> None:
    """`images-old.tar` and `posts-old.parquet` are not parts of the store."""
    store = here / "store"
    shutil.copy(next((store / "images").glob("*.tar")), store / "images" / "images-old.tar")
    shutil.copy(next((store / "posts").glob("*.parquet")), store / "posts" / "posts-old.parquet")

    assert [exit_status(*command, store) for command in READING["store"]] == [0, 0]
    (store / "crawl.sqlite").unlink()
    assert exit_status("verify", store, "--repair") == 0
    assert exit_status("verify", store) == 0


@pytest.mark.parametrize(
    "code",
    [
        "CREATE TRIGGER evil AFTER UPDATE ON posts BEGIN DELETE FROM posts; END",
        "CREATE VIEW evil AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i FROM n) SELECT i FROM n",
    ],
)
def test_a_ledger_with_code_in_it_is_no_ledger(here: Path, code: str) -> None:
    """Triggers and views would run inside our own statements."""
    with contextlib.closing(sqlite3.connect(here / "store" / "crawl.sqlite")) as ledger:
        ledger.execute(code)
        ledger.commit()

    assert exit_status("status", here / "store") == 4
    assert exit_status("verify", here / "store") == 4
    assert exit_status("verify", here / "store", "--repair") == 0
    assert exit_status("status", here / "store") == 0


def test_folders_within_folders_are_read_to_their_end(here: Path) -> None:
    """Thousands of levels fit into one path, and Python calls no function so deep."""
    deep = here / "dataset" / "data"
    for _ in range(1_100):
        deep = deep / "x"
        deep.mkdir()

    assert exit_status("stats", here / "dataset") == 0
    assert exit_status("verify", here / "dataset") in (0, 4)
    deep.rmdir()
    deep.symlink_to(here)
    assert exit_status("stats", here / "dataset") == 2
    deep.unlink()
    for _ in range(1_099):
        deep = deep.parent
        deep.rmdir()


def test_a_manifest_without_one_of_its_fields_is_damage(here: Path) -> None:
    """Every version writes all of them: a default would hide that somebody else wrote it."""
    file = here / "dataset" / "manifest.json"
    manifest = json.loads(file.read_bytes())
    for name in manifest.keys() - {"kind", "version"}:
        file.write_text(json.dumps({key: value for key, value in manifest.items() if key != name}))
        with pytest.raises(DamagedError, match=name):
            read_manifest(here / "dataset")


def test_sparse_files_of_a_dataset_are_not_read_whole(here: Path) -> None:
    """A file of 8 TiB without content costs its author nothing."""
    dataset = here / "dataset"
    files = ("manifest.json", "tags.parquet", "index/*.json", "index/*.idx", "metadata/*.parquet", "data/*.tar")
    for name in files:
        file = next(dataset.glob(name))
        kept = file.read_bytes()
        with file.open("wb") as sparse:
            sparse.truncate(8 << 40)
        assert exit_status("verify", dataset) == 4, name
        assert exit_status("stats", dataset) in (0, 4), name
        file.write_bytes(kept)
