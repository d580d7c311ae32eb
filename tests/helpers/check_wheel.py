"""Use an installed wheel as its users do; `make wheel-test` runs this outside of the source."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import alti2v

PROGRAM = Path(sys.executable).parent / "alti2v"
SOURCE = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> str:
    """Run a command of the installed program and return what it prints."""
    print("alti2v", *arguments)
    finished = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return finished.stdout


@contextmanager
def stand_in_board(posts: int) -> Iterator[str]:
    """Serve a board on a free port and yield its URL."""
    command = [str(PROGRAM), "board", "--posts", str(posts), "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        yield board.stdout.readline().strip()
        board.communicate()


def check_api() -> None:
    """Import every public name from the installed package."""
    assert SOURCE / "alti2v" not in Path(alti2v.__file__).parents, alti2v.__file__
    for name in alti2v.__all__:
        getattr(alti2v, name)
    print(f"{len(alti2v.__all__)} public names of alti2v {alti2v.__version__}")


def check_stages(folder: Path) -> None:
    """Crawl a board, build a dataset, train for one epoch and evaluate."""
    store, dataset, trained = folder / "store", folder / "dataset", folder / "run"
    with stand_in_board(posts=150) as url:
        run("crawl", store, "--board", url, "--allow-private", "--rate", "1000", "--api-rate", "1000")
    run(
        "build-shards", store, dataset, "--size", "32", "--top-tags", "20", "--test", "30", "--validation", "15"
    )
    run("train", dataset, trained, "--recipe", "scratch", "--weights", "none", "--epochs", "1")
    report = json.loads(run("eval", trained, "--json"))
    assert Path(report["report"]).read_text(encoding="utf-8").startswith("<!doctype html>"), report
    print(f"test micro F1 {report['micro_f1']:.3f}")


def main() -> None:
    """Check the program's help, the public API, and the stages one after another."""
    assert "build-shards" in run("--help")
    check_api()
    with tempfile.TemporaryDirectory() as folder:
        check_stages(Path(folder))


if __name__ == "__main__":
    main()
