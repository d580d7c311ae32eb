"""`alti2v tag`: what a person gets for files, folders, lists and damaged pictures, and the sidecars."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from alti2v.cli import cli, main
from alti2v.model.options.tagging import TagConfig
from alti2v.model.tag import tag_files
from alti2v.model.tagging.selection import DEFAULT_THRESHOLD
from alti2v.model.tagging.tagger import load_tagger
from tests.model.helpers.tiny_wd import TAGS, write_picture, write_wd_folder

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_wd_folder(tmp_path_factory.mktemp("wd"))


@pytest.fixture
def art(tmp_path: Path) -> Any:
    """A folder of five pictures, one of them a folder deeper, among other things."""
    folder = tmp_path / "art"
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("c.webp", "green"), ("deep/er/d.gif", "white")):
        write_picture(folder / name, colour)
    write_picture(folder / "E.JPG", "red", format="JPEG")
    write_picture(folder / ".hidden" / "f.png", "red")
    (folder / "notes.md").write_text("no picture")
    return folder


@pytest.fixture
def tag(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process: (status, stdout, stderr)."""

    def run(*arguments: Any) -> Any:
        with pytest.raises(SystemExit) as ending:
            main(["tag", *map(str, arguments)])
        printed = capsys.readouterr()
        return ending.value.code, printed.out, printed.err

    return run


def captions(folder: Path) -> Any:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.txt"))}


def test_a_folder_is_tagged_whole_in_order(tag: Any, model: Any, art: Any) -> None:
    """Every picture with all folders inside, by name; what is hidden or no picture is left out."""
    status, out, err = tag(model, art, "--format", "json")
    paths = [json.loads(line)["path"] for line in out.splitlines()]

    assert status == 0, err
    assert paths == [str(art / name) for name in ("E.JPG", "a.png", "b.jpg", "c.webp", "deep/er/d.gif")]


def test_command_and_call_say_exactly_the_same(tag: Any, model: Any, art: Any) -> None:
    """JSON lines hold what `estimate_plausible_tags` returns, to the last digit, in batches of any size."""
    names = ["E.JPG", "a.png", "b.jpg", "c.webp", "deep/er/d.gif"]
    called = load_tagger(model).estimate_plausible_tags([art / name for name in names], threshold=0.3)
    for batch_size in (1, 2, 16):
        _, out, _ = tag(model, art, "--format", "json", "--threshold", "0.3", "--batch-size", batch_size)
        lines = [json.loads(line) for line in out.splitlines()]
        for line, answer in zip(lines, called, strict=True):
            rating = answer["rating"]
            assert {name: list(tags.items()) for name, tags in line["tags"].items()} == {
                name: tags for name, tags in answer.items() if name != "rating"
            }
            assert list(line["rating"].items()) == rating


def test_text_shows_probabilities_by_category(tag: Any, model: Any, art: Any) -> None:
    """The text format is for people: the path, then each category that has tags."""
    status, out, _ = tag(model, art / "a.png")
    path, general, character = out.splitlines()

    assert status == 0
    assert path == str(art / "a.png")
    assert general.split()[:3] == ["general", "red_eyes", "1.00"]
    assert character.split()[:2] == ["character", "saber_(fate)"]


def test_csv_has_a_row_a_tag(tag: Any, model: Any, art: Any) -> None:
    """A header and then a row for each tag, readable by any program."""
    _, out, _ = tag(model, art / "a.png", art / "b.jpg", "--format", "csv", "--top", 1)
    rows = list(csv.DictReader(io.StringIO(out)))

    assert [(row["path"], row["category"], row["tag"]) for row in rows] == [
        (str(art / "a.png"), "general", "red_eyes"),
        (str(art / "b.jpg"), "general", "blue_sky"),
    ]
    assert all(0.9 < float(row["probability"]) <= 1 for row in rows)


