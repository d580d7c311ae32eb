"""Tables of posts, with pictures in folders or in tar files, or without any."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.crawl.importing.sources.item import Fault
from alti2v.crawl.importing.sources.rows import table_columns, table_rows
from alti2v.crawl.verify import verify_store
from alti2v.errors import DataError, UsageError
from alti2v.storage.tar import json_index, members
from tests.crawl.importing.helpers.sources import content, md5, picture, posts, run, tags, tar, write


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of a flat index table, as those of deepghs: tags with spaces around them."""
    return [
        {
            "id": 100 + number,
            "tags": f" 1girl tag_{number} ",
            "rating": "s",
            "width": 48,
            "height": 48,
            "mimetype": "image/jpeg",
            "file_url": f"https://board.example/{number}.jpg",
        }
        for number in range(count)
    ]


def danbooru_rows(count: int) -> list[dict[str, Any]]:
    """Rows of Danbooru's posts.json."""
    return [
        {
            "id": 1_234_000 + number,
            "md5": md5(picture(number)),
            "tag_string": f"1girl artist_{number}",
            "tag_string_general": "1girl",
            "tag_string_artist": f"artist_{number}",
            "tag_string_character": "",
            "tag_string_copyright": "",
            "tag_string_meta": "",
            "rating": "s",
            "score": number,
            "file_ext": "jpg",
            "image_width": 48,
            "image_height": 48,
            "created_at": "2021-03-04T05:06:07.000-05:00",
            "is_deleted": number == 1,
        }
        for number in range(count)
    ]


def index(path: Path) -> None:
    """Write the index of hfutils; compared by hand, hfutils 0.13.0 wrote the same object for a tar file."""
    path.with_suffix(".json").write_text(json.dumps(json_index(path, list(members(path)))))


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tar files with indexes, named by id."""
    for number in range(3):
        some = {f"{100 + each}.jpg": picture(each) for each in range(number, 12, 3)}
        index(tar(tmp_path / "images" / f"000{number}.tar", some))
    return tmp_path / "images"


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_table_with_a_folder_of_pictures(tmp_path: Path, kind: str) -> None:
    """Whatever the kind of table, each row has its picture, found by its id, or one outcome without."""
    table = tmp_path / f"index.{kind}"
    frame = pd.DataFrame(rows(10))
    if kind == "parquet":
        frame.to_parquet(table)
    elif kind == "csv":
        frame.to_csv(table, index=False)
    else:
        frame.to_json(table, orient="records", lines=True)
    pictures = write(tmp_path / "p", {f"{100 + number}.jpg": picture(number) for number in range(8)})
    report = run(tmp_path / "store", table, pictures=pictures)
    found = posts(tmp_path / "store").set_index("id")

    assert (report.items, report.new, report.skipped) == (10, 8, {"no_picture": 2})
    assert report.forms == {str(table): "table"}
    for number in range(10):
        row = found.loc[100 + number]
        assert row.status == ("stored" if number < 8 else "skipped")
        assert tags(row) == {"1girl", f"tag_{number}"}
        assert (row.rating, row.file_ext) == ("general", "jpg")
    assert verify_store(tmp_path / "store").findings == ()


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "json"])
def test_metadata_of_danbooru(tmp_path: Path, kind: str) -> None:
    """Pictures are at 0123/ID.ext, tags have categories, ratings are Danbooru's, and MD5s are compared."""
    source, table = tmp_path / "danbooru", tmp_path / "danbooru" / "metadata" / f"posts000.{kind}"
    listed = danbooru_rows(6)
    files = {f"original/{row['id'] % 1000:04}/{row['id']}.jpg": picture(n) for n, row in enumerate(listed[:5])}
    files["original/0002/1234002.jpg"] = picture(77)
    write(source, {**files, "metadata/tags.csv": "name,category\n1girl,0\n"})
    if kind == "parquet":
        pd.DataFrame(listed).to_parquet(table)
    else:
        table.write_text("\n".join(map(json.dumps, listed)))
    report = run(tmp_path / "store", source)
    found = posts(tmp_path / "store").set_index("id")

    assert report.forms == {str(source): "danbooru"}
    assert (report.new, report.skipped, report.failed) == (4, {"no_picture": 1}, {"md5_mismatch": 1})
    row = found.loc[1_234_003]
    assert (list(row.tags_artist), list(row.tags_general)) == (["artist_3"], ["1girl"])
    assert (row.rating, row.score, str(row.created_at)) == ("sensitive", 3, "2021-03-04 10:06:07+00:00")
    assert found.board_status[1_234_001] == "deleted"
    assert found.fetched_url[1_234_003] == "danbooru/original/0003/1234003.jpg"


