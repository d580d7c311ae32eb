"""`alti2v demo` and `alti2v board`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option, dialect_option, option_of
from alti2v.demo.config import DemoConfig
from alti2v.numerals import duration
from alti2v.output import print_lines, print_result
from alti2v.terminal.display import progress_display

_demo_option = option_of(DemoConfig)


@click.command()
@click.option(
    "--out",
    type=LOCAL_PATH,
    default=Path("demo-out"),
    show_default=True,
    help="Folder for all files of the demo.",
)
@_demo_option("--posts", help="Number of posts on the stand-in board.")
@_demo_option("--epochs", help="Number of training epochs. Default: that of the recipe.")
@as_json_option
def demo(*, out: Path, posts: int, epochs: int | None, as_json: bool) -> None:
    """Run the whole pipeline on a local board, without network.

    Starts a stand-in board of drawn illustrations on this machine, crawls it over HTTP like a real one, builds
    shards, trains VGG16 and writes a report. Run the same command again to resume after an interruption.
    """
    from alti2v.demo.run import run_demo

    config = DemoConfig(out=out, posts=posts, epochs=epochs)
    with progress_display() as progress:
        report = run_demo(config, progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "posts listed": f"{report.posts_listed:,}",
            "files stored": f"{report.files_stored:,}",
            "pictures": f"{report.train_samples:,} train, {report.validation_samples:,} validation, "
            f"{report.test_samples:,} test",
            "tags": f"{report.tags:,}",
            "test mAP": "none, because too few tags have enough test pictures"
            if report.test_map is None
            else f"{report.test_map:.3f}   (frequencies only: {report.test_map_baseline:.3f})",
            "test micro F1": f"{report.test_micro_f1:.3f}",
            "time": duration(report.seconds),
            "store": str(report.store),
            "dataset": str(report.dataset),
            "run": str(report.run),
            "report": str(report.report),
        },
    )


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=int, default=0, show_default=True, help="Port to listen on; 0 lets the system choose."
)
@click.option("--posts", type=int, default=2000, show_default=True, help="Number of posts on the board.")
@click.option("--seed", type=int, default=2017, show_default=True, help="Random seed of the posts.")
@dialect_option("gelbooru")
@click.option("--faults", type=LOCAL_PATH, help="JSON file of faults to simulate, see docs/BOARD.md.")
@click.option(
    "--until-eof", is_flag=True, help="Stop at the end of standard input, for programs that start a board."
)
def board(
    *,
    host: str,
    port: int,
    posts: int,
    seed: int,
    dialect: Literal["gelbooru", "danbooru"],
    faults: Path | None,
    until_eof: bool,
) -> None:
    """Serve the stand-in board.

    Prints the board's URL and serves it until Ctrl-C.
    """
    from alti2v.demo.board.app import BoardConfig, serve_board
    from alti2v.demo.board.faults import Faults, read_faults

    config = BoardConfig(
        host=host,
        port=port,
        posts=posts,
        seed=seed,
        dialect=dialect,
        faults=Faults() if faults is None else read_faults(faults),
    )
    serve_board(
        config, announce=lambda url: print_lines([url]), parent_pipe=sys.stdin.fileno() if until_eof else None
    )
