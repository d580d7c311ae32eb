"""`alti2v embed`, `alti2v search` and `alti2v kpi`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import (
    LOCAL_PATH,
    PICTURE_PATH,
    as_json_option,
    ends_promptly,
    fetched_model,
    listed_paths,
    model_to_compute,
    option_of,
    precision_option,
    require_all,
)
from alti2v.errors import DataError
from alti2v.kpi.config import KpiConfig
from alti2v.numerals import duration
from alti2v.output import print_result, tell
from alti2v.terminal.display import progress_display
from alti2v.vectors.config import NUMBERS, EmbedConfig, SearchConfig

if TYPE_CHECKING:
    from alti2v.kpi.regression import Effect, FigureEstimate
    from alti2v.model.tagging.tagger import UntaggedPicture

_SHOWN_TAGS = 6

_embed_option = option_of(EmbedConfig)
_search_option = option_of(SearchConfig)
_kpi_option = option_of(KpiConfig)


@click.command()
@click.argument("model", type=LOCAL_PATH)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--out",
    type=LOCAL_PATH,
    required=True,
    metavar="FILE.parquet",
    help="File to write. Pictures already in it are skipped.",
)
@_embed_option("--binary", help="Write one bit per unit (512 bytes for 4096 units) instead of numbers.")
@_embed_option("--dtype", type=click.Choice(NUMBERS), help="Type of the numbers.")
@_embed_option("--batch-size", help="Pictures per forward pass.")
@precision_option
@as_json_option
@ends_promptly
def embed(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by EmbedConfig
    """Write the vectors of pictures to a Parquet file.

    MODEL is a RUN, an export in the format wd-embedding, deepghs or onnx, or another tagger that gives vectors
    (docs/MODELS.md). INPUT is a file, a folder
    (searched recursively), a pattern, - for a list on standard input, or one DATASET. Run the same command
    again after an interruption or for new pictures: it embeds only missing ones. Pictures that cannot be read
    are listed on standard error and skipped; the exit status is then 1.
    """
    from alti2v.model.tagging.inputs import unread_words
    from alti2v.vectors.embedding import embed as embed_pictures

    def show(failure: UntaggedPicture[str]) -> None:
        tell(f"{failure.picture}: {failure.problem.words}")

    config = EmbedConfig(**options)
    config = replace(config, model=model_to_compute(config.model, config.precision))
    with progress_display() as progress:
        report = embed_pictures(config, show=show, listed=listed_paths(config.inputs), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "pictures": f"{report.pictures:,}",
            "embedded": f"{report.embedded:,}",
            "skipped": f"{report.skipped:,}, already in the file" if report.skipped else None,
            **{f"failed: {kind}": f"{count:,}" for kind, count in sorted(report.failed.items())},
            "left out": unread_words(report.unread) if report.unread else None,
            "vectors": f"{report.rows:,} x {report.width:,} {_unit(report.form)} in {report.out}",
            "time": duration(report.seconds),
        },
    )
    if report.failed:
        raise DataError(
            f"{sum(report.failed.values()):,} of {report.pictures:,} pictures could not be embedded: "
            "they are named above, and all others are embedded"
        )


@click.command()
@click.argument("vectors", type=LOCAL_PATH, metavar="VECTORS.parquet")
@_search_option("--picture", type=PICTURE_PATH, help="Find pictures similar to this one; needs --model.")
@_search_option("--model", help="Model that wrote VECTORS.parquet, to embed --picture.")
@_search_option("--tags", metavar="TAGS", help="Find pictures with these tags, such as '1girl, blue hair'.")
@_search_option("--count", help="Number of pictures to find.")
@_search_option(
    "--index", help="Folder of the index, built if missing or outdated. Default: VECTORS.parquet.index."
)
@click.option("--html", type=LOCAL_PATH, help="Also write a contact sheet to this file.")
@as_json_option
@ends_promptly
def search(*, html: Path | None, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by SearchConfig
    """Find the pictures nearest to a picture or to tags.

    VECTORS.parquet is a file written by `alti2v embed`. Prints the similarity, the path and the first tags of
    each picture; for pictures of a DATASET, in place of the path, the id, and the file name if it was imported.
    Similarity is the cosine of two vectors (-1 to 1), or the share of equal bits of two binary codes (0 to 1);
    it is 1 for equal vectors. A query by tags uses the mean vector of the pictures for which the model
    predicted all of them.
    """
    from alti2v.vectors.search import search as search_pictures

    config = SearchConfig(**options)
    if config.model is not None:
        config = replace(config, model=fetched_model(config.model))
    with progress_display() as progress:
        report = search_pictures(config, progress=progress)
    if html is not None:
        from alti2v.report.neighbours import write_contact_sheet

        write_contact_sheet(report, html)
    # With the key, which is unique: pictures of several folders can have one name.
    names = {key: f"{name} ({key})" for key, name in report.file_names.items()}
    found = {
        f"{one.similarity:.4f}  {names.get(one.key, one.key)}": ", ".join(one.tags[:_SHOWN_TAGS])
        for one in report.neighbours
    }
    tell(f"similarity ({report.similarity}; 1 for equal vectors), picture, tags:")
    print_result(report, as_json=as_json, table=found)


@click.command()
@click.argument("dataset", type=LOCAL_PATH)
@click.option("--out", type=LOCAL_PATH, required=True, help="Folder for kpi.json and report.html.")
@_kpi_option(
    "--table",
    help="CSV file with columns id, clicks and impressions, or id and --column. Default: the dataset's table.",
)
@_kpi_option("--column", help="Column that holds the KPI.")
@_kpi_option(
    "--vectors", help="File of `alti2v embed MODEL DATASET` to use as features. Default: the board's tags."
)
@_kpi_option("--min-count", help="Minimum number of training pictures of a tag.")
@_kpi_option("--bootstraps", help="Number of bootstrap samples for the 95 % intervals.")
@as_json_option
@ends_promptly
def kpi(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - typed by KpiConfig
    """Relate a KPI, such as scores or clicks, to tags or vectors.

    Uses logistic regression for rates (clicks per impression), Poisson regression for counts, and ridge
    regression for other numbers. Fits on the training split, evaluates on the test split, and compares with a
    baseline of plain facts such as age, size and rating.
    """
    from alti2v.kpi.page import PAGE_FILE, write_kpi_report
    from alti2v.kpi.regression import regress

    config = KpiConfig(**options)
    with progress_display() as progress:
        report = regress(config, progress=progress)
    write_kpi_report(report, config.out)
    print_result(
        report,
        as_json=as_json,
        table={
            "kpi": f"{report.kpi}, a {report.kind}",
            "pictures": f"{report.train:,} to fit, {report.validation:,} to choose, {report.test:,} to test",
            **{f"{report.measure}: {one.name}": _interval(one.loss_ratio) for one in report.models},
            **{f"AUC: {one.name}": _interval(one.auc) for one in report.models if one.auc},
            "gain of the picture": _interval(report.gain),
            "higher with": _named(report.raising) or None,
            "lower with": _named(report.lowering) or None,
            "report": str(config.out / PAGE_FILE),
        },
    )
    require_all(report.unusable, "rows cannot be used", "all others are used")


def _interval(estimate: FigureEstimate) -> str:
    return f"{estimate.value:.4f}  (95 %: {estimate.low:.4f} to {estimate.high:.4f})"


def _named(effects: tuple[Effect, ...]) -> str:
    return ", ".join(f"{effect.tag} {effect.coefficient.value:+.2f}" for effect in effects[:_SHOWN_TAGS])


def _unit(form: str) -> str:
    return "bytes" if form == "binary" else form
