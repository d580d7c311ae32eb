"""The command line: options to a config dataclass, ONE library call, the result printed.

Everything heavy is imported inside the command that needs it: `alti2v --help` answers at once.
Defaults are written here for `--help`, and a test holds them against the dataclasses.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from alti2v import __version__
from alti2v.errors import Alti2vError, DamagedError, RemoteError, UsageError
from alti2v.terminal import duration, print_result, progress_display, size

_DIRECTORY = click.Path(path_type=Path)
_INTERRUPTED = 130  # 128 + SIGINT, the shells' convention


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented status."""
    try:
        cli.main(args=arguments, prog_name="alti2v", standalone_mode=False)
        status = 0
    except Alti2vError as exc:
        click.echo(f"alti2v: {exc}", err=True)
        status = exc.exit_status
    except click.ClickException as exc:
        exc.show()
        status = UsageError.exit_status
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("alti2v: interrupted; nothing stored is lost, run the same command again to go on", err=True)
        status = _INTERRUPTED
    except BrokenPipeError:  # `alti2v ... | head`: the reader has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - held until exit
        status = 0
    sys.exit(status)


class _InOrder(click.Group):
    """A group whose help lists the commands in the order in which a person needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """From an illustration board to an illustration tagger of your own.

    crawl a board into a STORE, build-shards makes a DATASET of it, train makes a RUN of that, eval judges the
    run. Each command can be run again at any time: it does what is missing, and no more.

    Exit status: 0 done, 1 failed, 2 usage, 3 incomplete (the remote side kept some items from us; run again
    later), 4 damaged data, 130 interrupted.
    """


_as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def _dialect_option(default: str | None) -> Callable[[Any], Any]:
    return click.option(
        "--dialect",
        type=click.Choice(["gelbooru", "danbooru"]),
        default=default,
        show_default=default is not None,
        help="The board's software."
        if default
        else "The board's software; found out by asking where not given.",
    )


@cli.command()
@click.option(
    "--out", type=_DIRECTORY, default=Path("demo-out"), show_default=True, help="Everything goes here."
)
@click.option("--posts", type=int, default=1600, show_default=True, help="Posts on the stand-in board.")
@click.option("--epochs", type=int, default=None, help="Training epochs, instead of the demo's own number.")
@_as_json
def demo(*, out: Path, posts: int, epochs: int | None, as_json: bool) -> None:
    """Show the whole product at work, without network.

    A stand-in board with drawn illustrations is started on this machine and crawled over HTTP like a real one;
    shards are built, VGG16 is trained, and a report is written. Run it again after an interruption: it goes on.
    """
    from alti2v.demo.run import DemoConfig, run_demo

    config = DemoConfig(out=out, posts=posts, epochs=epochs)
    with progress_display() as progress:
        report = run_demo(config, progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "posts listed": f"{report.posts_listed:,}",
            "files stored": f"{report.files_stored:,}",
            "samples": f"{report.train_samples:,} train, {report.validation_samples:,} validation, "
            f"{report.test_samples:,} test",
            "tags": f"{report.tags:,}",
            "test mAP": f"{report.test_map:.3f}   (frequency only: {report.test_map_baseline:.3f})",
            "test micro F1": f"{report.test_micro_f1:.3f}",
            "time": duration(report.seconds),
            "store": str(report.store),
            "dataset": str(report.dataset),
            "run": str(report.run),
            "report": str(report.report),
        },
    )


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=int, default=0, show_default=True, help="Port to listen on; 0 lets the system choose."
)
@click.option("--posts", type=int, default=2000, show_default=True, help="How many posts the board has.")
@click.option("--seed", type=int, default=2017, show_default=True, help="What the posts are drawn from.")
@_dialect_option("gelbooru")
@click.option("--faults", type=click.Path(path_type=Path), default=None, help="JSON file of faults to play.")
@click.option(
    "--until-eof", is_flag=True, help="Stop when standard input ends: for programs that start a board."
)
def board(
    *, host: str, port: int, posts: int, seed: int, dialect: str, faults: Path | None, until_eof: bool
) -> None:
    """Serve the stand-in board.

    Prints its URL, and serves until Ctrl-C.
    """
    from alti2v.demo.board import BoardConfig, serve_board
    from alti2v.demo.faults import Faults, read_faults

    config = BoardConfig(
        host=host,
        port=port,
        posts=posts,
        seed=seed,
        dialect=dialect,
        faults=Faults() if faults is None else read_faults(faults),
    )
    serve_board(config, announce=click.echo, parent_pipe=sys.stdin.fileno() if until_eof else None)


@cli.command()
@click.argument("store", type=_DIRECTORY)
@click.option("--board", required=True, help="safebooru, donmai, or the URL of a board.")
@_dialect_option(None)
@click.option("--tags", default="", help="Search terms, as the board's own search takes them.")
@click.option("--limit", type=int, default=None, help="At most so many posts, newest first.")
@click.option(
    "--files",
    type=click.Choice(["sample", "original"]),
    default="sample",
    show_default=True,
    help="Fetch the reduced picture (about 850 px wide) or the original.",
)
@click.option(
    "--rate", type=float, default=4.0, show_default=True, help="Requests per second to one host, in all."
)
@click.option("--api-rate", type=float, default=1.0, show_default=True, help="Of these, API requests.")
@click.option("--connections", type=int, default=4, show_default=True, help="Connections to one host.")
@click.option("--contact", default=None, help="Mail address or URL for the User-Agent: be reachable.")
@click.option(
    "--allow-private", is_flag=True, help="Allow addresses that are not public, such as this machine's."
)
@_as_json
def crawl(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's own values, typed by CrawlConfig
    """List a board's posts and fetch their files into STORE.

    Run it again to go on after an interruption, or later to add what is new.
    """
    from alti2v.crawl.crawler import CrawlConfig
    from alti2v.crawl.crawler import crawl as crawl_board

    with progress_display() as progress:
        report = crawl_board(CrawlConfig(**options), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "listed": f"{report.listed:,}",
            "stored": f"{report.stored:,} ({size(report.bytes)})",
            "new": f"{report.new:,}",
            "duplicate": f"{report.duplicate:,}",
            **{f"skipped: {reason}": f"{count:,}" for reason, count in report.skipped.items()},
            **{f"failed: {kind}": f"{count:,}" for kind, count in report.failed.items()},
            "time": duration(report.seconds),
            "store": str(report.store),
        },
    )
    if not report.complete:
        raise RemoteError(f"incomplete: {report.missing}")


@cli.command("build-shards")
@click.argument("store", type=_DIRECTORY)
@click.argument("dataset", type=_DIRECTORY)
@click.option("--size", type=int, default=224, show_default=True, help="Side of the square pictures, px.")
@click.option("--top-tags", type=int, default=5000, show_default=True, help="Size of the tag vocabulary.")
@click.option("--test", type=int, default=20_000, show_default=True, help="Test pictures.")
@click.option("--validation", type=int, default=10_000, show_default=True, help="Validation pictures.")
@click.option("--shard-samples", type=int, default=10_000, show_default=True, help="Pictures in one shard.")
@click.option(
    "--workers", type=int, default=None, help="Processes; as many as there are cores where not given."
)
@_as_json
def build_shards(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by BuildConfig
    """Make a DATASET of a STORE.

    Decides the tag vocabulary and the split, and writes resized pictures as WebDataset shards with Parquet
    tables.
    """
    from alti2v.dataset.build import BuildConfig
    from alti2v.dataset.build import build_shards as build

    with progress_display() as progress:
        report = build(BuildConfig(**options), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "samples": f"{report.train:,} train, {report.validation:,} validation, {report.test:,} test",
            "tags": f"{report.tags:,}",
            "shards": f"{report.shards:,} ({size(report.bytes)})",
            **{outcome: f"{count:,}" for outcome, count in report.outcomes.items()},
            "time": duration(report.seconds),
            "dataset": str(report.dataset),
        },
    )


@cli.command()
@click.argument("directory", type=_DIRECTORY, metavar="STORE|DATASET")
@click.option("--repair", is_flag=True, help="Put right what can be put right.")
@click.option("--deep", is_flag=True, help="Also decode every picture of a dataset.")
@_as_json
def verify(*, directory: Path, repair: bool, deep: bool, as_json: bool) -> None:
    """Re-read everything and name what is wrong."""
    from alti2v.storage.directory import Kind, kind_of

    with progress_display() as progress:
        if kind_of(directory) is Kind.DATASET:
            from alti2v.dataset.verify import verify_dataset

            verification = verify_dataset(directory, repair=repair, deep=deep, progress=progress)
        else:
            from alti2v.crawl.verify import verify_store

            verification = verify_store(directory, repair=repair, progress=progress)
    print_result(
        verification,
        as_json=as_json,
        table={
            **{f"{item} checked": f"{count:,}" for item, count in verification.checked.items()},
            **{
                finding.where: f"{finding.what}{_repaired(finding.repaired)}"
                for finding in verification.findings
            },
            "wrong": f"{len(verification.findings):,}",
        },
    )
    wrong = sum(not finding.repaired for finding in verification.findings)
    if wrong:
        advice = "see above" if repair else "run `alti2v verify --repair`"
        raise DamagedError(f"{directory}: {wrong:,} things are wrong: {advice}")


@cli.command()
@click.argument("dataset", type=_DIRECTORY)
@click.argument("run", type=_DIRECTORY)
@click.option(
    "--recipe", type=click.Choice(["modern", "seed"]), default="modern", show_default=True, help="How to train."
)
@click.option("--epochs", type=int, default=None, help="Passes over the data; the recipe's where not given.")
@click.option("--batch-size", type=int, default=None, help="Pictures per step; the recipe's where not given.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Where VGG16 starts: imagenet (Keras fetches them), none, or the path of a weights file.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
@_as_json
def train(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by TrainConfig
    """Train a tagger on a DATASET into a RUN.

    Run it again after an interruption: it resumes at the very step where it stopped.
    """
    from alti2v.model.train import TrainConfig
    from alti2v.model.train import train as train_model

    with progress_display() as progress:
        report = train_model(TrainConfig(**options), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "recipe": f"{report.recipe}, {report.parameters:,} parameters",
            "epochs": f"{report.epochs:,} ({report.steps:,} steps)",
            "loss": f"{report.loss:.4f}",
            "speed": f"{report.samples_per_s:,.1f} samples/s",
            "time": duration(report.seconds),
            "run": str(report.run),
        },
    )


@cli.command("eval")
@click.argument("run", type=_DIRECTORY)
@click.option(
    "--dataset", type=_DIRECTORY, default=None, help="Another dataset than the one it was trained on."
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="What to judge on.",
)
@click.option("--out", type=_DIRECTORY, default=None, help="Where the report goes; RUN/eval where not given.")
@_as_json
def evaluate(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by EvalConfig
    """Judge a RUN on pictures it has never seen.

    Writes metrics.json, per_tag.csv and report.html.
    """
    from alti2v.model.evaluate import EvalConfig
    from alti2v.report.evaluation import write_evaluation

    with progress_display() as progress:
        report = write_evaluation(EvalConfig(**options), progress=progress)
    print_result(report, as_json=as_json, table=report.table)


def _repaired(repaired: bool) -> str:  # noqa: FBT001 - a formatter of one value
    return " (repaired)" if repaired else ""