@pytest.mark.parametrize("is_beside", [True, False])
def test_tars_with_indexes(tars: Path, tmp_path: Path, is_beside: bool) -> None:
    """Pictures come out of the tar files by their places in the index, and are compared with its SHA-256."""
    table = (tars if is_beside else tmp_path) / "index.parquet"
    pd.DataFrame(rows(12)).to_parquet(table)
    report = run(tmp_path / "store", tars if is_beside else table, pictures=None if is_beside else tars)
    found = posts(tmp_path / "store").set_index("id")

    assert list(report.forms.values()) == ["tars" if is_beside else "table"]
    assert (report.items, report.new) == (12, 12)
    assert dict(found.stored_md5) == {100 + number: md5(picture(number)) for number in range(12)}
    assert found.fetched_url[104] == "images/0001.tar/104.jpg"


@pytest.mark.parametrize("in_tars", [False, True])
@pytest.mark.parametrize("is_option", [True, False])
def test_links_to_folders_are_followed_in_the_option_only(
    tmp_path: Path, is_option: bool, in_tars: bool
) -> None:
    """`--pictures` may be spread over disks by links; in a SOURCE, a link to a folder or a file is counted."""
    disk, folder = tmp_path / "disk", tmp_path / "source"
    if in_tars:
        tar(disk / "inside" / "0.tar", {"1.jpg": picture(1)})
        tar(folder / "1.tar", {"2.jpg": picture(2)})
        (disk / "inside" / "back").symlink_to(folder)
    else:
        write(disk, {"1001.jpg": picture(1)})
        write(folder, {"0002/1002.jpg": picture(2)})
        (folder / "0002" / "2002.jpg").symlink_to(disk / "1001.jpg")
    (folder / ("link" if in_tars else "0001")).symlink_to(disk)
    table = (tmp_path if is_option else folder) / "posts.parquet"
    first = 1 if in_tars else 1001
    ids = [first, first + 1] if in_tars else [1001, 1002, 2002]
    pd.DataFrame({"id": ids, "tags": "1girl"}).to_parquet(table)
    report = run(tmp_path / "store", table if is_option else folder, pictures=folder if is_option else None)

    assert report.new == (2 if is_option else 1)
    of_files = 0 if in_tars else 1
    assert report.failed.get("link", 0) == (1 if in_tars or not is_option else 0) + of_files


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_member_of_the_same_name_is_no_picture_without_tags(tmp_path: Path, is_indexed: bool) -> None:
    """`1.png` in two folders or tar files: the row describes the first, and the other counts as repeated."""
    images = tmp_path / "images"
    for name, members_of in {
        "0.tar": {"a/1.png": picture(1), "b/1.png": picture(2), "7.png": picture(7)},
        "1.tar": {"1.png": picture(3)},
    }.items():
        path = tar(images / name, members_of)
        if is_indexed:
            path.with_suffix(".json").write_text(json.dumps(json_index(path, list(members(path)))))
    pd.DataFrame([{"id": 1, "tags": "1girl"}]).to_parquet(tmp_path / "index.parquet")
    report = run(tmp_path / "store", tmp_path / "index.parquet", pictures=images)

    assert (report.new, report.skipped) == (1, {"repeated_id": 2, "no_tags": 1})
    assert list(posts(tmp_path / "store").stored_md5) == [md5(picture(1))]


