"""Smooth shapes on a Pillow picture: curves become dense polygons, drawn large and reduced by the caller.

Pillow's outlines have no joints and its shapes cannot be rotated. Here a shape is a path of points in any
convenient units, and a pen holds the transformation from those units to pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

from alti2v.demo.drawing.characters import Artist
from alti2v.demo.drawing.colours import Colour, darker, inked, lighter, toned

Path = NDArray[np.float64]
"""Points (N, 2) of a polygon or a polyline, float64, in the units of the pen that draws it."""

Point = tuple[float, float]

_PIECE = 32
_STEPS = 11  # points per curve segment; corners are invisible at these sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """Pen of one artist in one coordinate system.

    Attributes:
        draw: Drawing interface of the picture.
        artist: Artist whose lines and colours are used.
        matrix: Transformation from units to pixels, (2, 2).
        origin: Position of (0, 0), px, (2,).
        line_px: Width of outlines, px.
    """

    draw: ImageDraw.ImageDraw
    artist: Artist
    matrix: NDArray[np.float64]
    origin: NDArray[np.float64]
    line_px: float

    def moved(self, x: float, y: float, *, scale: float = 1.0, stretch: float = 1.0, turn: float = 0.0) -> Pen:
        """Return a pen whose (0, 0) is at (x, y) of this one, turned clockwise by `turn` degrees.

        `scale` applies to both axes, `stretch` also to x; negative values mirror. Lines keep their width.
        """
        angle = radians(turn)
        rotation = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
        return replace(
            self,
            matrix=self.matrix @ rotation @ np.diag([scale * stretch, scale]),
            origin=self.origin + self.matrix @ np.array([x, y]),
        )

    def tone(self, colour: Colour) -> Colour:
        """Mix a colour as the artist does."""
        return toned(colour, self.artist)

    def shade(self, colour: Colour, amount: float = 1.0) -> Colour:
        """The artist's shadow tone of a mixed colour."""
        return darker(colour, self.artist.shade * amount * 0.75)

    def gleam(self, colour: Colour, amount: float = 1.0) -> Colour:
        """The artist's highlight tone of a mixed colour."""
        return lighter(colour, min(1.0, self.artist.gloss * amount))

    def fill(self, path: Path, colour: Colour) -> None:
        """Fill a closed path."""
        self.draw.polygon(self._flat(path), fill=colour)

    def stamp(self, path: Path, colour: Colour, *, x: float, y: float, size: float = 1.0) -> None:
        """Fill a closed path around (0, 0), moved to (x, y) and scaled."""
        self.fill(path * size + np.array([x, y]), colour)

    def shape(self, path: Path, colour: Colour, *, weight: float = 1.0) -> None:
        """Fill a closed path and outline it in the artist's ink."""
        points = path @ self.matrix.T + self.origin
        self.draw.polygon(points.ravel().tolist(), fill=colour)
        self._outline(points, inked(colour, self.artist), weight)

    def union(self, paths: tuple[Path, ...], colour: Colour) -> None:
        """Fill closed paths as one shape with a single outline."""
        ink = inked(colour, self.artist)
        for path in paths:
            self.outline(path, ink, weight=1.8)  # the fillings cover the inner half
        for path in paths:
            self.fill(path, colour)

    def outline(self, path: Path, colour: Colour, *, weight: float = 1.0) -> None:
        """Draw the outline of a closed path, slightly heavier below than above."""
        self._outline(path @ self.matrix.T + self.origin, colour, weight)

    def stroke(self, path: Path, colour: Colour, *, weight: float = 1.0) -> None:
        """Draw an open path that is thick in the middle and tapers at both ends."""
        points = path @ self.matrix.T + self.origin
        swell = np.sin(np.linspace(0.12, np.pi - 0.12, len(points)))[:, None]
        offset = _normals(points, closed=False) * (swell * (self.line_px * weight / 2))
        self._ribbon(points + offset, points - offset, colour)

    def rope(self, path: Path, colour: Colour, *, width: float) -> None:
        """Draw an open path of even width, given in units."""
        points = path @ self.matrix.T + self.origin
        offset = _normals(points, closed=False) * (width * self._unit_px / 2)
        self._ribbon(points + offset, points - offset, colour)

    @property
    def _unit_px(self) -> float:
        return float(abs(np.linalg.det(self.matrix)) ** 0.5)

    def _flat(self, path: Path) -> list[float]:
        flat: list[float] = (path @ self.matrix.T + self.origin).ravel().tolist()
        return flat

    def _outline(self, points: Path, colour: Colour, weight: float) -> None:
        normals = _normals(points, closed=True)
        # Light comes from above, so edges that face down get the heavier line.
        lean = 1 + 0.3 * np.clip(normals[:, 1:] * _orientation(points), -1, 1)
        offset = normals * (lean * (self.line_px * weight / 2))
        outer, inner = points + offset, points - offset
        self._ribbon(np.concatenate([outer, outer[:1]]), np.concatenate([inner, inner[:1]]), colour)

    def _ribbon(self, left: Path, right: Path, colour: Colour) -> None:
        # Pillow examines every edge of a polygon for each of its rows; short pieces are twice as fast.
        for start in range(0, len(left) - 1, _PIECE):
            end = start + _PIECE + 1
            piece = np.concatenate([left[start:end], right[start:end][::-1]])
            self.draw.polygon(piece.ravel().tolist(), fill=colour)


