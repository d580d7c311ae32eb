"""Pictures that stay in the tar files of others: the store gets hard links, and every picture is compared."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.importer import import_pictures
from alti2v.crawl.verify import verify_store
from alti2v.errors import UsageError
from tests.crawl.importing.helpers.killed import COUNT, interrupted, table, wds
from tests.crawl.importing.helpers.sources import content, picture, posts, run, write
from tests.dataset.helpers.building import build


def referenced(store: Path, source: Path, pictures: Path | None, **options: object) -> None:
    """Import by reference; every picture is new or known."""
    report = run(store, source, pictures=pictures, by_reference=True, **options)

    assert report.new + report.known == COUNT


def test_nothing_is_copied_and_everything_works(tmp_path: Path) -> None:
    """The store has no tar file of its own, and later commands give what they give for a copied store."""
    source, pictures = table(tmp_path)
    assert pictures is not None
    before = {file: file.read_bytes() for file in pictures.iterdir()}
    referenced(tmp_path / "linked", source, pictures)
    run(tmp_path / "copied", source, pictures=pictures)
    images = sorted((tmp_path / "linked" / "images").iterdir())

    assert [file.name for file in images] == [f"linked-50000{number}.tar" for number in range(3)]
    assert {file.stat().st_ino for file in images} == {file.stat().st_ino for file in pictures.glob("*.tar")}
    facts = content(tmp_path / "linked").drop(columns="fetched_url")
    assert facts.equals(content(tmp_path / "copied").drop(columns="fetched_url"))
    assert verify_store(tmp_path / "linked").checked["pictures"] == COUNT
    assert verify_store(tmp_path / "linked").findings == ()
    one, other = (build(tmp_path / name, tmp_path / f"dataset {name}") for name in ("linked", "copied"))
    assert one.plan_hash == other.plan_hash
    assert {file: file.read_bytes() for file in pictures.iterdir()} == before


def test_running_again_links_nothing_twice(tmp_path: Path) -> None:
    """A tar file that is linked already, also by a killed import, keeps its number; new ones get the next."""
    source, _ = wds(tmp_path)
    referenced(tmp_path / "store", source, None)
    referenced(tmp_path / "store", source, None)

    assert len(list((tmp_path / "store" / "images").iterdir())) == COUNT // 20


def test_killed_while_linking(tmp_path: Path) -> None:
    """A kill between the link and its record leaves no second link."""
    source, pictures = table(tmp_path)
    point = ("alti2v.crawl.store.ledger.tars", "TarTable", "set", "before", 2)
    returned = interrupted(tmp_path / "store", source, point, pictures=pictures, by_reference=True)
    assert returned == -signal.SIGKILL
    referenced(tmp_path / "store", source, pictures)
    referenced(tmp_path / "whole", source, pictures)

    pd.testing.assert_frame_equal(content(tmp_path / "store"), content(tmp_path / "whole"))
    assert verify_store(tmp_path / "store").findings == ()


def test_a_file_that_was_changed_in_place_is_found(tmp_path: Path) -> None:
    """`verify` names the picture, a build leaves it out, and a repair waits for another import."""
    source, pictures = table(tmp_path)
    assert pictures is not None
    store = tmp_path / "store"
    referenced(store, source, pictures)
    rows = posts(store).set_index("id")
    offset, number = int(rows.offset[7]), int(rows.tar[7]) - 500_000
    with (pictures / f"{number}.tar").open("rb+") as file:
        file.seek(offset + 100)
        file.write(b"\xff" * 50)
    report = build(store, tmp_path / "dataset")
    (finding,) = verify_store(store, repair=True).findings

    assert finding.where == f"images/linked-50000{number}.tar: 000000000007"
    assert sum(count for name, count in report.outcomes.items() if "damaged" in name) == 1
    assert posts(store).set_index("id").status[7] == "pending"
    with (pictures / f"{number}.tar").open("rb+") as file:
        file.seek(offset)
        file.write(picture(7))
    assert run(store, source, pictures=pictures, by_reference=True).new == 1
    assert verify_store(store).findings == ()


def test_a_tar_that_was_cut_costs_a_build_its_lost_pictures_only(tmp_path: Path) -> None:
    """The others become samples; the lost ones are counted, named in one line, and taken once they are back."""
    source, pictures = table(tmp_path)
    assert pictures is not None
    store, tar = tmp_path / "store", pictures / "1.tar"
    referenced(store, source, pictures)
    whole = tar.read_bytes()
    os.truncate(tar, len(whole) // 2)
    rows = posts(store)
    ends = (rows.offset + rows["size"])[rows.tar == 500_001].to_numpy()
    lost = int((ends > len(whole) // 2).sum())
    command = [str(store), str(tmp_path / "dataset"), "--test=2", "--validation=2", "--size=32", "--json"]
    build_command = [sys.executable, "-m", "alti2v", "build-shards", *command]
    cut = subprocess.run(build_command, capture_output=True, text=True, check=False)

    assert 0 < lost < COUNT // 3
    assert cut.returncode == 0
    assert json.loads(cut.stdout)["outcomes"] == {"stored": COUNT - lost, "dropped damaged": lost} | {
        "dropped no_picture": 10
    }
    (line,) = [line for line in cut.stderr.splitlines() if "dropped as damaged" in line]
    assert f"{lost} pictures differ from what was stored" in line
    tar.write_bytes(whole)
    again = subprocess.run(build_command, capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["outcomes"]["stored"] == COUNT


def test_a_rebuilt_ledger_knows_the_links(tmp_path: Path) -> None:
    """The links are found again without the ledger, and a lost one makes its posts pending."""
    source, pictures = table(tmp_path)
    store = tmp_path / "store"
    referenced(store, source, pictures)
    before = content(store)
    for file in store.glob("crawl.sqlite*"):
        file.unlink()
    verify_store(store, repair=True)

    assert content(store).equals(before)
    assert verify_store(store).findings == ()
    (store / "images" / "linked-500001.tar").unlink()
    assert verify_store(store, repair=True).findings
    referenced(store, source, pictures)
    assert verify_store(store).findings == ()


def test_what_cannot_be_linked_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of files, other file systems, and links are no case for --by-reference."""
    folder = write(tmp_path / "folder", {"a.jpg": picture(1), "a.txt": "1girl"})
    with pytest.raises(UsageError, match="has no tar files: leave out --by-reference"):
        run(tmp_path / "store", folder, by_reference=True)
    source, pictures = table(tmp_path)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(UsageError, match="put the store on the same file system, or leave out --by-reference"):
        import_pictures(
            ImportConfig(store=tmp_path / "store", sources=(source,), pictures=pictures, by_reference=True)
        )
