"""`alti2v import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option
from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.terminal import duration, print_result, progress_display, size

if TYPE_CHECKING:
    from alti2v.crawl.importing.report import ImportReport

_AUTO = "auto"  # the form is recognised from the contents


@click.command(name="import")
@click.argument("store", type=LOCAL_PATH)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=LOCAL_PATH)
@click.option(
    "--form",
    type=click.Choice([_AUTO, *map(str, SourceForm)]),
    default=_AUTO,
    show_default=True,
    help="Form of the sources; auto recognises it from their contents.",
)
@click.option(
    "--pictures",
    type=LOCAL_PATH,
    default=None,
    help="Folder with the pictures of a table; links to folders in it are followed. Default: SOURCE, if it is "
    "a folder.",
)
@click.option(
    "--tag-categories", type=LOCAL_PATH, default=None, help="CSV or Parquet file with a category for each tag."
)
@click.option(
    "--keep-mismatched", is_flag=True, help="Also store pictures whose MD5 differs from the source's."
)
@click.option(
    "--by-reference",
    is_flag=True,
    help="Leave pictures in their tar files; STORE gets hard links to these, on the same file system only.",
)
@as_json_option
def import_(*, store: Path, form: str, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's own values, typed by ImportConfig
    """Import pictures with their tags into a STORE.

    A SOURCE is a folder of pictures with text or JSON files beside them, a gallery-dl folder, a table of
    posts (Parquet, CSV, JSON lines), or a folder of tar files; see docs/IMPORT.md. Sources are only read. Run
    the same command again to resume after an interruption, or later to add new pictures.
    """
    from alti2v.crawl.importing.importer import ImportConfig, import_pictures
    from alti2v.crawl.importing.sources.detect import SourceForm

    config = ImportConfig(store=store, form=None if form == _AUTO else SourceForm(form), **options)
    with progress_display() as progress:
        report = import_pictures(config, progress=progress)
    print_result(report, as_json=as_json, table=_table(report))


def _table(report: ImportReport) -> dict[str, str]:
    """Return table rows: the outcomes add up to the items."""
    sums = {
        "  new": report.new,
        "  known": report.known,
        "  duplicate": report.duplicate,
        **{f"  skipped: {reason}": count for reason, count in report.skipped.items()},
        **{f"  failed: {reason}": count for reason, count in report.failed.items()},
    }
    width = len(f"{report.items:,}")
    rows = {name: f"{count:>{width},}" for name, count in sums.items() if count or name == "  new"}
    return {
        "items": f"{report.items:,} in {duration(report.seconds)}",
        **rows,
        "store": f"{report.store}: {report.stored:,} pictures ({size(report.bytes)}), {report.listed:,} posts",
    }