def test_thresholds_for_all_and_for_a_category(tag: Any, model: Any, art: Any) -> None:
    """The general threshold holds where a category has none of its own."""
    _, out, _ = tag(
        model, art / "a.png", "--format", "csv", "--threshold", "0.2", "--threshold", "character=0.9999"
    )
    tags = [row["tag"] for row in csv.DictReader(io.StringIO(out))]

    assert tags == ["red_eyes", "^_^"]


def test_thresholds_for_single_tags(tag: Any, model: Any, art: Any) -> None:
    """A tag's own threshold counts before its category's and the general one, however it is spelt."""
    _, out, _ = tag(
        *(model, art / "a.png", "--format", "csv", "--threshold", "0.2", "--threshold", "red eyes=0.99999"),
        *("--threshold", "character=0.9999", "--threshold", "saber_(fate)=0.1"),
    )
    tags = {row["tag"] for row in csv.DictReader(io.StringIO(out))}

    assert tags == {"saber_(fate)", "^_^"}


def test_a_precision_of_an_onnx_model_is_told_to_have_no_effect(tag: Any, model: Any, art: Any) -> None:
    """The tags are those of the file, and a line says that the option concerns runs only."""
    plain = tag(model, art, "--format", "csv")
    with_option = tag(model, art, "--format", "csv", "--precision", "float16")

    assert with_option[:2] == plain[:2]
    assert "--precision float16 concerns runs only" in with_option[2]
    assert "--precision" not in plain[2]


def test_categories_exclusion_and_order(tag: Any, model: Any, art: Any) -> None:
    """Only the requested categories are shown, in the requested order, with the most probable rating."""
    _, out, _ = tag(
        *(model, art / "a.png", "--format", "csv", "--sort", "alphabet", "--exclude", "red eyes"),
        *("--category", "rating", "--category", "character", "--category", "general"),
    )
    tags = [row["tag"] for row in csv.DictReader(io.StringIO(out))]

    assert tags == ["^_^", "saber_(fate)", "sensitive"]


@pytest.mark.parametrize("typed", ["caf\u00e9_sky", "cafe\u0301_sky", "cafe\u0301 sky"])
@pytest.mark.parametrize("known", ["caf\u00e9_sky", "cafe\u0301_sky"])
def test_unicode_forms_of_a_tag_are_one(tag: Any, tmp_path: Path, typed: str, known: str) -> None:
    """A decomposed name, as macOS types it, is the model's composed tag; full-width letters are others."""
    tags = {known if name == "blue_sky" else name: value for name, value in TAGS.items()}
    model = write_wd_folder(tmp_path / "model", tags=tags)
    picture = write_picture(tmp_path / "a.png", "blue")
    for options, is_shown in (
        (("--exclude", typed), False),
        (("--threshold", f"{typed}=1"), False),
        (("--threshold", f"{typed}=0.01"), True),
    ):
        _, out, _ = tag(model, picture, *options)
        assert (known in out) == is_shown
    tag(model, picture, "--format", "sidecar", "--replace", typed, "replaced", "--always-first", typed)
    assert (tmp_path / "a.txt").read_text().startswith("replaced")
    (tmp_path / "a.txt").write_text("CAFE\u0301 sky")
    tag(model, picture, "--format", "sidecar", "--existing", "append")
    assert "_sky" not in (tmp_path / "a.txt").read_text()
    status, _, err = tag(model, picture, "--exclude", "\uff53\uff4b\uff59")
    assert (status, "no tag" in err) == (2, True)


# Sidecars ----------------------------------------------------------------------------------------


def test_sidecars_lie_beside_the_pictures(tag: Any, model: Any, art: Any) -> None:
    """Each picture gets its text file, written as a trainer wants it; the report counts."""
    status, out, err = tag(
        *(model, art, "--format", "sidecar", "--json", "--spaces", "--escape", "--prepend", "my char"),
        *("--replace", "red_eyes", "ruby gaze", "--always-first", "saber_(fate)", "--threshold", "0.5"),
    )

    assert status == 0, err
    assert captions(art) == {
        "E.txt": "my char, saber \\(fate\\), ruby gaze, ^_^\n",
        "a.txt": "my char, saber \\(fate\\), ruby gaze, ^_^\n",
        "b.txt": "my char, blue sky, hatsune miku, ^_^\n",
        "c.txt": "my char, green hair, hatsune miku, ^_^\n",
        "deep/er/d.txt": captions(art)["deep/er/d.txt"],
    }
    report = json.loads(out)
    assert (report["pictures"], report["tagged"], report["skipped"], report["failed"]) == (5, 5, 0, {})


