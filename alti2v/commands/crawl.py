"""`alti2v crawl`."""

from __future__ import annotations

from typing import Any

import click

from alti2v.commands.options import DIRECTORY, as_json_option, dialect_option
from alti2v.errors import RemoteError
from alti2v.terminal import duration, print_result, progress_display, size


@click.command()
@click.argument("store", type=DIRECTORY)
@click.option("--board", required=True, help="safebooru, donmai, or the URL of a board.")
@dialect_option(None)
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
@as_json_option
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