def test_bad_tars_and_indexes(tars: Path, tmp_path: Path) -> None:
    """Without a usable index the headers are read; damage, links and pictures without a row are counted."""
    (tars / "0000.json").unlink()
    (tars / "0001.json").write_text((tars / "0002.json").read_text().replace('"filesize": ', '"filesize": 1'))
    document = json.loads((tars / "0002.json").read_text())
    document["files"]["102.jpg"]["sha256"] = hashlib.sha256(b"other").hexdigest()
    (tars / "0002.json").write_text(json.dumps(document))
    extra = tar(tars / "0003.tar", {"1000.jpg": picture(50), "1001.jpg": picture(51)})
    extra.write_bytes(extra.read_bytes()[:1_500])
    (tars / "0004.tar").write_bytes(b"not a tar file" * 100)
    (tars / "0005.tar").symlink_to("0000.tar")
    pd.DataFrame(rows(11)).to_parquet(tmp_path / "index.parquet")
    report = run(tmp_path / "store", tmp_path / "index.parquet", pictures=tars)

    assert (report.new, report.skipped) == (10, {"no_tags": 1})
    assert report.failed == {"sha256_mismatch": 1, "unreadable": 2, "link": 1}


def test_an_index_that_points_outside_its_tar_is_not_believed(tars: Path, tmp_path: Path) -> None:
    """Negative, huge and overlapping places read nothing that is not the picture of the row."""
    document = json.loads((tars / "0000.json").read_text())
    for name, place in (("100.jpg", (-512, 100)), ("103.jpg", (0, 1 << 62)), ("106.jpg", (True, "1"))):
        broken = json.loads(json.dumps(document))
        broken["files"][name] |= {"offset": place[0], "size": place[1]}
        (tars / "0000.json").write_text(json.dumps(broken))
        pd.DataFrame(rows(12)).to_parquet(tmp_path / "index.parquet")
        report = run(tmp_path / f"store {name}", tmp_path / "index.parquet", pictures=tars)

        assert (report.new, report.failed) == (12, {})


def test_a_table_alone_is_listed_and_gets_its_pictures_later(tars: Path, tmp_path: Path) -> None:
    """Rows without pictures are skipped posts; with --pictures the next import stores them."""
    table = tmp_path / "index.parquet"
    pd.DataFrame(rows(12)).to_parquet(table)
    store = tmp_path / "store"
    first, second = run(store, table), run(store, table, pictures=tars)

    assert (first.new, first.skipped, first.listed) == (0, {"no_picture": 12}, 12)
    assert (second.new, second.listed) == (12, 12)
    run(tmp_path / "direct", table, pictures=tars)
    assert content(store).equals(content(tmp_path / "direct"))


def test_rows_that_are_no_posts(tmp_path: Path) -> None:
    """Rows without id, with a repeated one, and lines that are damaged, have one outcome each."""
    lines = [
        *map(json.dumps, rows(3)),
        json.dumps(rows(1)[0]),
        json.dumps({"tags": "a b"}),
        json.dumps({"id": -4, "tags": "a b"}),
        json.dumps({"id": 10**15, "tags": "a"}),
        json.dumps({"id": "104", "tags": "a"}),
        "{",
        "[1]",
        "[" * 100_000,
        '{"id": ' + "9" * 5_000 + "}",
        '{"id": 7, "tags": "' + "a" * (3 << 20) + '"}',
        json.dumps(
            {"id": 8, "tags": "a b", "rating": [1], "score": {}, "source": ["x"], "md5": 5, "width": -1}
        ),
    ]
    table = tmp_path / "posts.jsonl"
    table.write_text("\n".join(lines))
    report = run(tmp_path / "store", table)

    assert report.items == len(lines)
    assert report.skipped == {"no_id": 3, "no_picture": 5, "repeated_id": 1}
    assert report.failed == {"bad_metadata": 5}
    assert sorted(posts(tmp_path / "store").id) == [8, 100, 101, 102, 104]