def test_what_is_done_is_skipped_without_loading_the_model(
    tag: Any, model: Any, art: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run again, nothing is touched; when nothing is left the model is not even loaded."""
    tag(model, art, "--format", "sidecar")
    (art / "a.txt").write_text("by hand")
    monkeypatch.setattr("alti2v.model.tag.load_tagger", None)
    status, out, _ = tag(model, art, "--format", "sidecar", "--json")

    assert status == 0
    assert json.loads(out)["skipped"] == 5
    assert (art / "a.txt").read_text() == "by hand"


def test_an_interrupted_run_goes_on(tag: Any, model: Any, art: Any) -> None:
    """Only pictures without a sidecar are tagged."""
    (art / "b.txt").write_text("by hand")
    _, out, _ = tag(model, art, "--format", "sidecar", "--json")
    report = json.loads(out)

    assert (report["tagged"], report["skipped"]) == (4, 1)
    assert captions(art)["b.txt"] == "by hand"


def test_existing_captions_are_extended_or_replaced(tag: Any, model: Any, art: Any) -> None:
    """`append` keeps what is written and adds what is new, once; `overwrite` starts afresh."""
    sidecar = art / "a.txt"
    sidecar.write_text("a girl, Red Eyes\n", encoding="utf-8-sig")
    arguments = (model, art / "a.png", "--format", "sidecar", "--threshold", "0.5", "--existing")
    tag(*arguments, "append")
    once = sidecar.read_bytes()
    tag(*arguments, "append")

    assert once == b"a girl, Red Eyes, saber_(fate), ^_^\n" or once == b"a girl, Red Eyes, ^_^, saber_(fate)\n"
    assert sidecar.read_bytes() == once
    tag(*arguments, "overwrite")
    assert b"a girl" not in sidecar.read_bytes()


def test_a_sidecar_that_cannot_be_read_is_named_and_kept(tag: Any, model: Any, art: Any) -> None:
    """A text file in another encoding is not guessed at."""
    (art / "a.txt").write_bytes(b"\xff\xfe\x00caption")
    status, _, err = tag(model, art, "--format", "sidecar", "--existing", "append")

    assert status == 1
    assert f"{art / 'a.png'}: its a.txt cannot be read" in err
    assert (art / "a.txt").read_bytes() == b"\xff\xfe\x00caption"
    assert len(captions(art.joinpath("deep"))) == 1


def test_pictures_that_share_a_sidecar_are_told_apart(tag: Any, model: Any, art: Any) -> None:
    """a.png and a.webp would both write a.txt: the second is named, and nothing is overwritten."""
    write_picture(art / "a.webp", "blue")
    for _ in range(2):
        status, _, err = tag(model, art, "--format", "sidecar")

        assert status == 1
        assert f"{art / 'a.webp'}: shares a.txt with a.png" in err
        assert "red_eyes" in (art / "a.txt").read_text()


def test_a_picture_without_tags_gets_an_empty_caption(tag: Any, model: Any, art: Any) -> None:
    """No tag is a result too: the picture is done."""
    status, _, _ = tag(model, art / "a.png", "--format", "sidecar", "--threshold", "1")

    assert status == 0
    assert (art / "a.txt").read_text() == "\n"


# What is given -------------------------------------------------------------------------------------


def test_files_patterns_and_lists(
    tag: Any, model: Any, art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of any name, a pattern, and a list on standard input, in the order given."""
    odd = tmp_path / "no_suffix"
    odd.write_bytes((art / "a.png").read_bytes())
    listing = f"{art / 'b.jpg'}\n\n{art / 'gone.png'}\r\n".encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listing)))
    status, out, err = tag(model, odd, art / "**" / "*.gif", "-", "--format", "json")

    assert status == 1
    assert [json.loads(line)["path"] for line in out.splitlines()] == [
        str(odd),
        str(art / "deep/er/d.gif"),
        str(art / "b.jpg"),
    ]
    assert f"{art / 'gone.png'}: there is no such file" in err
    assert "1 of 4 pictures could not be tagged (missing 1)" in err


