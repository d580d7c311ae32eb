"""A folder of pictures with sidecars becomes a store like that of a crawl."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from alti2v.cli import cli
from alti2v.crawl.crawler import CrawlConfig, crawl_board
from alti2v.crawl.importing import item_writer
from alti2v.crawl.importing.importer import ImportConfig, import_pictures
from alti2v.crawl.status import store_status
from alti2v.crawl.verify import verify_store
from alti2v.errors import DataError, UsageError
from alti2v.records import Span
from alti2v.storage.store import open_store, read_pictures
from tests.crawl.importing.helpers.sources import content, md5, picture, posts, run, tags, write
from tests.dataset.helpers.building import build


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Thirty pictures in two folders with captions."""
    files: dict[str, bytes | str] = {}
    for number in range(30):
        stem = f"{'10_girl' if number % 3 else '5_style'}/{number}"
        files[f"{stem}.{'png' if number % 4 else 'jpg'}"] = picture(
            number, form="PNG" if number % 4 else "JPEG"
        )
        files[f"{stem}.txt"] = f"1girl, long hair, artist:somebody_{number % 2}, number {number % 5}"
    return write(tmp_path / "pictures", files)


def test_every_picture_is_stored_with_its_tags(pictures: Path, tmp_path: Path) -> None:
    """The bytes are those of the files, the tags those of the captions, and the sums add up."""
    store = tmp_path / "store"
    report = run(store, pictures)
    rows = posts(store)

    assert (report.items, report.new, report.listed, report.stored) == (30, 30, 30, 30)
    assert report.forms == {str(pictures): "folder"}
    files = {md5(file.read_bytes()): file for file in pictures.rglob("*.*g")}
    assert set(rows.stored_md5) == set(files)
    for _, row in rows.iterrows():
        file = files[row.stored_md5]
        span = Span(offset=row.offset, size=row["size"])
        ((_, stored),) = read_pictures(store, row.tar, [(row.id, span)])
        assert stored is not None
        assert bytes(stored) == file.read_bytes()
        assert row.stored_crc32 == zlib.crc32(stored)
        assert row.fetched_url == f"pictures/{file.parent.name}/{file.name}"
        assert list(row.tags_artist) == [f"somebody_{int(file.stem) % 2}"]
        assert tags(row) == {"1girl", "long_hair", *row.tags_artist, f"number_{int(file.stem) % 5}"}
        assert 10**11 <= row.id < 10**12


def test_status_verify_and_build_work_as_after_a_crawl(pictures: Path, tmp_path: Path) -> None:
    """Later commands see no difference between an imported store and a crawled one."""
    store = tmp_path / "store"
    run(store, pictures)
    status = store_status(store)
    report = build(store, tmp_path / "dataset")

    assert (status.listed, status.stored, status.plan["board"]) == (30, 30, "import")
    assert status.last_run is not None
    assert status.last_run.ending == "complete"
    assert verify_store(store).findings == ()
    assert sum(report.outcomes.values()) == 30
    assert "alti2v import STORE SOURCE" in (tmp_path / "dataset" / "README.md").read_text()


def test_a_split_by_date_needs_dates(tmp_path: Path) -> None:
    """Ids made from bytes are no order of time: such pictures are refused, or left out by a filter."""
    files: dict[str, bytes | str | dict[str, object]] = {}
    for number in range(20):
        dated: dict[str, object] = {"created_at": f"20{number + 10}-01-01"} if number < 16 else {}
        files |= {f"{number}.jpg": picture(number), f"{number}.json": {"tags": "1girl", **dated}}
    source = write(tmp_path / "pictures", files)
    run(tmp_path / "store", source)
    options = {"split_by": "date", "test": 3, "validation": 2}

    with pytest.raises(DataError, match="4 of 20 pictures: add --since 1970-01-01 to leave these out"):
        build(tmp_path / "store", tmp_path / "dataset", **options)
    report = build(tmp_path / "store", tmp_path / "dataset", since="1970-01-01", **options)
    for file in source.glob("*.json"):
        file.write_text('{"tags": "1girl"}')
    run(tmp_path / "undated", source)
    with pytest.raises(DataError, match="20 of 20 pictures: leave out --split-by date"):
        build(tmp_path / "undated", tmp_path / "none", **options)

    assert report.outcomes["dropped filter_since"] == 4