def test_ids_that_pandas_wrote_as_floats(tmp_path: Path) -> None:
    """Whole numbers such as 4.0 are ids in every table; fractions and digits of other scripts are none."""
    table = tmp_path / "posts.csv"
    table.write_text("id,tags\n4.0,a\n5.00,a\n6.5,a\n\uff10\uff10\uff18,a\n7_0,a\n", encoding="utf-8")
    lines = tmp_path / "posts.jsonl"
    lines.write_text('{"id": 9.0, "tags": "a"}\n{"id": 9.5, "tags": "a"}\n')

    report = run(tmp_path / "store", table, lines)

    assert report.skipped == {"no_id": 4, "no_picture": 3}
    assert sorted(posts(tmp_path / "store").id) == [4, 5, 9]


@pytest.mark.parametrize("tags", ["[1, null, {}]", '[{"category": 4}]', '{"general": [3]}'])
def test_tags_of_which_none_can_be_used_are_told(tmp_path: Path, tags: str) -> None:
    """A row with such tags fails, and its number is in the message; a row without tags is listed."""
    table = tmp_path / "posts.jsonl"
    table.write_text(f'{{"id": 1, "tags": "a"}}\n{{"id": 2, "tags": {tags}}}\n{{"id": 3, "tags": []}}\n')

    report = run(tmp_path / "store", table)

    assert (report.failed, report.skipped) == ({"bad_metadata": 1}, {"no_picture": 2})
    assert f"{table}, row 2 has no usable tags" in (tmp_path / "store/crawl.log").read_text()


def test_tables_that_are_none(tmp_path: Path) -> None:
    """A table without ids, a file that is no Parquet, and a table of tags are one line each."""
    store = tmp_path / "store"
    pd.DataFrame({"tags": ["a b"] * 3}).to_parquet(tmp_path / "no ids.parquet")
    with pytest.raises(DataError, match="no picture was imported: 3 no_id"):
        run(store, tmp_path / "no ids.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(DataError, match=r"broken\.parquet is damaged or not Parquet"):
        run(store, tmp_path / "broken.parquet")
    write(tmp_path / "tags", {"tags.csv": "id,name,category\n1,1girl,0\n"})
    with pytest.raises(UsageError, match="is not recognised"):
        run(store, tmp_path / "tags")
    with pytest.raises(DataError, match="has no columns `name` and `category`"):
        run(store, tmp_path / "no ids.parquet", tag_categories=tmp_path / "no ids.parquet")


def test_values_that_python_cannot_hold_are_missing_values(tmp_path: Path) -> None:
    """A time beyond the year 9999 and a text that is not UTF-8 cost their own value, not the table."""
    table = pa.table(
        {
            "id": [1, 2, 3],
            "tags": pa.array([b"a b", b"\xff", b"c"]).view(pa.string()),
            "created_at": pa.array([2**62, 10**15, None], pa.timestamp("us")),
        }
    )
    pq.write_table(table, tmp_path / "posts.parquet")
    report = run(tmp_path / "store", tmp_path / "posts.parquet")
    stored = posts(tmp_path / "store").set_index("id").sort_index()

    assert report.skipped == {"no_picture": 3}
    assert [tags(row) for _, row in stored.iterrows()] == [{"a", "b"}, set(), {"c"}]
    assert list(stored.created_at.isna()) == [True, False, True]


def test_a_damaged_first_row_does_not_hide_the_table(tmp_path: Path) -> None:
    """A table is recognised by its first sound row."""
    write(tmp_path, {"posts.csv": "id,tags\n1,a,surplus\n2,b\n", "lines.jsonl": '{\n{"id": 3, "tags": "c"}\n'})
    report = run(tmp_path / "store", tmp_path / "posts.csv", tmp_path / "lines.jsonl")

    assert (report.failed, report.skipped) == ({"bad_metadata": 2}, {"no_picture": 2})


def test_a_parquet_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """A text of 1 MB in each of 200,000 rows is one object in memory; a group that claims more is refused."""
    text = pa.array(["a" * (1 << 20)]).dictionary_encode()
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), text.dictionary)
    bomb = pa.table({"id": pa.array(range(1, 5_001)), "source": repeated, "tags": pa.array(["a"] * 5_000)})
    pq.write_table(bomb, tmp_path / "bomb.parquet", store_schema=False)  # which would name the dictionary
    assert (tmp_path / "bomb.parquet").stat().st_size < 4 << 20
    report = run(tmp_path / "store", tmp_path / "bomb.parquet")
    some = islice(table_rows(tmp_path / "bomb.parquet"), 100)

    assert report.skipped == {"no_picture": 5_000}
    assert len({id(row["source"]) for row in some if not isinstance(row, Fault)}) == 1


