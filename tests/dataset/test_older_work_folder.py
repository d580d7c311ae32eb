"""Working files of another version of the program, or damaged ones, are made again; a full disk is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alti2v.dataset import planned_version
from alti2v.dataset.planned_version import PlannedVersion
from alti2v.storage.layout import WORK_DIR
from tests.dataset.helpers.building import build, digests
from tests.dataset.helpers.tiny_store import tiny_posts, write_store


@pytest.fixture
def half_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, a whole dataset of it, and one that ended after its shards were written."""
    store = write_store(tmp_path / "store", tiny_posts(16), posts_per_tar=8)
    build(store, tmp_path / "whole")

    def written(plan: PlannedVersion) -> None:
        list(planned_version._write_shards(plan.specs, 0, plan.preparation))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alti2v.dataset.build.write_and_publish", written)
        with pytest.raises(KeyboardInterrupt):
            build(store, tmp_path / "half")
    return tmp_path


def test_receipts_of_other_versions_are_no_receipts(half_built: Path) -> None:
    """Whatever they hold: nothing, a list, other fields, other types; the dataset is the same."""
    receipts = sorted((half_built / "half" / WORK_DIR).glob("*.receipt.json"))
    others = (b"", b"[]", b"{", *(json.dumps(other).encode() for other in _other_receipts(receipts[0])))
    for number, receipt in enumerate(receipts * 3):
        if number < len(others):
            receipt.write_bytes(others[number])
    build(half_built / "store", half_built / "half")

    assert len(receipts) >= 2
    assert digests(half_built / "half") == digests(half_built / "whole")


def _other_receipts(receipt: Path) -> list[object]:
    content = json.loads(receipt.read_bytes())
    return [{}, {**content, "rows": 1}, {**content, "samples": "9"}, {"plan_hash": content["plan_hash"]}]


def test_tables_of_other_versions_are_made_again(half_built: Path) -> None:
    """Of prepared pictures and of shards: with another version, other columns, or cut off."""
    work = half_built / "half" / WORK_DIR
    for receipt in work.glob("*.receipt.json"):
        receipt.unlink()
    tables = sorted(work.rglob("*.parquet"))
    for number, table in enumerate(tables):
        if number % 3 == 0:
            table.write_bytes(table.read_bytes()[:-20])
        elif number % 3 == 1:
            pq.write_table(pa.table({"id": [1]}), table)
        else:
            rows = pq.read_table(table)
            version = {b"alti2v.format_version": b"0"}
            pq.write_table(rows.replace_schema_metadata({**rows.schema.metadata, **version}), table)
    build(half_built / "store", half_built / "half")

    assert len(tables) >= 6
    assert digests(half_built / "half") == digests(half_built / "whole")


FULL = """
import resource, sys
from alti2v.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))  # as on a full disk, each write beyond is refused
sys.exit(main(["build-shards", sys.argv[1], sys.argv[2], "--size", "32", "--test", "4", "--validation", "2"]))
"""


def test_a_disk_that_fills_up_while_sorting_is_told_in_one_line(tmp_path: Path) -> None:
    """The command ends with status 1 and one line; with room, the same command makes the dataset."""
    store = write_store(tmp_path / "store", tiny_posts(16), posts_per_tar=8)
    command = [sys.executable, "-c", FULL, str(store), str(tmp_path / "dataset")]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert f"cannot write {tmp_path / 'dataset'}" in done.stderr
    assert not list((tmp_path / "dataset").rglob("*.parquet"))
    build(store, tmp_path / "dataset")
    build(store, tmp_path / "whole")
    assert digests(tmp_path / "dataset") == digests(tmp_path / "whole")
