"""Outlines to pixels: a pixel belongs to a region if its centre lies inside.

Coordinates are those of all annotation tools: x to the right and y down, in pixels, from the top left corner of the
image; the pixel in row r and column c covers ``[c, c + 1) × [r, r + 1)`` and its centre is ``(c + 0.5, r + 0.5)``.
Inside is meant by the even-odd rule: a line from the point to infinity crosses the outline an odd number of times.
A centre that lies on an outline belongs to the region on its right, or below it, so that neighbours which share an
edge neither overlap nor leave a gap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

#: Crossings of edges and rows that are computed at a time.
BLOCK = 1 << 20


class Region(NamedTuple):
    """Pixels of an image: those where ``mask`` is true; its top left pixel is (``top``, ``left``) of the image."""

    top: int
    left: int
    mask: np.ndarray  # (h, w) bool
    holes: int = 0  # rings that were taken for holes

    def window(self, image: np.ndarray) -> np.ndarray:
        """The part of ``image`` that ``mask`` lies on, as a view."""
        height, width = self.mask.shape
        return image[self.top : self.top + height, self.left : self.left + width]


class Outline(Protocol):
    """What encloses a region, however a file says it."""

    def region(self, size: tuple[int, int]) -> Region:
        """Its pixels in an image of this (H, W)."""
        ...


@dataclass(frozen=True)
class Polygon:
    """One ring or several, each ``(n, 2)`` float64 with x and y; parts outside the image are cut off.

    Several rings are parts of one object: a ring that lies within the others is a hole, or an island in a hole;
    rings that overlap only partly are united, and a ring that is there twice counts once.

    Args:
        relative: coordinates are fractions of the image's width and height.

    >>> square = np.array([[0, 0], [3, 0], [3, 3], [0, 3]], float)
    >>> hole = np.array([[1, 1], [2, 1], [2, 2], [1, 2]], float)
    >>> Polygon((square, hole)).region((3, 4)).mask.astype(int).tolist()
    [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """

    rings: tuple[np.ndarray, ...]
    relative: bool = False

    def region(self, size: tuple[int, int]) -> Region:
        scale = np.array(size[::-1], float) if self.relative else 1.0
        parts = [fill(ring * scale, size) for ring in self.rings]
        return parts[0] if len(parts) == 1 else _composed(parts)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around (x, y) with the radii ``rx`` and ``ry``, turned clockwise by ``angle`` degrees.

    >>> Ellipse(2, 1, 2, 1).region((2, 4)).mask.astype(int).tolist()
    [[1, 1, 1, 1], [1, 1, 1, 1]]
    """

    x: float
    y: float
    rx: float
    ry: float
    angle: float = 0.0

    def region(self, size: tuple[int, int]) -> Region:
        reach = max(self.rx, self.ry) * np.array([-1, 1])
        top, bottom = _first_centre(self.y + reach, size[0]).tolist()
        left, right = _first_centre(self.x + reach, size[1]).tolist()
        dy = np.arange(top, bottom)[:, None] + 0.5 - self.y
        dx = np.arange(left, right) + 0.5 - self.x
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        with np.errstate(over="ignore"):  # beside an ellipse that is next to nothing
            along, across = (cos * dx + sin * dy) / self.rx, (cos * dy - sin * dx) / self.ry
            return Region(top, left, along**2 + across**2 <= 1)


def rectangle(
    left: float, top: float, right: float, bottom: float, angle: float = 0.0,
    around: tuple[float, float] | None = None,
) -> np.ndarray:
    """The ring of a rectangle, ``(4, 2)``, turned clockwise by ``angle`` degrees, around its centre by default."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    if angle:
        centre = corners.mean(0) if around is None else np.array(around)
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        corners = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return corners


def is_degenerate(ring: np.ndarray) -> bool:
    """Whether a ring ``(n, 2)`` encloses nothing: it has less than three points, or they lie on one line.

    >>> is_degenerate(np.array([[0, 0], [2, 2], [1, 1]], float)), is_degenerate(rectangle(0, 0, 1, 1))
    (True, False)
    """
    if len(ring) < 3:
        return True
    offsets = ring - ring[0]
    x, y = offsets[np.abs(offsets).sum(1).argmax()]
    return not (offsets @ [-y, x]).any()


def fill(ring: np.ndarray, size: tuple[int, int]) -> Region:
    """The pixels of an image of this (H, W) whose centres lie inside of a ring ``(n, 2)``, by the even-odd rule.

    >>> fill(np.array([[0, 0], [4, 0], [0, 4]], float), (3, 4)).mask.astype(int).tolist()
    [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    """
    start, end = ring, np.roll(ring, -1, axis=0)
    down = (start[:, 1] <= end[:, 1])[:, None]  # an edge runs down, so that both its sides compute the same
    start, end = np.where(down, start, end), np.where(down, end, start)
    first, last = (_first_centre(each[:, 1], size[0]) for each in (start, end))  # rows that an edge crosses
    crossed = first < last
    if not crossed.any():
        return Region(0, 0, np.zeros((0, 0), bool))
    start, end, first, last = start[crossed], end[crossed], first[crossed], last[crossed]
    top, bottom = int(first.min()), int(last.max())
    left, right = _first_centre(np.array([ring[:, 0].min(), ring[:, 0].max()]), size[1]).tolist()
    toggled = np.zeros((bottom - top, right - left + 1), np.uint8)
    slope = (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    for block in _blocks(last - first):
        edge = np.repeat(np.arange(len(first))[block], (last - first)[block])
        rows = np.arange(len(edge)) - np.repeat(_starts((last - first)[block]), (last - first)[block]) + first[edge]
        x = start[edge, 0] + (rows + 0.5 - start[edge, 1]) * slope[edge]
        columns = _first_centre(x, size[1]).clip(left, right) - left
        np.add.at(toggled.reshape(-1), (rows - top) * toggled.shape[1] + columns, np.uint8(1))  # fast in one axis
    # What is right of an odd number of crossings lies inside; counts may wrap around at 256, which is even.
    return Region(top, left, np.bitwise_xor.accumulate(toggled & 1, axis=1)[:, :-1].astype(bool))


def _first_centre(coordinates: np.ndarray, length: int) -> np.ndarray:
    """For each coordinate the first pixel, of ``length``, whose centre is not before it."""
    return np.ceil(np.clip(coordinates, 0, length) - 0.5).astype(np.int64)


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts


def _blocks(counts: np.ndarray) -> Iterator[slice]:
    """Edges in runs that cross about :data:`BLOCK` rows each, however many an outline has."""
    edges = np.searchsorted(np.cumsum(counts), np.arange(BLOCK, counts.sum(), BLOCK))
    bounds = np.unique([0, *edges, len(counts)])
    return (slice(a, b) for a, b in pairwise(bounds))


def _composed(parts: Sequence[Region]) -> Region:
    """One region of the rings of an object, the largest first; see :class:`Polygon`."""
    parts = sorted((part for part in parts if part.mask.any()), key=lambda part: -np.count_nonzero(part.mask))
    if not parts:
        return Region(0, 0, np.zeros((0, 0), bool))
    top, left = min(part.top for part in parts), min(part.left for part in parts)
    bottom = max(part.top + part.mask.shape[0] for part in parts)
    right = max(part.left + part.mask.shape[1] for part in parts)
    whole = np.zeros((bottom - top, right - left), bool)
    holes, seen = 0, set()
    for part in parts:
        key = (part.top, part.left, part.mask.shape, part.mask.tobytes())
        if key in seen:
            continue
        seen.add(key)
        window = Region(part.top - top, part.left - left, part.mask).window(whole)
        if (window >= part.mask).all():
            window &= ~part.mask
            holes += 1
        else:
            window |= part.mask
    return Region(top, left, whole, holes)