def test_categories_from_a_table_of_tags(tmp_path: Path) -> None:
    """Tags without a category get that of the table; those with one keep it."""
    source = write(
        tmp_path / "source",
        {"a.jpg": picture(1), "a.txt": "1girl, hatsune miku, artist:someone, vocaloid, other"},
    )
    table = tmp_path / "selected_tags.csv"
    table.write_text(
        "tag_id,name,category,count\n1,1girl,0,9\n2,hatsune_miku,4,5\n3,someone,4,5\n4,vocaloid,3,1\n"
    )
    run(tmp_path / "store", source, tag_categories=table)
    row = posts(tmp_path / "store").iloc[0]

    assert [
        list(row[f"tags_{name}"]) for name in ("general", "character", "artist", "copyright", "unknown")
    ] == [
        ["1girl"],
        ["hatsune_miku"],
        ["someone"],
        ["vocaloid"],
        ["other"],
    ]


def test_a_table_of_our_own_store(tmp_path: Path, tars: Path) -> None:
    """The post table of a store is a table of posts: tags keep their categories."""
    pd.DataFrame(danbooru_rows(4)).to_parquet(tmp_path / "index.parquet")
    run(tmp_path / "store", tmp_path / "index.parquet")
    run(tmp_path / "again", tmp_path / "store" / "posts" / "posts-000000.parquet")
    facts: Sequence[str] = ["tags_artist", "tags_general", "rating", "score", "md5", "created_at", "width"]

    assert content(tmp_path / "again")[facts].equals(content(tmp_path / "store")[facts])


def test_a_csv_row_that_is_not_utf_8_fails_alone(tmp_path: Path) -> None:
    """Tags are never stored with replaced letters: the row in Latin-1 is a failure, the others are posts."""
    (tmp_path / "posts.csv").write_bytes("id,tags\n1,ok\n2,caf\xe9\n3,fine\n".encode("latin-1"))
    report = run(tmp_path / "store", tmp_path / "posts.csv")

    assert (report.failed, report.skipped) == ({"bad_metadata": 1}, {"no_picture": 2})
    assert "posts.csv, line 3 is not UTF-8" in (tmp_path / "store" / "crawl.log").read_text()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["id,tags\n1,café b\n", "ID;Tags\n1;café b\n", "id\ttags\n1\tcafé b\n"])
def test_forms_of_csv(tmp_path: Path, encoding: str, text: str) -> None:
    """Unicode with or without a mark, other separators and capitals in the header give the same tags."""
    (tmp_path / "posts.csv").write_bytes(text.encode(encoding))
    run(tmp_path / "store", tmp_path / "posts.csv")

    assert tags(posts(tmp_path / "store").iloc[0]) == {"café", "b"}


def test_a_quote_that_is_not_closed_is_named_by_its_row(tmp_path: Path) -> None:
    """The rows that the quote swallows are not stored as tags; the failure names where it begins."""
    write(tmp_path, {"posts.csv": 'id,tags\n1,a\n2,"b\n3,c\n4,d\n'})
    report = run(tmp_path / "store", tmp_path / "posts.csv")

    assert (report.failed, report.skipped) == ({"bad_metadata": 1}, {"no_picture": 1})
    assert "posts.csv, line 3: a quote" in (tmp_path / "store" / "crawl.log").read_text()


