"""Which pictures arguments name: each is one item, whatever is in a folder, and none stops the others."""

from __future__ import annotations

import codecs
import errno
import io
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from alti2v.errors import UsageError
from alti2v.model.tagging.inputs import count_pictures, find_pictures, listed_names
from alti2v.model.tagging.preprocess import Problem, read_picture_file


def names_below(folder: Path, arguments: Sequence[object] = ()) -> list[str]:
    """Return what is found, relative to a folder, with the problem of what cannot be read."""
    found = find_pictures([str(one) for one in arguments or (folder,)])
    return [
        str(path.relative_to(folder)) + (f": {source.kind}" if isinstance(source, Problem) else "")
        for path, source in found
    ]


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_odd_entries_are_items_like_others(tmp_path: Path) -> None:
    """Links that lead nowhere, to themselves or to a folder, pipes, and folders called like pictures."""
    touched(tmp_path, "a.png", "sub.jpg/b.PNG", "z.png", "sub.jpg/.hidden.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "itself.png").symlink_to("itself.png")
    (tmp_path / "up").symlink_to(tmp_path)
    (tmp_path / "folder.png").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")

    assert names_below(tmp_path) == ["a.png", "gone.png", "itself.png", "pipe.png", "z.png", "sub.jpg/b.PNG"]
    assert count_pictures([str(tmp_path)]) == 6


def test_a_folder_that_cannot_be_listed_is_an_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are found, and the folder is named with the reason."""
    touched(tmp_path, "a.png", "locked/b.png", "open/c.png")
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", guarded)

        assert names_below(tmp_path) == ["a.png", "locked: unreadable", "open/c.png"]
        assert "locked: unreadable" in names_below(tmp_path, [f"{tmp_path}/**/*.png"])


def test_a_pattern_does_not_follow_links_in_circles(tmp_path: Path) -> None:
    """Two links to the top would double the pictures at each of forty levels."""
    touched(tmp_path, "a.png", "deep/er/b.png", "deep/er/c.bmp")
    for name in ("one", "two"):
        (tmp_path / "deep" / name).symlink_to(tmp_path)

    assert names_below(tmp_path, [f"{tmp_path}/**/*.png"]) == ["a.png", "deep/er/b.png"]
    assert names_below(tmp_path, [f"{tmp_path}/**/e*/**"]) == ["deep/er/b.png"]
    assert names_below(tmp_path, [f"{tmp_path}/*/one/*.png"]) == ["deep/one/a.png"]  # a link that is named


def test_folders_may_be_nested_more_deeply_than_the_stack(tmp_path: Path) -> None:
    """A path may have two thousand folders; Python calls itself a thousand times at most."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        for _ in range(1500):
            os.mkdir("d")  # noqa: PTH102 - one by one
            os.chdir("d")
        Path("a.png").touch()
        found = [path.name for path, _ in find_pictures([str(tmp_path)])]
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil.rmtree calls itself

    assert found == ["a.png"]


def test_formats_that_are_not_read_are_counted(tmp_path: Path) -> None:
    """They are named in the counts of folders and patterns, and in the message if nothing else is there."""
    touched(tmp_path, "a.png", "b.bmp", "c.JXL", "d.jxl", "e.txt", "x.apng")
    for argument in (str(tmp_path), f"{tmp_path}/*.*"):
        unread = Counter[str]()

        assert len(list(find_pictures([argument], unread=unread))) == 2
        assert unread == {".bmp": 1, ".jxl": 2}
    with pytest.raises(UsageError, match=r"no picture in .*; 1 \.bmp is not read: convert to PNG"):
        count_pictures([f"{tmp_path}/*.bmp"])


def test_a_file_that_vanishes_does_not_stop_the_others(tmp_path: Path) -> None:
    """An argument is looked up once, at the start; later its file is missing like any other."""
    touched(tmp_path, "a.png", "b.png")
    arguments = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert count_pictures(arguments) == 2
    (tmp_path / "a.png").unlink()

    assert [path.name for path, _ in find_pictures(arguments)] == ["a.png", "b.png"]
    with pytest.raises(UsageError, match=r"a\.png does not exist"):
        count_pictures(arguments)


class Slow(io.RawIOBase):
    """A pipe that gives few bytes at a time; `given` is the number of those that were read."""

    def __init__(self, content: bytes, most: int = 1) -> None:
        self._rest, self._most, self.given = content, most, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        some = self._rest[self.given : self.given + min(self._most, len(buffer))]
        buffer[: len(some)] = some
        self.given += len(some)
        return len(some)


@pytest.mark.parametrize(
    "opened",
    [io.BytesIO, lambda content: io.BufferedReader(Slow(content))],
    ids=["at once", "byte by byte"],
)
@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.png\nb c.png\n", ["a.png", "b c.png"]),
        (b"a.png\r\n\r\nb.png", ["a.png", "", "b.png"]),
        (codecs.BOM_UTF8 + b"a.png\n", ["a.png"]),
        (b"a.png\0b.png\0", ["a.png", "b.png"]),
        (b"a.png\0b\r.png\0", ["a.png", "b\r.png"]),
        (b"new\nline.png\0b.png\0", ["new\nline.png", "b.png"]),
        (b"a.png\nb.png\0\nc.png\n", ["a.png", "b.png\0", "c.png"]),
        (b"a\n" * 3_000 + b"b\0\nc\n" + b"d\n" * 3_000, [*["a"] * 3_000, "b\0", "c", *["d"] * 3_000]),
        (b"new\nline\0" * 3_000, ["new\nline"] * 3_000),
        (b"caf\xe9.png\n", [os.fsdecode(b"caf\xe9.png")]),
        (b"", []),
    ],
)
def test_lists_of_every_kind(opened: Callable[[bytes], BinaryIO], content: bytes, names: list[str]) -> None:
    """A byte order mark, CR before a line end, and NUL as a separator; whoever writes the list."""
    assert list(listed_names(opened(content))) == names


