"""Commands on many pictures: one bad item never stops the others, and no caption replaces another's."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alti2v.vectors.sources import path_of_key
from alti2v.vectors.vector_file import read_keys
from tests.dataset.helpers.tiny_store import encoded
from tests.helpers import command
from tests.model.helpers.tiny_wd import write_picture, write_wd_folder
from tests.pictures.helpers.files import with_many_scans

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'alti2v[onnx]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'alti2v[export]'")

Ran = tuple[int, str, str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wd_folder(tmp_path_factory.mktemp("wd"), with_features=True)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process: (status, stdout, stderr)."""
    return functools.partial(command.run, capsys)


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with two sound pictures, one with a name that is not UTF-8, among what cannot be read."""
    folder = tmp_path / "odd"
    write_picture(folder / "a.png", "red")
    write_picture(folder / "z.png", "blue").rename(Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")))
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    return folder


def test_tag_does_what_can_be_done(run: Callable[..., Ran], model: Path, odd: Path) -> None:
    """Each of five unusable entries is one line and one count; the two pictures are tagged."""
    status, out, err = run("tag", model, odd, "--format", "sidecar", "--json")
    report = json.loads(out)

    assert (status, report["tagged"]) == (1, 2)
    assert report["failed"] == {"unreadable": 1, "missing": 1, "not_file": 2, "too_large": 1}
    assert (odd / "a.txt").exists()
    assert (odd / os.fsdecode(b"caf\xe9.txt")).exists()
    assert sum(": " in line and "odd" in line for line in err.splitlines()) == 5


def test_embed_does_what_can_be_done(run: Callable[..., Ran], model: Path, odd: Path, tmp_path: Path) -> None:
    """Vectors of names that are not UTF-8, too; the same command again skips them, and a search shows them."""
    vectors = tmp_path / "v.parquet"
    for done in (2, 0):
        status, out, _ = run("embed", model, odd, "--out", vectors, "--json")
        report = json.loads(out)

        assert (status, report["embedded"], report["skipped"], report["rows"]) == (1, done, 2 - done, 2)
    keys = list(read_keys(vectors))
    assert keys[1] == f"file://{odd}/caf%E9.png"
    assert [path_of_key(key).exists() for key in keys] == [True, True]
    pytest.importorskip("faiss", reason="faiss is not installed: pip install 'alti2v[search]'")
    status, out, _ = run("search", vectors, "--tags", "blue_sky", "--html", tmp_path / "found.html")
    assert (status, "caf%E9.png" in out) == (0, True)
    assert (tmp_path / "found.html").read_text().count("data:image/jpeg") == 2


def test_a_search_with_a_picture_that_is_no_file_is_one_line(
    run: Callable[..., Ran], model: Path, odd: Path, tmp_path: Path
) -> None:
    """A pipe is not waited for."""
    run("embed", model, odd, "--out", tmp_path / "v.parquet")
    arguments = ("search", tmp_path / "v.parquet", "--model", model, "--picture", odd / "pipe.png")
    status, _, err = run(*arguments)

    assert status == 1
    assert "pipe.png: not a file" in err


def test_names_as_long_as_names_may_be(run: Callable[..., Ran], model: Path, tmp_path: Path) -> None:
    """Downloaders put tags into names: a caption file is written whenever its own name is possible."""
    write_picture(tmp_path / f"{'a' * 251}.png", "red")
    write_picture(tmp_path / f"{'東' * 83}.jpg", "green")
    write_picture(tmp_path / "z.png", "blue")
    (tmp_path / "z.png").rename(tmp_path / f"{'b' * 253}.x")
    write_picture(tmp_path / "z.png", "blue")
    long = tmp_path / f"{'b' * 253}.x"
    status, out, err = run("tag", model, long, tmp_path, "--format", "sidecar", "--json")

    assert status == 1
    assert json.loads(out)["failed"] == {"sidecar": 1}
    assert "cannot be written: File name too long" in err
    assert len(list(tmp_path.glob("*.txt"))) == 3


def test_a_caption_that_cannot_be_written_stops_no_other(
    run: Callable[..., Ran], model: Path, tmp_path: Path
) -> None:
    """A folder or a pipe has the caption's name: it is named and kept, with every action for existing files."""
    for name in ("a", "b", "c"):
        write_picture(tmp_path / f"{name}.png", "red")
    (tmp_path / "a.txt").mkdir()
    os.mkfifo(tmp_path / "b.txt")
    for action in ("skip", "append", "overwrite"):
        status, out, err = run("tag", model, tmp_path, "--format", "sidecar", "--json", "--existing", action)

        assert (status, json.loads(out)["failed"]) == (1, {"sidecar": 2})
        assert err.count("is not a file: rename or remove it") == 2
    assert (tmp_path / "c.txt").is_file()
    assert (tmp_path / "a.txt").is_dir()


# Captions -----------------------------------------------------------------------------------------


def _in_order(folder: Path) -> list[str]:
    return [str(folder / name) for name in ("a.jpg", "b.jpg", "a.png")]


