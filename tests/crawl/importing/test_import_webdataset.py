"""WebDatasets: tar files with pictures and what describes them, also in the form of img2dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import webdataset

from alti2v.crawl.importing.sources.detect import recognise
from alti2v.crawl.importing.sources.item import Fault
from alti2v.crawl.importing.sources.tar_members import tar_members
from tests.crawl.importing.helpers.sources import md5, picture, posts, run, tags, tar, write
from tests.dataset.helpers.building import build
from tests.helpers.damage import flip


def dataset(folder: Path, samples: list[dict[str, Any]], *, maxcount: int = 4) -> Path:
    """Write samples with webdataset's own writer."""
    folder.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(f"{folder}/%05d.tar", maxcount=maxcount, verbose=0) as writer:
        for sample in samples:
            writer.write(sample)
    return folder


def test_samples_with_json_text_and_classes(tmp_path: Path) -> None:
    """Each picture has the tags of the members of its key, whatever their kind."""
    samples: list[dict[str, Any]] = [
        {"__key__": "a/000", "jpg": picture(0), "json": {"tags": {"general": ["1girl"], "artist": "some one"}}},
        {"__key__": "a/001", "png": picture(1, form="PNG"), "txt": "1girl, long hair"},
        {"__key__": "a/002", "jpg": picture(2), "cls": 7},
        {"__key__": "003", "jpg": picture(3), "json": {"id": 3, "tag_string": "1girl solo"}},
        {"__key__": "000000000004", "jpg": picture(4), "json": {"id": 4, "tags": ["x"], "rating": "explicit"}},
        {"__key__": "alone", "jpg": picture(5)},
        {"__key__": "empty", "json": {"id": 9, "tag_string": "1girl"}},
        {"__key__": "broken", "jpg": picture(6), "json": b"{"},
    ]
    source = dataset(tmp_path / "wds", samples)
    report = run(tmp_path / "store", source)
    rows = posts(tmp_path / "store").set_index("stored_md5")

    assert report.forms == {str(source): "webdataset"}
    assert (report.new, report.skipped) == (5, {"no_picture": 1, "no_tags": 1})
    assert report.failed == {"bad_metadata": 1}
    expected = [{"1girl", "some", "one"}, {"1girl", "long_hair"}, {"class_7"}, {"1girl", "solo"}, {"x"}]
    assert [
        tags(rows.loc[md5(picture(number, form="PNG" if number == 1 else "JPEG"))]) for number in range(5)
    ] == expected
    assert rows.id[md5(picture(3))] == 3
    assert rows.id[md5(picture(4))] == 4
    assert rows.fetched_url[md5(picture(0))] == "wds/00000.tar/a/000.jpg"
    assert run(tmp_path / "store", source).known == 5


def test_the_form_of_img2dataset(tmp_path: Path) -> None:
    """Captions become tags, failures of img2dataset are counted, and its hash of the original is not compared.

    The layout is that of img2dataset 1.47.0 with compute_hash and resize_mode keep_ratio.
    """
    shared = {"status": "success", "error_message": None, "original_width": 420, "original_height": 208}
    facts = [
        {"caption": f"frog, tag number {n}", "url": f"http://host.example/{n}.jpg", "key": f"{n:06}", **shared}
        for n in range(5)
    ]
    for fact in facts:
        fact |= {"width": 48, "height": 48, "exif": "{}", "md5": "0" * 32}
    facts[3] |= {"status": "failed_to_download", "error_message": "HTTP Error 404"}
    samples = [
        {"__key__": fact["key"], "jpg": picture(n), "json": fact, "txt": fact["caption"]}
        for n, fact in enumerate(facts)
        if fact["status"] == "success"
    ]
    source = dataset(tmp_path / "out", samples, maxcount=100)
    pd.DataFrame(facts).to_parquet(source / "00000.parquet")
    write(source, {"00000_stats.json": {"count": 5, "successes": 4}})
    report = run(tmp_path / "store", source)
    rows = posts(tmp_path / "store")

    assert (report.items, report.new, report.skipped) == (5, 4, {"no_picture": 1})
    assert {frozenset(tags(row)) for _, row in rows.iterrows()} == {
        frozenset({"frog", f"tag_number_{n}"}) for n in (0, 1, 2, 4)
    }
    assert set(rows.file_url) == {f"http://host.example/{n}.jpg" for n in (0, 1, 2, 4)}


def test_one_tar_file_with_damage(tmp_path: Path) -> None:
    """Samples before the damage are imported; the rest of the file is one failure."""
    members = {
        f"{n}.{kind}": picture(n) if kind == "jpg" else b"1girl" for n in range(3) for kind in ("jpg", "txt")
    }
    file = tar(tmp_path / "one.tar", members)
    file.write_bytes(file.read_bytes()[: -len(file.read_bytes()) // 3])
    report = run(tmp_path / "store", file)

    assert 0 < report.new < 3
    assert report.failed == {"unreadable": 1}


def test_a_damaged_header_inside_a_tar_file_is_told(tmp_path: Path) -> None:
    """Python's tar module takes a damaged header for the end of the file: the rest is one failure."""
    file = tar(tmp_path / "one.tar", {f"{n}.{kind}": b"x" * n for n in range(3) for kind in ("jpg", "txt")})
    flip(file, file.read_bytes().index(b"2.jpg"), mask=0xFF)
    *sound, last = tar_members(file)

    assert [one.name for one in sound if not isinstance(one, Fault)] == ["0.jpg", "0.txt", "1.jpg", "1.txt"]
    assert isinstance(last, Fault)
    assert "is damaged at byte 3,072" in last.message


def test_our_own_dataset_is_a_webdataset(tmp_path: Path) -> None:
    """Shards of `build-shards` are recognised, and their pictures keep their ids and tags."""
    files = {
        f"{n}.{kind}": picture(n) if kind == "jpg" else f"1girl, tag{n % 3}"
        for n in range(20)
        for kind in ("jpg", "txt")
    }
    run(tmp_path / "store", write(tmp_path / "source", files))
    build(tmp_path / "store", tmp_path / "dataset", size=32)
    report = run(tmp_path / "again", tmp_path / "dataset" / "data")

    assert recognise(tmp_path / "dataset" / "data", store=tmp_path) == "webdataset"
    assert report.new == 20
    assert {frozenset(tags(row)) for _, row in posts(tmp_path / "again").iterrows()} == {
        frozenset({"1girl", f"tag{n}"}) for n in range(3)
    }
    assert json.loads((tmp_path / "again" / "store.json").read_text())["board"] == "import"


def test_a_linked_folder_of_tar_files_is_counted(tmp_path: Path) -> None:
    """A link to a folder is one failed item; the tar files in it are not read."""
    for place in ("dataset", "elsewhere"):
        tar(tmp_path / place / "0.tar", {f"{place}.jpg": picture(len(place)), f"{place}.txt": b"1girl"})
    (tmp_path / "dataset" / "linked").symlink_to(tmp_path / "elsewhere")
    report = run(tmp_path / "store", tmp_path / "dataset")

    assert (report.new, report.failed) == (1, {"link": 1})
