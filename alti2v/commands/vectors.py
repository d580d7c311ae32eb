"""`alti2v embed`, `alti2v search` and `alti2v kpi`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option, listed_paths, printable
from alti2v.errors import DataError
from alti2v.terminal import duration, print_result, progress_display

if TYPE_CHECKING:
    from alti2v.kpi.regression import Effect, FigureEstimate
    from alti2v.model.tagging.tagger import UntaggedPicture

_SHOWN_TAGS = 6


@click.command()
@click.argument("model", type=LOCAL_PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--out",
    type=LOCAL_PATH,
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

    def show(failure: UntaggedPicture[str]) -> None:
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
@click.argument("vectors", type=LOCAL_PATH, metavar="VECTORS.parquet")
@click.option("--picture", type=LOCAL_PATH, default=None, help="Look for pictures like this.")
@click.option("--model", type=LOCAL_PATH, default=None, help="For --picture: what embedded them.")
@click.option("--tags", default="", metavar="TAGS", help="Look for pictures with these: '1girl, blue hair'.")
@click.option("--count", type=int, default=10, show_default=True, help="How many pictures.")
@click.option(
    "--index",
    type=LOCAL_PATH,
    default=None,
    help="Folder of the index, built where it is missing or old; VECTORS.parquet.index where not given.",
)
@click.option("--html", type=LOCAL_PATH, default=None, help="Write a contact sheet, too.")
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


@click.command()
@click.argument("dataset", type=LOCAL_PATH)
@click.option("--out", type=LOCAL_PATH, required=True, help="Where kpi.json and report.html go.")
@click.option(
    "--table",
    type=LOCAL_PATH,
    default=None,
    help="CSV with id and clicks, impressions, or with id and --column; the dataset's own where not given.",
)
@click.option("--column", default="score", show_default=True, help="The KPI.")
@click.option(
    "--vectors",
    type=LOCAL_PATH,
    default=None,
    help="A file of `alti2v embed MODEL DATASET` to regress on; the board's tags where not given.",
)
@click.option(
    "--min-count", type=int, default=20, show_default=True, help="Training pictures that a tag needs."
)
@click.option("--bootstraps", type=int, default=100, show_default=True, help="Draws for the 95 % intervals.")
@as_json_option
def kpi(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by KpiConfig
    """Regress a KPI of pictures on their tags or vectors.

    Logistic for rates (clicks of impressions), Poisson for counts, ridge for other numbers; fitted on the
    training side, judged on the test side, beside plain facts that need no picture (age, size, rating ...).
    """
    from alti2v.kpi.page import PAGE_FILE, write_kpi_report
    from alti2v.kpi.regression import KpiConfig, regress

    config = KpiConfig(**options)
    with progress_display() as progress:
        report = regress(config, progress=progress)
    write_kpi_report(report, config.out)
    print_result(
        report,
        as_json=as_json,
        table={
            "kpi": f"{report.kpi}, a {report.kind}",
            "pictures": f"{report.train:,} to fit, {report.validation:,} to choose, {report.test:,} to judge",
            **{f"{report.measure}: {one.name}": _interval(one.loss_ratio) for one in report.models},
            **{f"AUC: {one.name}": _interval(one.auc) for one in report.models if one.auc},
            "gain of the picture": _interval(report.gain),
            **({"higher with": _named(report.raising)} if report.raising else {}),
            **({"lower with": _named(report.lowering)} if report.lowering else {}),
            "report": str(config.out / PAGE_FILE),
        },
    )


def _interval(estimate: FigureEstimate) -> str:
    return f"{estimate.value:.4f}  (95 %: {estimate.low:.4f} to {estimate.high:.4f})"


def _named(effects: tuple[Effect, ...]) -> str:
    return ", ".join(f"{effect.tag} {effect.coefficient.value:+.2f}" for effect in effects[:_SHOWN_TAGS])


def _unit(form: str) -> str:
    return "bytes" if form == "binary" else form
