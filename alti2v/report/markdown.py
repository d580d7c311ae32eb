"""Short report of an `Evaluation` in Markdown, for a repository or an issue. Pure: the date is a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alti2v.model.evaluation.bootstrap import Interval
from alti2v.model.evaluation.result import Evaluation, Group
from alti2v.model.onnx.model_card import as_markdown
from alti2v.numerals import counted
from alti2v.report.evaluation_page import distinct_groups, headlines, summary
from alti2v.report.rendering import figure, small_figure


def render_markdown(evaluation: Evaluation, *, generated_at: datetime) -> str:
    """Render the short report.

    Args:
        evaluation: Evaluation to show.
        generated_at: Time shown in the text, with a time zone.
    """
    result, thresholds = evaluation.result, evaluation.result.thresholds
    scores = result.overall.model
    shown = ("frozen head",) if evaluation.frozen_head is not None else ()
    lines = [
        f"# {as_markdown(evaluation.run.name)}: evaluation",
        "",
        summary(evaluation),
        "",
        *(f"- {as_markdown(note)}" for note in evaluation.notes),
        *([""] if evaluation.notes else []),
        *_table(
            ("figure", "model", "95 % interval", *shown, "frequencies only"),
            [
                (
                    *(one.name, figure(one.value), _span(one.interval)),
                    *(figure(one.frozen_head) for _ in shown),
                    figure(one.baseline),
                )
                for one in headlines(evaluation)
            ],
        ),
        f"{counted(result.images, 'picture')} of the {evaluation.split} split with "
        f"{scores.positives / result.images:.1f} tags each, {counted(len(evaluation.tags), 'tag')} in all. "
        f"Threshold {figure(thresholds.model)}, {thresholds.source}: precision {figure(scores.precision)}, "
        f"recall {figure(scores.recall)}, MCC {figure(scores.mcc)}. "
        f"Of a picture's tags, {figure(result.recall_at_10)} are among the ten most probable ones. "
        f"Macro F1 with a threshold for each category: {figure(scores.macro_f1_category)}; "
        f"for each tag: {figure(scores.macro_f1_own)}.",
        "",
        *_groups(distinct_groups(result.groups)),
        *(
            [
                "Temperatures: "
                + ", ".join(f"{name} {value:.2f}" for name, value in thresholds.temperatures.items())
                + ".",
                "",
            ]
            if thresholds.temperatures
            else []
        ),
        *_table(
            ("how it was made", ""),
            [(as_markdown(name), as_markdown(value)) for name, value in evaluation.provenance.items()],
        ),
        f"Evaluated in {evaluation.seconds:.1f} s, {generated_at:%Y-%m-%d %H:%M UTC}.",
        "",
    ]
    return "\n".join(lines)


def _groups(groups: Sequence[Group]) -> list[str]:
    return _table(
        ("tags", "number", "mAP", "micro F1", "macro F1", "MCC", "squared error", "skill", "calibration error"),
        [
            (
                group.name if group.kind != "frequency" else f"{group.name} in training",
                f"{group.model.tags:,}",
                *(figure(value) for value in (group.model.headline_ap, group.model.f1, group.model.macro_f1)),
                figure(group.model.mcc),
                small_figure(group.model.squared_error),
                figure(group.skill),
                small_figure(group.model.calibration_error) + _scaled(group),
            )
            for group in groups
        ],
    )


def _scaled(group: Group) -> str:
    """Return the calibration error after temperature scaling; "" where no temperature was found."""
    if group.calibrated is None:
        return ""
    error = group.calibrated.expected_error
    return f" (scaled: {small_figure(error)}{', worse' if error > group.model.calibration_error else ''})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Format a table of Markdown cells; the first column is left-aligned."""
    marks = ["---", *["---:" if len(head) > 2 else "---"] * (len(head) - 1)]
    return [*("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)), ""]


def _span(interval: Interval | None) -> str:
    return "–" if interval is None else f"{figure(interval.low)} to {figure(interval.high)}"