def test_running_again_adds_only_what_is_new(pictures: Path, tmp_path: Path) -> None:
    """Known pictures are not read again; a new picture and a changed caption are taken over."""
    store = tmp_path / "store"
    run(store, pictures)
    first = content(store)
    for file in pictures.rglob("*.*g"):
        os.utime(file, (1, 1)) if file.stem == "7" else None
    write(pictures, {"new.png": picture(99, form="PNG"), "new.txt": "solo", "5_style/0.txt": "smile"})
    (pictures / "5_style" / "3.png").chmod(0)
    again = run(store, pictures)
    rows = content(store)

    assert (again.items, again.new, again.known, again.failed) == (31, 1, 30, {})
    changed = rows.index[rows.fetched_url == "pictures/5_style/0.jpg"][0]
    assert list(rows.tags_unknown[changed]) == ["smile"]
    assert rows.loc[first.index.drop(changed)].equals(first.drop(index=changed))


def test_the_same_picture_has_the_same_number_everywhere(pictures: Path, tmp_path: Path) -> None:
    """Ids come from the bytes: another folder, other names and another order give the same ones."""
    run(tmp_path / "store", pictures)
    for number, file in enumerate(sorted(pictures.rglob("*.*g"), reverse=True)):
        write(tmp_path / "other", {f"{number:03}{file.suffix}": file.read_bytes(), f"{number:03}.txt": "1girl"})
    run(tmp_path / "again", tmp_path / "other")

    assert set(posts(tmp_path / "store").id) == set(posts(tmp_path / "again").id)


def test_equal_bytes_are_stored_once(tmp_path: Path) -> None:
    """A second file with the same bytes is a duplicate, also in the next run, and its tags change nothing."""
    source = write(
        tmp_path / "source",
        {
            "a.jpg": picture(1),
            "a.txt": "red",
            "b.jpg": picture(1),
            "b.txt": "blue",
            "c.jpg": picture(2),
            "c.txt": "c",
        },
    )
    store = tmp_path / "store"
    first, again = run(store, source), run(store, source)
    moved = shutil.move(source, tmp_path / "moved")
    after = run(store, Path(moved))

    assert (first.items, first.new, first.duplicate, first.listed) == (3, 2, 1, 2)
    assert (again.items, again.known, again.listed) == (3, 3, 2)
    assert (after.items, after.known, after.listed) == (3, 3, 2)
    assert {tuple(names) for names in posts(store).tags_unknown} == {("red",), ("c",)}
    assert not (store / "history.parquet").exists()