def ellipse(x: float, y: float, rx: float, ry: float) -> Path:
    """A closed path around (x, y)."""
    return _UNIT_CIRCLE * (rx, ry) + (x, y)


def arc(x: float, y: float, radii: Point, angles: Point) -> Path:
    """An open path along an ellipse, from one angle to another, in degrees, clockwise from the right."""
    turn = np.radians(np.linspace(*angles, 16))
    return np.stack([x + radii[0] * np.cos(turn), y + radii[1] * np.sin(turn)], axis=1)


@lru_cache(maxsize=1024)
def blob(*points: Point) -> Path:
    """A closed smooth path through all points (a closed Catmull-Rom spline)."""
    ring = np.array(points)
    return _spline(np.concatenate([ring[-1:], ring, ring[:2]]))


@lru_cache(maxsize=1024)
def curve(*points: Point) -> Path:
    """An open smooth path through all points (a Catmull-Rom spline)."""
    line = np.array(points)
    ends = 2 * line[0] - line[1], 2 * line[-1] - line[-2]
    return np.concatenate([_spline(np.concatenate([ends[:1], line, ends[1:]])), line[-1:]])


@lru_cache(maxsize=1024)
def bends(start: Point, *segments: tuple[float, float, float, float]) -> Path:
    """A path of quadratic Béziers with corners where they meet: each segment (control x, y, end x, y)."""
    controls = np.array(segments).reshape(-1, 2, 2)
    starts = np.concatenate([[start], controls[:-1, 1]])
    corners = np.stack([starts, controls[:, 0], controls[:, 1]], axis=1)  # (segments, 3, 2)
    path = (_BEZIER @ corners).reshape(-1, 2)
    # A path that ends where it began must not contain that point twice: it would have no direction there.
    return path if tuple(controls[-1, 1]) == start else np.concatenate([path, controls[-1:, 1]])


@lru_cache(maxsize=256)
def polygon(*points: Point) -> Path:
    """A path with straight sides."""
    return np.array(points, dtype=float)


def mirrored(path: Path) -> Path:
    """The path with left and right exchanged."""
    return path * (-1.0, 1.0)


def limb(joints: tuple[Point, ...], widths: tuple[float, ...]) -> Path:
    """A closed path around a smooth line through the joints, with the given width at each."""
    line = curve(*joints)
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    offset = _normals(line, closed=False) * width
    return np.concatenate([line + offset, (line - offset)[::-1]])


@lru_cache(maxsize=64)
def star(points: int, inner: float) -> Path:
    """A star of radius 1 with `points` points; `inner` is the radius of its notches."""
    angle = np.arange(2 * points) * np.pi / points - np.pi / 2
    radius = np.where(np.arange(2 * points) % 2, inner, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def heart(x: float, y: float, size: float) -> Path:
    """A closed heart, `size` wide."""
    return _HEART * size + (x, y)


def _spline(padded: Path) -> Path:
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)  # (segments, 4, 2)
    return (_CATMULL_ROM @ windows).reshape(-1, 2)


def _normals(points: Path, *, closed: bool) -> Path:
    """Vectors across a polyline, mitred at its corners (no longer than 2), (N, 2)."""
    steps = points[1:] - points[:-1]
    first, last = (points[:1] - points[-1:],) * 2 if closed else (steps[:1], steps[-1:])
    steps = np.concatenate([first, steps, last])
    steps /= (np.hypot(steps[:, 0], steps[:, 1]) + 1e-9)[:, None]
    middle = steps[:-1] + steps[1:]
    length2 = np.maximum(np.einsum("ij,ij->i", middle, middle), 1.0)  # |middle|/2 is cos of half the turn
    across = np.empty_like(points)
    across[:, 0] = middle[:, 1] * (-2 / length2)
    across[:, 1] = middle[:, 0] * (2 / length2)
    return across


def _orientation(points: Path) -> float:
    x, y = points[:, 0], points[:, 1]
    doubled_area = x[:-1] @ y[1:] - y[:-1] @ x[1:] + x[-1] * y[0] - y[-1] * x[0]
    return -1.0 if doubled_area > 0 else 1.0


def _bezier_basis() -> NDArray[np.float64]:
    t = np.arange(_STEPS) / _STEPS
    return np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)


def _catmull_rom_basis() -> NDArray[np.float64]:
    t = np.arange(_STEPS) / _STEPS
    return (
        np.stack(
            [
                -t + 2 * t**2 - t**3,
                2 - 5 * t**2 + 3 * t**3,
                t + 4 * t**2 - 3 * t**3,
                -(t**2) + t**3,
            ],
            axis=1,
        )
        / 2
    )


_BEZIER = _bezier_basis()
_CATMULL_ROM = _catmull_rom_basis()
_CIRCLE_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_UNIT_CIRCLE: Path = np.stack([np.cos(_CIRCLE_ANGLES), np.sin(_CIRCLE_ANGLES)], axis=1)
_HEART: Path = np.stack(
    [
        0.5 * np.sin(_CIRCLE_ANGLES) ** 3,
        -(13 * np.cos(_CIRCLE_ANGLES) - 5 * np.cos(2 * _CIRCLE_ANGLES)
          - 2 * np.cos(3 * _CIRCLE_ANGLES) - np.cos(4 * _CIRCLE_ANGLES)) / 32,
    ],
    axis=1,
)  # fmt: skip
