"""Charts that the pages of evaluations and comparisons share: precision over recall, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alti2v.model.evaluation.metrics import Curve
from alti2v.model.evaluation.reliability import Reliability
from alti2v.report.charts import Chart, Series, equal_f1_guides, line_chart, unit_axis

# Predictions that a point of a calibration curve needs: the standard error of its share is at most 0.1.
FEWEST_IN_POINT = 25


def precision_recall_chart(
    series: Sequence[Series], *, markers: Sequence[tuple[tuple[float, float], str, str]]
) -> Chart:
    """Draw precision over recall, with lines of equal F1 behind the series."""
    return line_chart(
        "Precision over recall",
        [*equal_f1_guides(), *series],
        x=unit_axis("Recall"),
        y=unit_axis("Precision"),
        markers=markers,
    )


def calibration_chart(
    series: Sequence[Series], title: str = "Share of pictures with the tag, over the stated probability"
) -> Chart:
    """Draw the share of pictures with a tag over its predicted probability, with the ideal behind it."""
    return line_chart(
        title,
        [Series(name="perfectly calibrated", points=[(0, 0), (1, 1)], role="baseline"), *series],
        x=unit_axis("Stated probability"),
        y=unit_axis("Share of pictures with the tag"),
    )


def curve_points(curve: Curve) -> list[tuple[float, float]]:
    """Return the points of a precision-recall curve."""
    return [(float(r), float(p)) for r, p in zip(curve.recall, curve.precision, strict=True)]


def calibration_points(reliability: Reliability) -> list[tuple[float, float]]:
    """Return the points of a calibration curve; NaN, a gap in the line, for those of few predictions."""
    slices = zip(reliability.count, reliability.confidence, reliability.frequency, strict=True)
    return [
        (float(x), float(y)) if count >= FEWEST_IN_POINT else (math.nan, math.nan) for count, x, y in slices
    ]