def test_each_bad_item_has_one_outcome(tmp_path: Path) -> None:
    """Every file that cannot be imported is counted by its reason, and stops no other."""
    good = picture(1)
    source = write(
        tmp_path / "source",
        {
            "good.jpg": good,
            "good.txt": "1girl",
            "alone.jpg": picture(2),
            "no picture.txt": "1girl",
            "damaged.jpg": good[: len(good) // 2],
            "damaged.txt": "1girl",
            "text.png": "not a picture",
            "text.txt": "1girl",
            "film.mp4": b"\0\0\0\x18ftypmp42",
            "film.txt": "1girl",
            "latin.jpg": picture(3),
            "latin.txt": b"caf\xe9",
            "deep.jpg": picture(4),
            "deep.json": "[" * 100_000,
            "huge.jpg": picture(5),
            "huge.txt": "a" * (1 << 21),
            "number.jpg": picture(6),
            "number.json": '{"id": ' + "9" * 10_000 + "}",
            "wrong.jpg": picture(7),
            "wrong.json": {"md5": "0" * 32, "tags": "1girl"},
            "loose.jpg": picture(8),
            "loose.json": '["1girl"]',
            "thumbs.db": b"other",
            ".hidden.jpg": picture(9),
            ".git/a.jpg": picture(10),
        },
    )
    (source / "link.jpg").symlink_to("good.jpg")
    (source / "linked").symlink_to(source)
    (source / "to a link.jpg").write_bytes(picture(11))
    (source / "to a link.txt").symlink_to("good.txt")
    os.mkfifo(source / "pipe.jpg")
    os.mkfifo(source / "pipe.txt")
    (source / "closed").mkdir(mode=0)
    report = run(tmp_path / "store", source)

    assert report.new == 1
    assert report.skipped == {"no_picture": 1, "no_tags": 1, "video": 1}
    expected = {"bad_metadata": 6, "link": 2, "md5_mismatch": 1, "not_a_file": 1, "not_image": 1}
    assert report.failed == {
        **expected,
        "truncated_body": 1,
        **({} if os.geteuid() == 0 else {"unreadable": 1}),
    }
    log = (tmp_path / "store" / "crawl.log").read_text()
    assert log.count("failed:") == sum(report.failed.values())


def test_names_in_any_encoding(tmp_path: Path) -> None:
    """File names that are not UTF-8, have spaces, line ends or percent signs are imported like others."""
    source = tmp_path / "source"
    source.mkdir()
    names = [
        b"caf\xe9.jpg",
        "雪 100%.jpg".encode(),
        b"two\nlines.jpg",
        b"a.b.c.jpg",
        b"-dash.jpg",
        b"UPPER.JPG",
    ]
    for number, name in enumerate(names):
        file = source / os.fsdecode(name)
        file.write_bytes(picture(number))
        file.with_suffix(".txt").write_text(f"tag_{number}")
    report = run(tmp_path / "store", source)
    rows = posts(tmp_path / "store")

    assert (report.items, report.new) == (6, 6)
    assert all(rows.fetched_url.str.isascii())
    assert rows.fetched_url.is_unique
    assert run(tmp_path / "store", source).known == 6


def test_a_store_inside_its_source_is_left_out(tmp_path: Path) -> None:
    """`alti2v import store .` does not import the store itself."""
    write(tmp_path, {"a.jpg": picture(1), "a.txt": "1girl"})
    run(tmp_path / "store", tmp_path)
    again = run(tmp_path / "store", tmp_path)

    assert (again.items, again.known) == (1, 1)


def test_sources_that_are_none_are_refused_in_a_line(tmp_path: Path) -> None:
    """A missing path, an empty folder, and a folder without a sound picture are refused."""
    store, empty = tmp_path / "store", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="does not exist"):
        run(store, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is not recognised"):
        run(store, empty)
    bad = write(tmp_path / "bad", {"a.jpg": "text", "a.txt": "1girl"})
    with pytest.raises(DataError, match="no picture was imported: 1 not_image"):
        run(store, bad)

    write(bad, {"a.jpg": picture(1)})
    assert run(store, bad).new == 1


def test_stores_of_crawls_and_of_imports_are_not_mixed(tmp_path: Path) -> None:
    """Their ids mean different things, so neither command writes into the other's store."""
    source = write(tmp_path / "source", {"a.jpg": picture(1), "a.txt": "1girl"})
    store = tmp_path / "store"
    run(store, source)
    with pytest.raises(UsageError, match="was made by alti2v import, not from https"):
        crawl_board(CrawlConfig(store=store, board="safebooru"))
    description = (store / "store.json").read_text()
    (store / "store.json").write_text(description.replace('"import"', '"https://board.example"'))
    with pytest.raises(UsageError, match=r"was crawled from https://board\.example: choose another folder"):
        run(store, source)


def test_a_rebuilt_ledger_costs_reading_and_nothing_else(pictures: Path, tmp_path: Path) -> None:
    """After the loss of the ledger, `verify --repair` and another import give the same posts."""
    store = tmp_path / "store"
    run(store, pictures)
    before = content(store)
    for file in store.glob("crawl.sqlite*"):
        file.unlink()
    verify_store(store, repair=True)
    again = run(store, pictures)

    assert (again.items, again.known, again.new) == (30, 30, 0)
    assert content(store).equals(before)
    with open_store(store):
        pass


def test_a_repaired_store_names_the_command_that_made_it(pictures: Path, tmp_path: Path) -> None:
    """Lost pictures of an imported store come with another import, not with a crawl."""
    store = tmp_path / "store"
    run(store, pictures)
    for file in (store / "images").iterdir():
        file.write_bytes(b"")

    result = CliRunner().invoke(cli, ["verify", str(store), "--repair"])

    assert "30 posts: run `alti2v import` again" in result.stdout


def test_a_lost_picture_is_imported_again(pictures: Path, tmp_path: Path) -> None:
    """The next import brings back a picture that `verify --repair` took out of a damaged tar file."""
    store = tmp_path / "store"
    run(store, pictures)
    before = content(store)
    with (store / "images" / "images-000000.tar").open("rb+") as file:
        file.seek(5_000)
        file.write(b"\xff" * 3_000)
    assert verify_store(store, repair=True).findings
    again = run(store, pictures)

    assert again.new > 0
    assert again.new + again.known == 30
    pd = content(store)
    assert pd.drop(columns="attempts").equals(before.drop(columns="attempts"))
    assert verify_store(store).findings == ()


def test_two_pictures_with_the_same_first_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the number of a picture is taken, it gets the next one, also in a later run and a later batch."""
    monkeypatch.setattr(item_writer, "derived_id", lambda _, *, salt="": 10**11 + int(salt or 0))
    files: dict[str, bytes | str] = {}
    for number in range(3):
        files |= {f"{number}.jpg": picture(number), f"{number}.txt": f"tag {number}"}
    source, store = write(tmp_path / "source", files), tmp_path / "store"
    first = run(store, source)
    write(source, {"9.jpg": picture(9), "9.txt": "tag 9"})
    second = run(store, source)

    assert (first.new, second.new, second.known) == (3, 1, 3)
    assert sorted(posts(store).id) == [10**11 + number for number in range(4)]
    assert set(posts(store).stored_md5) == {md5(picture(number)) for number in (0, 1, 2, 9)}


def test_a_linked_folder_is_counted(tmp_path: Path) -> None:
    """A link to a folder is one failed item, like a link to a picture; its target is not read."""
    write(tmp_path / "elsewhere", {"b.jpg": picture(2), "b.txt": "1girl"})
    source = write(tmp_path / "source", {"a.jpg": picture(1), "a.txt": "1girl"})
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    report = run(tmp_path / "store", source)

    assert (report.new, report.failed) == (1, {"link": 1})


@pytest.mark.parametrize(
    ("name", "tags"),
    [("1.txt", "a" * 5_000), ("1.json", {"caption": "a" * 5_000}), ("1.json", {"tags": [1, None, {}]})],
)
def test_tags_of_which_none_can_be_used_are_told(
    name: str, tags: str | dict[str, object], tmp_path: Path
) -> None:
    """A picture is not stored as one without tags if its sidecar has something else in their place."""
    source = write(
        tmp_path / "pictures", {"1.jpg": picture(1), name: tags, "2.jpg": picture(2), "2.txt": "rating:safe"}
    )

    report = run(tmp_path / "store", source)

    assert (report.new, report.failed) == (1, {"bad_metadata": 1})


@pytest.mark.parametrize("inner", ["", "inner"])
def test_a_link_to_itself_is_counted_and_the_rest_imported(tmp_path: Path, inner: str) -> None:
    """A link that the system cannot follow is one failed item of its folder, which is read all the same."""
    source = write(
        tmp_path / "pictures",
        {f"{folder}/{name}.jpg": picture(name) for name, folder in ((1, "."), (2, "inner"))}
        | {"1.txt": "1girl", "inner/2.txt": "1girl"},
    )
    (source / inner / "loop").symlink_to("loop")

    report = run(tmp_path / "store", source)

    assert (report.items, report.new, report.failed) == (3, 2, {"link": 1})


def test_names_pair_in_any_unicode_form(tmp_path: Path) -> None:
    """A picture named in NFD has its caption named in NFC, and the reverse; equal names come first."""
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    source = write(
        tmp_path / "source",
        {
            f"a/{nfd}.jpg": picture(1),
            f"a/{nfc}.txt": "one",
            f"b/{nfc}.jpg": picture(2),
            f"b/{nfd}.jpg.json": {"tags": ["two"]},
            f"c/{nfc}.jpg": picture(3),
            f"c/{nfd}.jpg": picture(4),
            f"c/{nfc}.txt": "three",
            f"c/{nfd}.txt": "four",
        },
    )
    report = run(tmp_path / "store", source)
    rows = posts(tmp_path / "store").set_index("stored_md5")
    found = [tags(rows.loc[md5(picture(number))]) for number in (1, 2, 3, 4)]

    assert (report.items, report.new) == (4, 4)
    assert found == [{"one"}, {"two"}, {"three"}, {"four"}]


def _remarks(store: Path, source: Path) -> list[str]:
    """Import a folder, and return what is said about single items."""
    said: list[str] = []
    import_pictures(
        ImportConfig(store=store, sources=(source,)), progress=lambda progress: said.append(progress.milestone)
    )
    return [text for text in said if "items:" in text or "caption" in text]


def test_failed_and_skipped_items_are_named(tmp_path: Path) -> None:
    """The command says which items failed or were skipped first, how many, and where all are named."""
    files: dict[str, bytes | str] = {f"{number}.jpg": b"no picture" for number in range(5)}
    files |= {f"{number}.txt": "1girl" for number in range(6)}
    files |= {f"no caption {number}.jpg": picture(number) for number in range(4)}
    source = write(tmp_path / "source", {**files, "5.jpg": picture(5), "alone.txt": "1girl"})
    failed, skipped = _remarks(tmp_path / "store", source)

    assert failed.startswith("failed items: 5, the first: source/0.jpg")
    assert "source/2.jpg" in failed
    assert "source/3.jpg" not in failed
    assert failed.endswith("crawl.log names all")
    named = "; ".join(f"source/no caption {number}.jpg (no_tags)" for number in range(3))
    assert skipped == f"skipped items: 5, the first: {named}: crawl.log names all"
    assert "skipped: no_picture: source/alone.txt" in (tmp_path / "store" / "crawl.log").read_text()


def test_pictures_without_tags_are_reported(tmp_path: Path) -> None:
    """Pictures with empty captions are imported without tags, and one line counts them and names the first."""
    pictures: dict[str, bytes | str] = {f"{number}.jpg": picture(number) for number in range(3)}
    captions = {"0.txt": "1girl, long hair", "1.txt": "", "2.txt": " \n"}
    (line,) = _remarks(tmp_path / "store", write(tmp_path / "source", {**pictures, **captions}))

    assert line == "empty captions: 2, the first: source/1.jpg: stored without tags"
    assert run(tmp_path / "store", tmp_path / "source").untagged == 2


def test_sentences_in_place_of_tags_are_reported(tmp_path: Path) -> None:
    """Captions in sentences are imported as they are, with a line that says what became of them."""
    files: dict[str, bytes | str] = {f"{number}.jpg": picture(number) for number in range(4)}
    captions = {
        "0.txt": "A girl stands in a field",
        "1.txt": "a photo of two cats, sitting on an old red sofa. They sleep.",
        "2.txt": "1girl, jojo no kimyou na bouken, long hair, smile",
        "3.txt": "1girl long_hair",
    }
    (line,) = _remarks(tmp_path / "store", write(tmp_path / "source", {**files, **captions}))

    assert line == (
        "2 captions seem to be sentences, and what is between commas became one tag, such as "
        "'A_girl_stands_in_a_field': captions of tags look like '1girl, long hair', see docs/IMPORT.md"
    )


def test_more_tags_than_a_post_can_have_are_told_and_not_cut(
    tmp_path: Path,
) -> None:
    """A text of 10,001 words is no list of tags: its picture is counted as failed; one of 10,000 is whole."""
    words = [f"word_{number}" for number in range(10_001)]
    files: dict[str, bytes | str | dict[str, object]] = {
        **{f"{number}.png": picture(number, form="PNG") for number in range(7)},
        "0.txt": ", ".join(words[1:]),
        "1.txt": ", ".join(words),
        "2.txt": " ".join(words),
        "3.json": {"tags": words},
        "4.json": {"tags": " ".join(words)},
        "5.json": {"tags_general": " ".join(words[:6000]), "tags_meta": words[6000:]},
        "6.txt": ", ".join(["1girl"] * 20_000),
    }
    store = tmp_path / "store"
    report = run(store, write(tmp_path / "pictures", files))

    assert (report.new, report.failed) == (2, {"bad_metadata": 5})
    assert sorted(len(tags(row)) for _, row in posts(store).iterrows()) == [1, 10_000]
    assert "pictures/1.png has 10,001 tags, and at most 10,000" in (store / "crawl.log").read_text()


def test_status_and_card_name_an_imported_source(tmp_path: Path) -> None:
    """`status` and the dataset's card name an imported source as such."""
    write(tmp_path / "folder", {f"{n}.jpg": picture(n) for n in range(12)})
    write(tmp_path / "folder", {f"{n}.txt": "1girl, solo" for n in range(12)})
    run(tmp_path / "store", tmp_path / "folder")
    status = CliRunner().invoke(cli, ["status", str(tmp_path / "store")]).stdout
    build(tmp_path / "store", tmp_path / "dataset", test=2, validation=1)
    card = (tmp_path / "dataset" / "README.md").read_text()
    page = tmp_path / "page.html"
    stats = CliRunner().invoke(cli, ["stats", str(tmp_path / "dataset"), "--html", str(page)]).stdout

    assert "imported pictures" in status
    assert "plan" not in status
    assert "board" not in card
    assert "made from the MD5s of the pictures" in stats
    assert "made from the MD5s of the pictures" in page.read_text()
    assert "metadata/ have each picture's id, and its path as url" in stats
    assert "not said" not in stats
    assert "<h3>Sources" not in page.read_text()


def test_files_that_img2dataset_has_reduced_are_no_mismatch(tmp_path: Path) -> None:
    """Its `--output_format files` writes the MD5 of what was downloaded, not of the picture beside it."""
    facts: dict[str, object] = {"url": "https://x/1.png", "caption": "1girl, solo", "key": "00000000"}
    facts |= {"width": 48, "height": 48, "original_width": 480, "original_height": 480, "md5": "ab" * 16}
    write(tmp_path / "out", {"00000/00000000.jpg": picture(1), "00000/00000000.json": facts})
    report = run(tmp_path / "store", tmp_path / "out")

    assert (report.new, report.failed) == (1, {})
    assert list(posts(tmp_path / "store")["md5"]) == ["ab" * 16]
