"""Line charts as geometry: numbers in, SVG coordinates out. Pure; a template draws them.

A chart is a box of `WIDTH` x `height` units. Colours are the page's: a line has a role ("all", "baseline",
"guide", "c0" and so on), and the style sheet maps roles to colours for light and dark mode.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

WIDTH = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 44
_MIN_STEP = 0.75  # units between drawn points; points closer than this only make the page larger

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"

_Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points joined by a line.

    Attributes:
        name: Name in the legend; "" to leave it out.
        points: Points in data coordinates; one that is not finite is a gap in the line.
        role: Role for the style sheet.
        dots: True to mark each point.
    """

    name: str
    points: Sequence[_Point]
    role: str
    dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Axis of a chart.

    Attributes:
        label: Title of the axis.
        low, high: Range of the data, low < high.
        ticks: Values with a label.
        digits: Decimals of the labels.
        words: Labels to show instead of the values; "" for no label.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    digits: int = 1
    words: Sequence[str] = ()

    @property
    def labels(self) -> Sequence[str]:
        """Labels of the ticks."""
        return self.words or [f"{value:.{self.digits}f}" for value in self.ticks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Label at a position of an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series in chart coordinates: an SVG path and dots."""

    name: str
    role: str
    path: str
    dots: tuple[_Point, ...]
    end: _Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A ring around a point, with a label beside it.

    Attributes:
        at: Centre of the ring.
        label: Text of the label.
        role: Role of the ring for the style sheet.
        label_at: Position of the label on its baseline: its end if `is_left`, else its start.
        is_left: True for a label on the left of the ring.
    """

    at: _Point
    label: str
    role: str
    label_at: _Point
    is_left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart in chart coordinates, ready for the template."""

    title: str
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    markers: tuple[Marker, ...] = field(default=())

    @property
    def legend(self) -> tuple[Line, ...]:
        """Named lines, the last drawn first."""
        return tuple(line for line in reversed(self.lines) if line.name)


def line_chart(
    title: str,
    series: Iterable[Series],
    *,
    x: Axis,
    y: Axis,
    markers: Iterable[tuple[_Point, str, str]] = (),
    height: int = 340,
) -> Chart:
    """Lay out a chart.

    Args:
        title: Description for screen readers.
        series: Lines; later ones are drawn over earlier ones.
        x: Horizontal axis.
        y: Vertical axis.
        markers: Points to ring: (point in data coordinates, label, role).
        height: Height in units; the width is `WIDTH`.
    """
    right, bottom = WIDTH - _RIGHT, height - _BOTTOM

    def place(point: _Point) -> _Point:
        across = (point[0] - x.low) / (x.high - x.low)
        up = (point[1] - y.low) / (y.high - y.low)
        return round(_LEFT + across * (right - _LEFT), 2), round(bottom - up * (bottom - _TOP), 2)

    lines = []
    for one in series:
        pieces = [
            [place(point) for point in piece]
            for is_drawn, piece in itertools.groupby(one.points, lambda point: all(map(math.isfinite, point)))
            if is_drawn
        ]
        placed = list(itertools.chain(*pieces))
        if placed:
            lines.append(
                Line(
                    name=one.name,
                    role=one.role,
                    path="".join(_path(_thinned(piece)) for piece in pieces),
                    dots=tuple(placed) if one.dots else (),
                    end=placed[-1],
                )
            )
    return Chart(
        title=title,
        height=height,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        x_label=x.label,
        y_label=y.label,
        x_ticks=tuple(
            Tick(at=place((value, y.low))[0], label=label)
            for value, label in zip(x.ticks, x.labels, strict=True)
        ),
        y_ticks=tuple(
            Tick(at=place((x.low, value))[1], label=label)
            for value, label in zip(y.ticks, y.labels, strict=True)
        ),
        lines=tuple(lines),
        markers=_labelled([(place(point), label, role) for point, label, role in markers]),
    )


def _labelled(rings: Sequence[tuple[_Point, str, str]]) -> tuple[Marker, ...]:
    """Put each label beside its ring, where it covers no other label and as few other rings as possible."""
    markers: list[Marker] = []
    taken: list[_Box] = []
    for (across, down), label, role in rings:
        # Lower left first: below a falling curve, and away from its line.
        places = [
            Marker(
                at=(across, down),
                label=label,
                role=role,
                label_at=(across + 9 * side, down + rise),
                is_left=side < 0,
            )
            for rise in (17, -9, 31, -23, 45, -37)
            for side in (-1, 1)
        ]
        others = [at for at, _, _ in rings if at != (across, down)]
        best = min(places, key=lambda one: _covered(_box(one), taken, others))  # the first of equals
        markers.append(best)
        taken.append(_box(best))
    return tuple(markers)


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _box(marker: Marker) -> _Box:
    """Return the area of a label; its letters are 13 units high, and at most 8 wide on average."""
    (across, down), width = marker.label_at, 8 * len(marker.label)
    left = across - width if marker.is_left else across
    return left, down - 12, left + width, down + 3


def _covered(box: _Box, labels: Sequence[_Box], rings: Sequence[_Point]) -> int:
    """Weigh what a label would cover: another label, or the chart's edge, more than a ring."""
    left, top, right, bottom = box
    over = sum(left < one[2] and one[0] < right and top < one[3] and one[1] < bottom for one in labels)
    outside = left < _LEFT or right > WIDTH - _RIGHT or top < 0
    return 10 * (over + outside) + sum(left - 6 < x < right + 6 and top - 6 < y < bottom + 6 for x, y in rings)


def unit_axis(label: str) -> Axis:
    """Return an axis from 0 to 1."""
    return Axis(label=label, low=0, high=1, ticks=(0, 0.2, 0.4, 0.6, 0.8, 1))


def nice_axis(label: str, values: Iterable[float], *, from_zero: bool = True) -> Axis:
    """Return an axis for the values, with at most seven ticks at 1, 2 or 5 times a power of ten."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if from_zero:
        low = min(low, 0.0)
    if high <= low:
        high = low + 1.0
    rough = max((high - low) / 5, sys.float_info.min)  # the fifth of a subnormal number would be 0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999999)
    first = math.floor(low / step + 1e-9)
    last = max(first + 1, math.ceil(high / step - 1e-9))  # subnormal numbers are less than a step
    ticks = tuple(step * number for number in range(first, last + 1))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(label=label, low=ticks[0], high=ticks[-1], ticks=ticks, digits=digits)


def decades(label: str, highest: float) -> Axis:
    """Return an axis of decimal logarithms from 1 to the power of ten at or above `highest`."""
    last = max(1, math.ceil(math.log10(max(highest, 1)) - 1e-9))
    words = ("1", "10", *(f"10{_RAISED[power]}" for power in range(2, last + 1)))
    return Axis(label=label, low=0, high=last, ticks=range(last + 1), words=words)


def steps(edges: Sequence[float], heights: Sequence[float]) -> list[_Point]:
    """Return the outline of a histogram's bars."""
    outline: list[_Point] = [(edges[0], 0.0)]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        outline += [(left, height), (right, height)]
    return [*outline, (edges[-1], 0.0)]


def equal_f1_guides() -> tuple[Series, ...]:
    """Return lines of equal F1 in the plane of recall and precision: P = F R / (2 R - F)."""
    guides = []
    for f1 in (0.2, 0.4, 0.6, 0.8):
        recalls = [f1 / 2 / (1 - f1 / 2) + (1 - f1 / 2 / (1 - f1 / 2)) * step / 60 for step in range(61)]
        points = [(recall, f1 * recall / (2 * recall - f1)) for recall in recalls]
        guides.append(Series(name="", points=points, role="guide"))
    return tuple(guides)


def _thinned(points: Sequence[_Point]) -> list[_Point]:
    kept = [points[0]]
    for point in points[1:-1]:
        if math.dist(point, kept[-1]) >= _MIN_STEP:
            kept.append(point)
    return [*kept, points[-1]] if len(points) > 1 else kept


def _path(points: Sequence[_Point]) -> str:
    return "M" + "L".join(f"{across:g} {down:g}" for across, down in points)
