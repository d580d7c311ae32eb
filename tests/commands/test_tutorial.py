"""docs/TUTORIAL.md: every command runs as printed, with fewer pictures and a narrow network."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alti2v.cli import main
from alti2v.model.recipes import RECIPES
from tests.crawl.importing.helpers.sources import picture

TEXT = (Path(__file__).parents[2] / "docs" / "TUTORIAL.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"^```\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
BOARD, CRAWL = (
    next(arguments for arguments in COMMANDS if arguments[0] == name) for name in ("board", "crawl")
)
PICTURES = 116  # 100 of them for validation and test

pytestmark = [pytest.mark.tf, pytest.mark.usefixtures("narrow_vgg16")]


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command, and return its standard output."""
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    printed = capsys.readouterr()
    assert ending.value.code == 0, (arguments, printed.err)
    return printed.out


def test_the_way_with_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All commands but those of the board run in one folder, and print what the tutorial tells to look at."""
    pytest.importorskip("faiss", reason="faiss is not installed: pip install 'alti2v[search]'")
    for folder, count in (("pictures", PICTURES), ("new", 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number}.jpg").write_bytes(picture(number))
    for number in range(PICTURES):
        tags = ["1girl", "smile", *(f"tag {k}" for k in range(2, 6) if number % k == 0)]
        (tmp_path / "pictures" / f"{number}.txt").write_text(", ".join(tags))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "scratch", replace(RECIPES["scratch"], epochs=1, features=16))
    printed = {
        arguments[0]: run(arguments, capsys) for arguments in COMMANDS if arguments not in (BOARD, CRAWL)
    }

    looked_at = {
        "import": f"new  {PICTURES}",
        "build-shards": "near-duplicates",
        "stats": "most frequent",
        "train": "validation mAP",
        "eval": "frequencies only",
        "search": "1.0000",
    }
    for command, words in looked_at.items():
        assert words in re.sub(" {2,}", "  ", printed[command]), command
    assert (tmp_path / "run" / "eval" / "report.html").is_file()
    assert (tmp_path / "new" / "1.txt").is_file()
    assert (tmp_path / "found.html").is_file()


def test_the_way_without_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The board of the tutorial is crawled by its command: here at a free port, and with few posts."""
    address, posts = "http://127.0.0.1:8080", 5
    assert address in CRAWL
    smaller = [{"8080": "0", "400": str(posts)}.get(argument, argument) for argument in BOARD]
    with subprocess.Popen(
        [sys.executable, "-m", "alti2v", *smaller, "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as board:
        assert board.stdout is not None
        url = board.stdout.readline().strip()
        store = str(tmp_path / "store")
        printed = run([{address: url, "store": store}.get(argument, argument) for argument in CRAWL], capsys)
        assert board.stdin is not None
        board.stdin.close()

    assert re.search(rf"listed +{posts}\n +stored +\d", printed)