def test_a_file_called_like_a_pattern_is_a_file(tag: Any, model: Any, art: Any) -> None:
    """Brackets in a name are part of the name where such a file exists."""
    write_picture(art / "[1].png", "red")
    _, out, _ = tag(model, art / "[1].png", "--format", "json")

    assert json.loads(out)["path"] == str(art / "[1].png")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 names only")
def test_names_that_are_no_utf8_are_tagged_and_shown(model: Any, art: Any) -> None:
    """A file with any bytes in its name is tagged, shown with escapes, and gets its sidecar."""
    name = os.fsencode(art) + b"/\xe4\xf6.png"
    Path(os.fsdecode(name)).write_bytes((art / "a.png").read_bytes())
    finished = subprocess.run(
        [sys.executable, "-m", "alti2v", "tag", str(model), str(art), "--format", "json"],
        capture_output=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert b"\\\\xe4\\\\xf6.png" in finished.stdout


def test_damaged_pictures_are_named_counted_and_the_others_tagged(tag: Any, model: Any, art: Any) -> None:
    """Exit status 1, one line for each damaged file, the sums at the end, and the rest is done."""
    (art / "a0.png").write_bytes(b"no picture")
    (art / "b0.jpg").write_bytes((art / "b.jpg").read_bytes()[:200])
    write_picture(art / "c0.png", "red", size=(3, 3))
    status, out, err = tag(model, art, "--format", "json")

    assert status == 1
    assert len(out.splitlines()) == 5
    assert f"{art / 'a0.png'}: not a JPEG, PNG, GIF, WebP or AVIF picture" in err
    assert f"{art / 'b0.jpg'}: damaged" in err
    assert f"{art / 'c0.png'}: a side shorter than 16 px" in err
    assert "3 of 8 pictures could not be tagged (damaged 1, not_image 1, too_small 1)" in err.splitlines()[-1]


def one_line(err: Any) -> Any:
    """The message: the only line but for those of the progress."""
    lines = [line for line in err.splitlines() if not line.startswith("tagging:")]
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["{art}/empty"], 2, "no picture in"),
        (["{art}/gone"], 2, "gone does not exist"),
        (["{art}/*.bmp"], 2, "nothing matches"),
        (["{art}", "--exclude", "red_eye"], 2, "did you mean red_eyes"),
        (["{art}", "--format", "sidecar", "--always-first", "sabre"], 2, "selected_tags.csv for all its tags"),
        (["{art}", "--format", "sidecar", "--replace", "x", "y"], 2, "no tag 'x'"),
        (["{art}", "--threshold", "2"], 2, "threshold 2.0 is not in"),
        (["{art}", "--threshold", "half"], 2, "--threshold 'half'"),
        (["{art}", "--threshold", "hair=0.5"], 2, "no tag 'hair'"),
        (["{art}", "--threshold", "red_eyes=1.5"], 2, "threshold 1.5 is not in"),
        (["{art}", "--threshold-rule", "mcut", "--threshold", "red_eyes=0.3"], 2, "--threshold goes with"),
        (["{art}", "--threshold", "copyright=0.5"], 2, "no copyright tags, only general, character, rating"),
        (["{art}", "--category", "artist"], 2, "no artist tags"),
        (["{art}", "--threshold-rule", "f1"], 2, "no thresholds for the rule f1"),
        (["{art}", "--threshold-rule", "mcut", "--threshold", "0.3"], 2, "--threshold goes with"),
        (["{art}/gone", "--format", "csv"], 2, "gone does not exist"),
        (["{art}", "--top", "0"], 2, "--top 0 is out of range: give at least 1"),
        (["{art}", "--batch-size", "0"], 2, "--batch-size 0 is out of range: give at least 1"),
        (["{art}", "--spaces"], 2, "--spaces goes with --format sidecar"),
        (["{art}", "--existing", "skip"], 2, "--existing goes with --format sidecar"),
        (["{art}", "--json"], 2, "give --format json"),
        (["{art}", "--format", "sidecar", "--suffix", "txt"], 2, "--suffix 'txt'"),
        (["{art}", "--format", "sidecar", "--separator", "x"], 2, "--separator 'x'"),
        (["-"], 1, "standard input named no picture"),
    ],
)
def test_bad_input_ends_in_one_line(
    tag: Any, model: Any, art: Any, monkeypatch: pytest.MonkeyPatch, arguments: Any, status: Any, message: Any
) -> None:
    """Each mistake: one clear line, the documented status, and no sidecar was written."""
    (art / "empty").mkdir()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    ended, out, err = tag(model, *(argument.replace("{art}", str(art)) for argument in arguments))

    assert (ended, out) == (status, "")
    assert message in one_line(err)
    assert captions(art) == {}


