"""Charts as geometry: points in their places, round ticks, no invisible elements."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alti2v.report.charts import WIDTH, Axis, Series, equal_f1_guides, line_chart, nice_axis, unit_axis

UNIT = unit_axis("unit")


def points_of(path: str) -> list[tuple[float, float]]:
    return [(float(across), float(down)) for across, down in re.findall(r"[ML]?(-?[\d.]+) (-?[\d.]+)", path)]


def test_corners_of_the_data_are_corners_of_the_box() -> None:
    """(0, 0) is at the lower left, (1, 1) at the upper right; up is up."""
    chart = line_chart("t", [Series(name="a", points=[(0, 0), (1, 1)], role="all")], x=UNIT, y=UNIT)

    assert points_of(chart.lines[0].path) == [(chart.left, chart.bottom), (chart.right, chart.top)]
    assert chart.right < WIDTH
    assert chart.top < chart.bottom < chart.height


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_every_drawn_point_is_inside_the_box(points: list[tuple[float, float]]) -> None:
    """Data inside the axes' ranges never leaves the box, and both ends are drawn."""
    chart = line_chart("t", [Series(name="a", points=points, role="all", dots=True)], x=UNIT, y=UNIT)
    line = chart.lines[0]

    for across, down in points_of(line.path):
        assert chart.left <= across <= chart.right
        assert chart.top <= down <= chart.bottom
    assert len(line.dots) == len(points)
    assert points_of(line.path)[-1] == pytest.approx(line.dots[-1], rel=1e-4)


def test_a_long_curve_is_thinned_to_what_can_be_seen() -> None:
    """Ten thousand points of a straight line weigh no more than the width of the chart allows."""
    points = [(index / 10_000, index / 10_000) for index in range(10_001)]
    chart = line_chart("t", [Series(name="a", points=points, role="all")], x=UNIT, y=UNIT)

    assert len(points_of(chart.lines[0].path)) < 1.5 * WIDTH


def test_points_that_are_no_numbers_are_left_out() -> None:
    """A gap in a log is a gap, and a series of gaps is no line."""
    nan = math.nan
    chart = line_chart(
        "t",
        [
            Series(name="a", points=[(0, 0), (0.5, nan), (1, 1)], role="all"),
            Series(name="b", points=[(nan, nan)], role="c0"),
        ],
        x=UNIT,
        y=UNIT,
    )

    assert [line.name for line in chart.lines] == ["a"]
    assert "nan" not in chart.lines[0].path
    assert chart.lines[0].path.count("M") == 2, "the line is not drawn across the gap"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
@example([5e-324])
def test_a_nice_axis_holds_its_values_with_few_round_ticks(values: list[float]) -> None:
    """All values lie between the first and the last of at most eight ticks, whose labels all differ."""
    axis = nice_axis("a", values)
    slack = 1e-6 * (axis.high - axis.low)

    assert axis.low - slack <= min(*values, 0)
    assert axis.high + slack >= max(values)
    assert 2 <= len(axis.ticks) <= 8
    labels = [f"{tick:.{axis.digits}f}" for tick in axis.ticks]
    assert len(set(labels)) == len(labels)


def test_guides_are_where_f1_is_constant() -> None:
    """The harmonic mean of recall and precision is the same along each guide."""
    for guide, f1 in zip(equal_f1_guides(), (0.2, 0.4, 0.6, 0.8), strict=True):
        for recall, precision in guide.points:
            assert 2 * recall * precision / (recall + precision) == pytest.approx(f1)
            assert 0 <= precision <= 1.0000001


def test_the_legend_names_what_has_a_name() -> None:
    """Guides stay out of it, and what is drawn on top comes first."""
    series = [
        Series(name="", points=[(0, 0)], role="guide"),
        Series(name="below", points=[(0, 0)], role="c0"),
        Series(name="on top", points=[(0, 0)], role="all"),
    ]
    axis = Axis(label="a", low=0, high=1, ticks=())

    assert [line.name for line in line_chart("t", series, x=axis, y=axis).legend] == ["on top", "below"]


@given(st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=1, max_size=4))
@example([(0.5, 0.5)] * 4)
def test_labels_of_markers_never_overlap(points: list[tuple[float, float]]) -> None:
    """Rings at one place have labels on different sides, so each number can be read."""
    markers = [(point, str(number), "all") for number, point in enumerate(points, 1)]
    chart = line_chart("t", [], x=UNIT, y=UNIT, markers=markers)
    starts = [marker.label_at[0] - 8 * marker.is_left for marker in chart.markers]
    lines = [marker.label_at[1] for marker in chart.markers]

    assert [marker.label for marker in chart.markers] == [label for _, label, _ in markers]
    for one in range(len(points)):
        for other in range(one):
            assert abs(starts[one] - starts[other]) >= 8 or abs(lines[one] - lines[other]) >= 14
