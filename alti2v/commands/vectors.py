"""`alti2v embed` and `alti2v search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import as_json_option, listed_paths, printable
from alti2v.errors import DataError
from alti2v.terminal import duration, print_result, progress_display

if TYPE_CHECKING:
    from alti2v.model.tagger import Failure

_SHOWN_TAGS = 6


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.parquet",
    help="The file; what is in it already is skipped.",
)
@click.option("--binary", is_flag=True, help="Codes of one bit a unit (512 bytes for 4096 units).")
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Of the numbers, where --binary is not given.",
)
@click.option("--batch-size", type=int, default=16, show_default=True, help="Pictures at a time.")
@as_json_option
def embed(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by EmbedConfig
    """Write the vectors of pictures to a Parquet file.

    MODEL is a RUN, or an exported folder that gives vectors (wd-embedding, onnx). INPUT is a file, a folder
    with all inside it, a pattern, - for a list on standard input, or one DATASET. Run it again after an
    interruption or for new pictures: it does what is missing. Pictures that cannot be used are named and
    counted, the others are done, and the exit status is 1.
    """
    from alti2v.vectors.embedding import EmbedConfig
    from alti2v.vectors.embedding import embed as embed_pictures

    def show(failure: Failure[str]) -> None:
        click.echo(f"{printable(failure.picture)}: {failure.problem.words}", err=True)

    config = EmbedConfig(**options)
    with progress_display() as progress:
        report = embed_pictures(config, show=show, listed=listed_paths(config.inputs), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "pictures": f"{report.pictures:,}",
            "embedded": f"{report.embedded:,}",
            **({"skipped": f"{report.skipped:,}, which were there"} if report.skipped else {}),
            **{f"failed: {kind}": f"{count:,}" for kind, count in sorted(report.failed.items())},
            "vectors": f"{report.rows:,} x {report.width:,} {_unit(report.form)} in {report.out}",
            "time": duration(report.seconds),
        },
    )
    if report.failed:
        raise DataError(
            f"{sum(report.failed.values()):,} of {report.pictures:,} pictures could not be embedded, "
            "they are named above; the others are done"
        )


@click.command()
@click.argument("vectors", type=click.Path(path_type=Path), metavar="VECTORS.parquet")
@click.option("--picture", type=click.Path(path_type=Path), default=None, help="Look for pictures like this.")
@click.option(
    "--model", type=click.Path(path_type=Path), default=None, help="For --picture: what embedded them."
)
@click.option("--tags", default="", metavar="TAGS", help="Look for pictures with these: '1girl, blue hair'.")
@click.option("--count", type=int, default=10, show_default=True, help="How many pictures.")
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the index, built where it is missing or old; VECTORS.parquet.index where not given.",
)
@click.option("--html", type=click.Path(path_type=Path), default=None, help="Write a contact sheet, too.")
@as_json_option
def search(*, html: Path | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by SearchConfig
    """Find the pictures nearest to a picture or to tags.

    VECTORS.parquet is a file of `alti2v embed`. Similarity is the cosine of the vectors, or the share of equal
    bits. Tags mean the centre of the pictures in which the model saw all of them.
    """
    from alti2v.vectors.search import SearchConfig
    from alti2v.vectors.search import search as search_pictures

    with progress_display() as progress:
        report = search_pictures(SearchConfig(**options), progress=progress)
    if html is not None:
        from alti2v.report.neighbours import write_contact_sheet

        write_contact_sheet(report, html)
    found = {
        f"{one.similarity:.4f}  {printable(one.key)}": ", ".join(one.tags[:_SHOWN_TAGS])
        for one in report.neighbours
    }
    print_result(report, as_json=as_json, table=found)


def _unit(form: str) -> str:
    return "bytes" if form == "binary" else form