def test_a_folder_that_is_no_model_is_refused(tag: Any, art: Any) -> None:
    """A folder of pictures is no model."""
    status, _, err = tag(art, art)

    assert status == 2
    assert "holds no model of alti2v" in one_line(err)


def test_progress_does_not_mix_with_results(model: Any, art: Any) -> None:
    """Standard output holds results and nothing else, standard error progress and problems."""
    finished = subprocess.run(
        [sys.executable, "-m", "alti2v", "tag", str(model), str(art), "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert len([json.loads(line) for line in finished.stdout.splitlines()]) == 5
    assert finished.stderr.startswith("tagging: 5 of 5 pictures")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
@pytest.mark.parametrize("form", ["json", "csv", "text"])
def test_results_go_into_a_file_while_progress_is_on_the_terminal(
    model: Any, art: Any, tmp_path: Path, form: Any
) -> None:
    """`alti2v tag ... > FILE` at a terminal: the file holds every result, the terminal the bars."""
    ours, theirs = os.openpty()
    with (tmp_path / "out").open("wb") as out:
        finished = subprocess.run(
            [sys.executable, "-m", "alti2v", "tag", str(model), str(art), "--format", form],
            stdout=out,
            stderr=theirs,
            check=False,
        )
    os.close(theirs)
    terminal = os.read(ours, 100_000).decode()
    os.close(ours)

    assert finished.returncode == 0, terminal
    assert (tmp_path / "out").read_text().count(str(art)) >= 5
    assert str(art) not in terminal
    assert "5/5 pictures" in terminal


def test_the_default_threshold_is_in_the_help() -> None:
    """The help names the threshold of models that have none."""
    (help_text,) = [
        option.help
        for option in cli.commands["tag"].params
        if isinstance(option, click.Option) and option.name == "thresholds"
    ]

    assert f"{DEFAULT_THRESHOLD}" in str(help_text)


def test_memory_is_flat(model: Any, tmp_path: Path) -> None:
    """Only a few batches are in memory at a time, however many pictures there are."""
    picture = write_picture(tmp_path / "x.png", "red")
    taken, shown = [], []

    def listed() -> Iterator[Any]:
        for number in range(400):
            taken.append(number)
            yield str(picture)

    def show(result: Any) -> None:
        shown.append(result)
        # Two batches ahead of the one that is shown, and one in each of at most eight threads.
        assert len(taken) - len(shown) < 3 * 4 + 8

    config = TagConfig(model=model, paths=("-",), batch_size=4)
    report = tag_files(config, show=show, listed=listed())

    assert report.tagged == len(shown) == 400