def test_tables_that_fit_badly_are_refused_with_the_cause(tmp_path: Path) -> None:
    """No tags, a cut Parquet file and two columns of one name are one line each, before anything is written."""
    pd.DataFrame(rows(50)).to_parquet(tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pq.write_table(
        pa.Table.from_arrays([pa.array([1]), pa.array(["a"]), pa.array(["b"])], ["id", "tags", "tags"]),
        tmp_path / "two.parquet",
    )
    pd.DataFrame({"ID": [1], "Tags": ["a"]}).to_parquet(tmp_path / "capitals.parquet")
    write(tmp_path, {"none.csv": "id,x\n1,2\n", "two.csv": "id,tags,tags\n1,a,b\n"})
    for name, cause in {
        "none.csv": "no column of tags, only 'id, x'",
        "cut.parquet": "is damaged or not Parquet",
        "two.csv": "two columns named 'tags'",
        "two.parquet": "two columns named 'tags'",
        "capitals.parquet": "no column of tags, only 'ID, Tags'",
    }.items():
        for form in (None, SourceForm.TABLE):
            with pytest.raises(DataError, match=cause):
                run(tmp_path / "store", tmp_path / name, form=form)
    assert not (tmp_path / "store").exists()


def test_a_table_of_many_columns_is_read_in_no_more_time(tmp_path: Path) -> None:
    """Its names are compared once: 40,000 of them would take 20 s if each were compared with all."""
    columns = [f"c{number}" for number in range(40_000)]
    write(tmp_path, {"wide.csv": "\n".join(",".join(line) for line in (columns, columns))})
    began = time.process_time()

    assert len(table_columns(tmp_path / "wide.csv")) == len(columns)
    assert time.process_time() - began < 5


def test_an_index_of_another_tar_of_the_same_size_is_not_used(tars: Path, tmp_path: Path) -> None:
    """Tar files are padded, so equal sizes say little: the headers are read if they differ from the index."""
    assert len({path.stat().st_size for path in (tars / "0000.tar", tars / "0001.tar")}) == 1
    one, other = (tars / "0000.json").read_text(), (tars / "0001.json").read_text()
    write(tars, {"0000.json": other, "0001.json": one})
    pd.DataFrame(rows(12)).to_parquet(tmp_path / "index.parquet")
    report = run(tmp_path / "store", tmp_path / "index.parquet", pictures=tars)
    found = posts(tmp_path / "store").set_index("id")

    assert (report.new, report.skipped, report.failed) == (12, {}, {})
    assert dict(found.stored_md5) == {100 + number: md5(picture(number)) for number in range(12)}


def test_empty_lines_of_a_csv_are_no_rows(tmp_path: Path) -> None:
    """An empty line before the header or between rows is left out, and an empty file is no table."""
    write(tmp_path, {"posts.csv": "\nid,tags\n\n1,a\n\n", "empty.csv": ""})
    report = run(tmp_path / "store", tmp_path / "posts.csv")

    assert (report.failed, report.skipped) == ({}, {"no_picture": 1})
    with pytest.raises(UsageError, match="is not recognised"):
        run(tmp_path / "other", tmp_path / "empty.csv")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_a_sparse_file_of_a_terabyte_is_not_read_to_its_end(tmp_path: Path, suffix: str) -> None:
    """It is one line without an end: it is named at once, and never in memory as a whole."""
    table = tmp_path / f"posts.{suffix}"
    with table.open("wb") as file:
        file.truncate(1 << 40)
    (fault,) = table_rows(table)

    assert isinstance(fault, Fault)
    assert "1 MiB" in fault.message or "256 MiB" in fault.message


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_of_megabytes_fails_alone(tmp_path: Path, suffix: str) -> None:
    """The rows before and after a line of 3 MB are read."""
    table = tmp_path / f"posts.{suffix}"
    if suffix == "csv":
        lines = ["id,tags", "1,solo", "2," + "x" * 3_000_000, "3,smile"]
    else:
        lines = ['{"id": "1"}', '{"id": "' + "x" * 3_000_000 + '"}', '{"id": "3"}']
    table.write_text("\n".join([*lines, ""]))
    read = list(table_rows(table))

    assert [row["id"] for row in read if not isinstance(row, Fault)] == ["1", "3"]
    assert len([row for row in read if isinstance(row, Fault)]) == 1
