"""`alti2v crawl` and `alti2v status`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import (
    LOCAL_PATH,
    as_json_option,
    dialect_option,
    local_folder,
    option_of,
    work_option,
)
from alti2v.crawl.config import CHOICES, CrawlConfig
from alti2v.errors import RemoteError
from alti2v.numerals import counted, duration, size
from alti2v.output import print_result
from alti2v.storage.layout import IMPORTED
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.crawl.run_log import LastRun
    from alti2v.crawl.status import StoreStatus
    from alti2v.crawl.store.ledger.outcomes import PostCounts


netrc_option = click.option(
    "--netrc",
    type=LOCAL_PATH,
    metavar="[FILE]",
    is_flag=False,
    flag_value="~/.netrc",
    default=None,
    help="Send the board's API key from this netrc file. Default FILE: ~/.netrc.",
)

_crawl_option = option_of(CrawlConfig)


@click.command()
@click.argument("store")
@work_option("Local folder for the ledger and unfinished files; needed if STORE is a URL.")
@click.option(
    "--board",
    required=True,
    help="Board to crawl: safebooru, donmai, gelbooru, rule34, danbooru, or the URL of a board or of a search.",
)
@dialect_option(None)
@_crawl_option("--tags", help="Search terms in the board's own syntax. Default: all posts.")
@_crawl_option("--min-id", help="Lowest post id to crawl.")
@_crawl_option("--max-id", help="Highest post id to crawl.")
@_crawl_option("--min-score", help="Lowest score of a post to crawl.")
@_crawl_option("--exclude", metavar="TAG", help="Leave out posts with this tag. Repeatable.")
@_crawl_option(
    "--list-from",
    metavar="TABLE",
    help="Take the listing from this table (Parquet, CSV, JSON lines) instead of from the board.",
)
@_crawl_option("--limit", help="Maximum number of posts, newest first. Default: all.")
@_crawl_option(
    "--files",
    type=click.Choice(CHOICES["files"]),
    help="Files to download: reduced pictures (about 850 px wide), originals, or none to list posts only.",
)
@_crawl_option("--rate", help="Maximum number of requests per second to one host.")
@_crawl_option("--api-rate", help="Maximum number of API requests per second, included in --rate.")
@_crawl_option("--connections", help="Maximum number of connections to one host.")
@_crawl_option(
    "--refresh", metavar="DAYS", help="Also update posts that changed in the last DAYS, and mark deleted ones."
)
@click.option(
    "--retry-failed",
    metavar="[KIND]",
    is_flag=False,
    flag_value="all",
    default=None,
    help="List no posts; only retry failed downloads: all, or those of one kind, such as http_404.",
)
@_crawl_option(
    "--tag-categories-from",
    type=click.Choice(CHOICES["tag_categories_from"]),
    help="Source of tag categories if the board's posts lack them; donmai returns 1,000 tags per request.",
)
@_crawl_option(
    "--tag-min-count", help="Request the category of a tag only if at least this many posts have it."
)
@_crawl_option(
    "--tag-relations",
    type=click.Choice(CHOICES["tag_relations"]),
    help="Also fetch tag aliases and implications from this board.",
)
@_crawl_option("--donmai-url", hidden=True, help="Another site in its place.")
@_crawl_option("--keep-mismatched", help="Also store originals whose MD5 differs from the board's.")
@netrc_option
@_crawl_option("--contact", help="Mail address or URL to send in the User-Agent header.")
@_crawl_option(
    "--allow-private", help="Allow a board whose host has a private address, such as this machine's."
)
@as_json_option
def crawl(*, store: str, work: Path | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's own values, typed by CrawlConfig
    """List a board's posts and fetch their files into a STORE.

    STORE is a folder, or a URL such as s3://bucket/folder. Run the same command again to resume after an
    interruption, or later to add new posts.
    """
    folder = local_folder(store, work, purpose="the ledger and unfinished files")
    from alti2v.crawl.crawler import crawl_board

    with progress_display() as progress:
        report = crawl_board(
            CrawlConfig(store=folder, url=None if work is None else store, **options),
            progress=progress,
        )
    print_result(
        report,
        as_json=as_json,
        table={
            **_sums(report),
            "new in this run": f"{counted(report.new, 'file')} in {duration(report.seconds)}",
            "store": store,
        },
    )
    if not report.complete:
        raise RemoteError(f"incomplete: {report.missing}")


@click.command()
@click.argument("store", type=LOCAL_PATH)
@click.option(
    "--windows",
    type=int,
    metavar="N",
    help="Compare the store with the board's number of posts in each window of N ids.",
)
@netrc_option
@click.option("--contact", help="With --windows: mail address or URL for the User-Agent header.")
@click.option("--allow-private", is_flag=True, help="With --windows: allow private addresses.")
@as_json_option
def status(*, store: Path, windows: int | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by WindowConfig
    """Show the progress of the crawl in STORE, also while it runs.

    Only --windows sends requests to the board: one for each window, one per second.
    """
    if windows is not None:
        _show_windows(store, windows, options, as_json=as_json)
        return
    if any(options.values()):
        raise click.UsageError("--netrc, --contact and --allow-private need --windows.")
    from alti2v.crawl.status import store_status

    found = store_status(store)
    of = "" if found.board_count is None else f" (the board counted {found.board_count:,})"
    is_imported = found.plan.get("board") == IMPORTED
    word = "import" if is_imported else "crawl"
    plan = ", ".join(f"{name} {_of_plan(value)}" for name, value in found.plan.items() if value != "")
    print_result(
        found,
        as_json=as_json,
        table={
            "store": str(found.store),
            "source": "imported pictures" if is_imported else None,
            "plan": None if is_imported else plan,
            "listing": None if is_imported else f"{found.listing}{of}",
            **_sums(found),
            word: f"runs now, process {found.process}" if found.process else "not running",
            "last run": None if found.last_run is None else _last_run(found.last_run, found),
        },
    )


def _show_windows(store: Path, size: int, options: dict[str, Any], *, as_json: bool) -> None:
    from alti2v.crawl.windows import WindowConfig, count_windows

    with progress_display() as progress:
        found = count_windows(WindowConfig(store=store, size=size, **options), progress=progress)
    rows = {
        f"{window.first:,} to {window.last:,}" if window.last else f"from {window.first:,} on": (
            f"{window.board:>11,} on the board, {window.listed:>11,} listed, {window.stored:>11,} stored"
        )
        for window in found
    }
    print_result(found, as_json=as_json, table=rows)


def _of_plan(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sums(of: PostCounts) -> dict[str, str]:
    """Return table rows with the number of posts by outcome; they add up to the first row."""
    sums = {
        "  stored": of.stored,
        "  duplicate": of.duplicate,
        **{f"  skipped: {reason}": count for reason, count in of.skipped.items()},
        **{f"  failed: {kind}": count for kind, count in of.failed.items()},
        "  pending": of.pending,
    }
    width = len(f"{of.listed:,}")
    rows = {name: f"{count:>{width},}" for name, count in sums.items() if count or name == "  stored"}
    rows["  stored"] += f"  ({size(of.bytes)})"
    return {"listed": f"{of.listed:,}", **rows}


def _last_run(run: LastRun, found: StoreStatus) -> str:
    new = f"{counted(found.stored - run.stored_before, 'new file')}"
    begun = f"{datetime.fromtimestamp(run.begun_at, UTC):%Y-%m-%d %H:%M} UTC"
    if run.ended_at is not None:
        return f"{begun}, {duration(max(0, run.ended_at - run.begun_at))}, {new}, {run.ending}"
    return f"{begun}, {new}, {'still running' if found.process else 'killed before its end'}"
