"""`alti2v export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option
from alti2v.errors import DamagedError, UsageError
from alti2v.terminal import duration, print_result, progress_display, size


@click.command()
@click.argument("run", type=LOCAL_PATH, required=False)
@click.argument("out", type=LOCAL_PATH, required=False)
@click.option(
    "--format",
    type=click.Choice(["wd", "wd-embedding", "cl", "onnx"]),
    default="wd",
    show_default=True,
    help="Who will read it: programs for WD taggers, imgutils, kohya with all categories, or your own.",
)
@click.option("--dataset", type=LOCAL_PATH, default=None, help="Where the training's dataset lies now.")
@click.option(
    "--ratings",
    type=click.Choice(["training", "uniform"]),
    default="training",
    show_default=True,
    help="What the four constant ratings say: the shares of the training pictures, or all alike.",
)
@click.option(
    "--copyrights",
    type=click.Choice(["general", "nothing"]),
    default="general",
    show_default=True,
    help="What copyright tags become in the WD formats, which have no place for them.",
)
@click.option(
    "--placeholder-character",
    is_flag=True,
    help="If the WD formats find no character, add one that is never predicted.",
)
@click.option(
    "--license",
    default="other",
    show_default=True,
    help="The model's licence, for its card, as Hugging Face spells it.",
)
@click.option("--check", type=LOCAL_PATH, metavar="FOLDER", help="Check a folder; export nothing.")
@as_json_option
def export(
    *,
    run: Path | None,
    out: Path | None,
    check: Path | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - typed by ExportConfig
) -> None:
    """Export a RUN for other people's programs.

    OUT becomes a folder that they load.

    With --check, see whether a folder, anybody's, keeps the contract of its format.
    """
    if check is not None:
        if run is not None:
            raise UsageError("--check takes one folder and no RUN: give either")
        _check(check, as_json=as_json)
        return
    if run is None or out is None:
        raise click.MissingParameter(param_type="argument", param_hint="'RUN OUT'")
    from alti2v.model.export import ExportConfig
    from alti2v.model.export import export as export_run

    with progress_display() as progress:
        report = export_run(ExportConfig(run=run, out=out, **options), progress=progress)
    print_result(
        report,
        as_json=as_json,
        table={
            "model": f"{report.model} ({size(report.bytes)})",
            "labels": f"{report.labels}: {_counted(report.outputs)}",
            **({"moved": f"{report.moved:,} tags count as general"} if report.moved else {}),
            **({"renamed": f"{report.renamed:,} tags, see {report.changes}"} if report.renamed else {}),
            **({"left out": f"{report.left_out:,} tags, see {report.changes}"} if report.left_out else {}),
            **(
                {"ratings": ", ".join(f"{r.name} {r.probability:.4f}" for r in report.ratings) + " (constants)"}
                if report.ratings
                else {}
            ),
            "parity": f"{report.largest_difference:.1g} from the network at most",
            **({} if report.threshold is None else {"threshold": f"{report.threshold:.4f}"}),
            "card": str(report.card),
            "time": duration(report.seconds),
        },
    )


def _check(folder: Path, *, as_json: bool) -> None:
    from alti2v.model.onnx.check_folder import check_folder

    checked = check_folder(folder)
    print_result(
        checked,
        as_json=as_json,
        table={
            "format": checked.format,
            "labels": f"{checked.labels:,}",
            "breaches": f"{len(checked.breaches):,}",
        },
    )
    if not as_json:
        for breach in checked.breaches:
            click.echo(breach)
    if checked.breaches:
        raise DamagedError(
            f"{folder} breaks the contract of the {checked.format} format in {len(checked.breaches)} "
            f"{'way' if len(checked.breaches) == 1 else 'ways'}: export it again"
        )


def _counted(outputs: Any) -> str:  # noqa: ANN401 - Mapping[str, int]
    return ", ".join(f"{count:,} {category}" for category, count in outputs.items())
