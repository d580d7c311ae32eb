"""`alti2v model`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alti2v.commands.options import LOCAL_PATH, as_json_option, ends_promptly, fetched_model
from alti2v.numerals import counted
from alti2v.output import print_result

if TYPE_CHECKING:
    from alti2v.model.describe import ModelReport, ThresholdSummary
    from alti2v.model.loading.description import ModelInput


@click.command("model")
@click.argument("model", type=LOCAL_PATH)
@as_json_option
@ends_promptly
def describe_model(*, model: Path, as_json: bool) -> None:
    """Describe a MODEL: its input, outputs, tags and thresholds.

    MODEL is a RUN, an exported folder, or a tagger of any family in docs/MODELS.md; hf:owner/name is one on the
    Hugging Face hub. The model is loaded, and tried on two
    pictures together and on one of them alone.
    """
    from alti2v.model.describe import describe

    report = describe(fetched_model(model))
    print_result(report, as_json=as_json, table=_table(report))


def _table(report: ModelReport) -> dict[str, str | None]:
    gives = report.output
    size = f" ({gives.features:,})" if gives.features else ""
    vectors = f", vectors{size}" if gives.vectors else ""
    names = {"logits" if gives.logits else "probabilities", *(["vectors"] if gives.vectors else [])}
    outputs = [gives.tags, *([gives.vectors] if gives.vectors else [])]
    named = "" if set(outputs) <= names else f", named {' and '.join(outputs)}"
    return {
        "family": report.family,
        "file": f"{report.model_file}, SHA-256 {report.sha256}",
        "takes": _taken(report.input),
        "pictures": _prepared(report.input),
        "outputs": f"{'logits' if gives.logits else 'probabilities'}{vectors}{named}",
        "tags": ", ".join(f"{count:,} {category}" for category, count in report.tags.items()),
        "thresholds": _thresholds(report.thresholds),
        "copyrights": f"known of {report.characters_with_copyright:,} characters"
        if report.characters_with_copyright
        else None,
        "runs on": report.device,
        **{f"note {number}": note for number, note in enumerate(report.notes, 1)},
    }


def _taken(takes: ModelInput) -> str:
    shape = f"3, {takes.size}, {takes.size}" if takes.channels_first else f"{takes.size}, {takes.size}, 3"
    mean, std = (", ".join(f"{number:g}" for number in numbers) for numbers in (takes.mean, takes.std))
    values = (
        ""
        if takes.dtype == "uint8" or (takes.scale == 1 and not any(takes.mean))
        else f", (pixel * {takes.scale:.6g} - [{mean}]) / [{std}]"
    )
    mask = f", and {takes.mask}, true in the padding" if takes.mask else ""
    batch = f"batches of {takes.batch}" if takes.batch else "batch of any size"
    return f"{takes.name}: {batch}, ({shape}), {takes.dtype} {'BGR' if takes.bgr else 'RGB'}{values}{mask}"


def _prepared(takes: ModelInput) -> str:
    from alti2v.pictures.framing import Framing, StepKind

    if not isinstance(takes.preparation, Framing):
        return f"{takes.size} px, as in the dataset that the network was trained on, its JPEG included"
    words = {
        StepKind.PAD: "the whole picture in {0.width} px, padded with {0.colour}, {0.resampling}",
        StepKind.STRETCH: "stretched to {0.width} px, {0.resampling}",
        StepKind.SHORTER: "shorter side {0.width} px, {0.resampling}",
        StepKind.CROP: "the middle {0.width} px",
    }
    steps = [words[StepKind(step.kind)].format(step) for step in takes.preparation.steps]
    return "; then ".join(
        step.replace("(255, 255, 255)", "white").replace("(0, 0, 0)", "black") for step in steps
    )


def _thresholds(summary: ThresholdSummary) -> str:
    parts = (
        [counted(summary.tags_with_own, "tag has its own", "tags have their own")]
        if summary.tags_with_own
        else []
    )
    parts += [f"{category} {value:g}" for category, value in summary.by_category.items()]
    parts += [] if summary.overall is None else [f"{'others ' if parts else ''}{summary.overall:.4g}"]
    source = f" ({summary.source})" if summary.source else ""
    rules = f"; --threshold-rule: {', '.join(summary.rules)}" if summary.rules else ""
    return f"{', '.join(parts) or 'the model has none, 0.35 is used'}{source}{rules}"