def test_a_slow_list_is_given_while_it_is_written(tmp_path: Path) -> None:
    """As soon as a name has arrived, if the first line is a file: then NUL is no separator."""
    touched(tmp_path, "a.png")
    for lines, separator in ((b"%s\r\nb.png\n" + b"c" * 9_000, 2), (b"%s\0b.png\0" + b"c" * 9_000, 1)):
        first = str(tmp_path / "a.png")
        stream = Slow(lines % os.fsencode(first))
        names = listed_names(io.BufferedReader(stream))

        assert next(names) == first
        assert stream.given == len(first) + separator
        assert next(names) == "b.png"


def test_a_name_that_arrives_in_many_pieces_takes_no_longer() -> None:
    """Each byte is looked at once, or a megabyte without a line end would take minutes."""
    began = time.process_time()
    (name,) = listed_names(io.BufferedReader(Slow(b"x" * 900_000, most=20)))

    assert len(name) == 900_000
    assert time.process_time() - began < 2


def test_a_list_in_utf_16_is_refused() -> None:
    """Its bytes are no names of files."""
    with pytest.raises(UsageError, match="UTF-16"):
        list(listed_names(io.BytesIO("a.png\n".encode("utf-16"))))


def test_a_line_without_an_end_is_not_kept_in_memory() -> None:
    """A file that is no list, given by mistake, is refused after a megabyte; names before it are given."""
    stream = io.BytesIO(b"a.png\n" + b"x" * (8 << 20))
    names = listed_names(stream)

    assert next(names) == "a.png"
    with pytest.raises(UsageError, match="a line has more than 1 MB"):
        next(names)
    assert stream.tell() < 2 << 20


def test_what_is_no_picture_file_is_told_without_reading_it(tmp_path: Path) -> None:
    """A pipe would wait endlessly, a device never ends, and a sparse file is larger than the memory."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    kinds = {}
    for name in ("pipe", "zero", "sparse", "", "gone", "n" * 300):
        read = read_picture_file(tmp_path / name)
        kinds[name[:6]] = read.kind if isinstance(read, Problem) else "read"
    assert kinds == {
        "pipe": "not_file",
        "zero": "not_file",
        "sparse": "too_large",
        "": "not_file",
        "gone": "missing",
        "nnnnnn": "unreadable",
    }
