"""`alti2v export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option, ends_promptly, option_of
from alti2v.errors import DamagedError, UsageError
from alti2v.model.options.choices import Format
from alti2v.model.options.export import COPYRIGHTS_AS, RATINGS_FROM, ExportConfig
from alti2v.numerals import counted, duration, size
from alti2v.output import print_lines, print_result
from alti2v.terminal.display import progress_display

if TYPE_CHECKING:
    from alti2v.model.onnx.client_parity import ClientParity

_export_option = option_of(ExportConfig)


@click.command()
@click.argument("run", type=LOCAL_PATH, required=False)
@click.argument("out", type=LOCAL_PATH, required=False)
@_export_option(
    "--format",
    type=click.Choice(list(map(str, Format))),
    help="Format: wd for programs that load WD taggers, wd-embedding for imgutils.tagging.wd14, cl for kohya "
    "with all categories, deepghs for imgutils' generic reader, onnx for your own programs.",
)
@_export_option("--dataset", help="Folder of the training dataset, if it has moved.")
@_export_option(
    "--ratings",
    type=click.Choice(RATINGS_FROM),
    help="Values of the four constant ratings: their shares of the training pictures, or all equal.",
)
@_export_option(
    "--copyrights",
    type=click.Choice(COPYRIGHTS_AS),
    help="Export copyright tags as general tags or not at all, in the WD formats, which lack the category.",
)
@_export_option(
    "--placeholder-character",
    help="If the model has no character tags, add one that is never predicted; some WD programs need one.",
)
@_export_option("--license", help="Licence for the model card, as Hugging Face spells it.")
@_export_option(
    "--store",
    help="Store with the original pictures, to compare other programs with `alti2v tag` on them. Default: the "
    "dataset's pictures, which have to be enlarged.",
)
@click.option(
    "--check",
    type=LOCAL_PATH,
    metavar="FOLDER",
    help="Check a folder against its format's contract; export nothing.",
)
@as_json_option
@ends_promptly
def export(
    *,
    run: Path | None,
    out: Path | None,
    check: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by ExportConfig
) -> None:
    """Export a RUN as ONNX for other programs.

    Writes model.onnx, its table of tags and a model card to the folder OUT. With --check, checks any such
    folder against the contract of its format.
    """
    if check is not None:
        if run is not None:
            raise UsageError("--check takes one folder and no RUN: leave out one of the two")
        _check(check, as_json=as_json)
        return
    if run is None or out is None:
        raise click.MissingParameter(param_type="argument", param_hint="'RUN OUT'")
    from alti2v.model.export import export as export_run

    with progress_display() as progress:
        report = export_run(ExportConfig(run=run, out=out, **options), progress=progress)
    ratings = ", ".join(f"{rating.name} {rating.probability:.4f}" for rating in report.ratings)
    print_result(
        report,
        as_json=as_json,
        table={
            "model": f"{report.model} ({size(report.bytes)})",
            "labels": f"{report.labels}: {_counted(report.outputs)}",
            "category": f"{counted(report.moved, 'tag')} exported as general" if report.moved else None,
            "renamed": f"{counted(report.renamed, 'tag')}, see {report.changes}" if report.renamed else None,
            "left out": f"{counted(report.left_out, 'tag')}, see {report.changes}" if report.left_out else None,
            "ratings": f"{ratings} (constants)" if ratings else None,
            "parity": f"differs from the network by at most {report.largest_difference:.1g}",
            "clients": None if report.clients is None else _clients(report.clients),
            "threshold": None if report.threshold is None else f"{report.threshold:.4f}",
            "card": str(report.card),
            "time": duration(report.seconds),
        },
    )


def _check(folder: Path, *, as_json: bool) -> None:
    from alti2v.model.check_model import check_model, require_works
    from alti2v.model.onnx.check_folder import is_of_others

    checked = check_model(folder)
    rows = {
        "format": checked.format,
        "labels": f"{checked.labels:,}",
        "faults": f"{len(checked.breaches):,}",
    }
    print_result(checked, as_json=as_json, table=rows)
    if not as_json:
        print_lines(checked.breaches)
    if not checked.breaches:
        return
    if is_of_others(folder):
        require_works(checked)
    raise DamagedError(
        f"{folder} breaks the contract of the {checked.format} format in {len(checked.breaches)} "
        f"{'way' if len(checked.breaches) == 1 else 'ways'}: export it again"
    )


def _clients(parity: ClientParity) -> str:
    return (
        f"on {counted(parity.pictures, 'validation picture')}, probabilities in other programs differ from the "
        f"run's by {parity.mean:.4f} on average and {parity.largest:.3f} at most; {parity.changed:,} of "
        f"{counted(parity.tags, 'prediction')} cross the threshold"
    )


def _counted(outputs: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {category}" for category, count in outputs.items())