@pytest.mark.parametrize("action", ["skip", "append", "overwrite"])
@pytest.mark.parametrize(
    "given",
    [
        _in_order,
        lambda folder: [str(folder)],
        lambda folder: [f"{folder}/*.*"],
        lambda folder: [f"{folder}/**/a.*"],
        lambda folder: [str(folder / "a.jpg"), str(folder)],
        lambda folder: [str(folder / "a.jpg"), f"{folder}/../{folder.name}/./a.png"],
        lambda folder: [str(folder / "a.jpg"), str(folder.parent / "link" / "a.png")],
    ],
    ids=["arguments", "folder", "pattern", "deep pattern", "file and folder", "dots", "link"],
)
def test_no_caption_replaces_that_of_another_picture(
    run: Callable[..., Ran], model: Path, tmp_path: Path, given: Callable[[Path], list[str]], action: str
) -> None:
    """Of two pictures of one stem the first gets the caption and the other is named, however they are given."""
    folder = tmp_path / "art"
    for name, colour in (("a.jpg", "red"), ("b.jpg", "green"), ("a.png", "blue")):
        write_picture(folder / name, colour)
    (tmp_path / "link").symlink_to(folder)
    status, out, err = run("tag", model, *given(folder), "--format", "sidecar", "--json", "--existing", action)

    assert (status, json.loads(out)["failed"]) == (1, {"same_sidecar": 1})
    assert "a.png: shares a.txt with a.jpg: rename one of them" in err
    assert (folder / "a.txt").read_text().startswith("red_eyes")


def test_a_picture_that_is_given_twice_is_done_once(
    run: Callable[..., Ran], model: Path, tmp_path: Path
) -> None:
    """A picture that is named twice does not conflict with itself."""
    picture = write_picture(tmp_path / "a.png", "red")
    for action in ("append", "overwrite"):
        arguments = (picture, tmp_path, f"{tmp_path}/*.png", "--existing", action)
        status, out, _ = run("tag", model, *arguments, "--format", "sidecar", "--json")
        report = json.loads(out)

        assert (status, report["tagged"], report["skipped"]) == (0, 1, 2)


def test_a_caption_never_replaces_a_picture(run: Callable[..., Ran], model: Path, tmp_path: Path) -> None:
    """Neither the picture itself, called like a caption, nor all pictures of a format."""
    picture = write_picture(tmp_path / "a.png", "red").rename(tmp_path / "a.txt")
    content = picture.read_bytes()
    arguments = ("tag", model, picture, "--format", "sidecar", "--existing", "overwrite")
    status, _, err = run(*arguments)

    assert (status, picture.read_bytes()) == (1, content)
    assert "its caption would replace the picture itself" in err
    for suffix in (".PNG", ".jpg", ".avif"):
        status, _, err = run(*arguments, "--suffix", suffix)
        assert (status, "would replace pictures" in err) == (2, True)


# Interruption -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A JPEG that takes minutes to decode."""
    flat = encoded(Image.new("RGB", (4000, 4000), "teal"), progressive=True, optimize=True)
    return with_many_scans(flat, 3000)


@pytest.mark.parametrize("command", ["tag", "embed"])
def test_ctrl_c_ends_the_command_within_two_seconds(
    command: str, model: Path, tmp_path: Path, slow: bytes
) -> None:
    """Also in the middle of a picture that takes minutes; what was done before is kept."""
    for number in range(4):
        (tmp_path / f"slow{number}.jpg").write_bytes(slow)
    write_picture(tmp_path / "a.png", "red")
    extra = ["--out", str(tmp_path / "v.parquet")] if command == "embed" else ["--batch-size", "1"]
    # A suite in the background inherits an ignored SIGINT.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from alti2v.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, command, str(model), str(tmp_path), *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_decoders(process.pid, busy_s=0.5)
    process.send_signal(signal.SIGINT)
    ended_s = seconds_to_end(process, at_most_s=2)
    process.kill()
    _, errors = process.communicate(timeout=60)

    assert ended_s < 2
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors


def seconds_to_end(process: subprocess.Popen[bytes], *, at_most_s: float) -> float:
    """Return how long a process takes to end, in processor time of a loop that waits for it.

    On an idle machine that is the time on the clock; on a busy one, the loop is held up as much as the process.
    """
    begun_s = time.thread_time()
    while process.poll() is None and time.thread_time() - begun_s < at_most_s:
        pass
    return time.thread_time() - begun_s


def wait_for_decoders(pid: int, *, busy_s: float) -> None:
    """Wait until a child of a process has used some processor time on a slow picture."""
    ticks = busy_s * os.sysconf("SC_CLK_TCK")
    for _ in itertools.count():
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if any(_decoding_ticks(int(child)) > ticks + _START_TICKS for child in children):
            return
        time.sleep(0.02)


_START_TICKS = 80  # processor time that a decoder takes to start


def _decoding_ticks(pid: int) -> int:
    try:
        fields: Any = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])
