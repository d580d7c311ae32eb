"""`alti2v import`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option, option_of
from alti2v.crawl.boards.known import KNOWN_BOARDS
from alti2v.crawl.importing.addresses import is_address
from alti2v.crawl.importing.config import ImportConfig
from alti2v.crawl.importing.sources.detect import SourceForm
from alti2v.errors import DataError, RemoteError, UsageError
from alti2v.numerals import counted, duration, size
from alti2v.output import print_result
from alti2v.storage.remote import is_url
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.crawl.importing.report import ImportReport

_AUTO = "auto"  # the form is recognised from the contents


class _PathOrAddress(click.Path):
    """Local path, or as text a web address or one of some names."""

    def __init__(self, *, names: Collection[str] = ()) -> None:
        super().__init__()
        self._names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:  # noqa: ANN401 - click's own value
        if isinstance(value, str) and (value in self._names or is_address(value)):
            return value
        if isinstance(value, str) and is_url(value):
            assert param is not None
            raise UsageError(
                f"{value} cannot be read: {param.opts[0]} takes paths on this machine, or http(s) URLs"
            )
        path: Path = LOCAL_PATH.convert(value, param, ctx)
        return path


_import_option = option_of(ImportConfig)


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
@_import_option(
    "--pictures",
    type=_PathOrAddress(),
    metavar="FOLDER_OR_URL",
    help="Folder with the pictures of a table (links to folders in it are followed), or a URL to fetch missing "
    "pictures from, see docs/IMPORT.md. Default: SOURCE, if it is a folder.",
)
@_import_option(
    "--tag-categories",
    type=_PathOrAddress(names=KNOWN_BOARDS),
    metavar="FILE_OR_SITE",
    help="CSV or Parquet file with a category for each tag, or a Danbooru site to request them from: donmai, "
    "danbooru or a URL.",
)
@_import_option("--keep-mismatched", help="Also store pictures whose MD5 differs from the source's.")
@_import_option(
    "--by-reference",
    help="Leave pictures in their tar files; STORE gets hard links to these, on the same file system only.",
)
@_import_option("--rate", help="Maximum number of requests per second to one host.")
@_import_option("--contact", help="Mail address or URL to send in the User-Agent header.")
@_import_option("--allow-private", help="Allow a URL whose host has a private address, such as this machine's.")
@as_json_option
def import_(
    *,
    store: Path,
    form: str,
    pictures: Path | str | None,
    tag_categories: Path | str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - click's own values, typed by ImportConfig
) -> None:
    """Import pictures with their tags into a STORE.

    A SOURCE is a folder of pictures with text or JSON files beside them, a gallery-dl folder, a table of
    posts (Parquet, CSV, JSON lines), or a folder of tar files; see docs/IMPORT.md. Sources are only read. Run
    the same command again to resume after an interruption, or later to add new pictures.
    """
    from alti2v.crawl.importing.importer import import_pictures

    options["pictures_url" if isinstance(pictures, str) else "pictures"] = pictures
    options["tag_site" if isinstance(tag_categories, str) else "tag_categories"] = tag_categories
    config = ImportConfig(store=store, form=None if form == _AUTO else SourceForm(form), **options)
    with progress_display() as progress:
        report = import_pictures(config, progress=progress)
    print_result(report, as_json=as_json, table=_table(report))
    if report.missing:
        raise RemoteError(f"incomplete: {report.missing}: run the same command again")
    if failed := sum(report.failed.values()):
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(report.failed.items()))
        raise DataError(
            f"{failed:,} of {counted(report.items, 'item')} failed ({kinds}): crawl.log names them, and all "
            "others are imported"
        )


def _table(report: ImportReport) -> dict[str, str]:
    """Return table rows: the outcomes add up to the items."""
    sums = {
        "  new": report.new,
        "  known": report.known,
        "  duplicate": report.duplicate,
        **{f"  skipped: {reason}": count for reason, count in report.skipped.items()},
        **{f"  failed: {reason}": count for reason, count in report.failed.items()},
        "  to be fetched": report.pending,
    }
    width = len(f"{report.items:,}")
    rows = {name: f"{count:>{width},}" for name, count in sums.items() if count or name == "  new"}
    pictures, listed = counted(report.stored, "picture"), counted(report.listed, "post")
    return {
        "items": f"{report.items:,} in {duration(report.seconds)}",
        **rows,
        **({"empty captions": f"{report.untagged:,}, stored without tags"} if report.untagged else {}),
        "store": f"{report.store}: {pictures} ({size(report.bytes)}), {listed}",
    }
